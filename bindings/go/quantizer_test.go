// Quantization jobs: progress, results, cancels.

package gptq_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	gptq "github.com/libgptq/libgptq/bindings/go"
)

const story = "Once upon a time there was a little girl who lived in a house by the sea. Every day she went to the beach. "

func newQuantizer(t *testing.T, output string, options ...gptq.Option) *gptq.Quantizer {
	t.Helper()
	options = append([]gptq.Option{gptq.WithCalibrationSamples(4), gptq.WithCalibrationLength(64)}, options...)
	quantizer, err := gptq.NewQuantizer(modelPath(), output, options...)
	check(t, err)
	t.Cleanup(func() { quantizer.Close() })
	return quantizer
}

func addStory(t *testing.T, quantizer *gptq.Quantizer) {
	t.Helper()
	for i := 0; i < 20; i++ {
		check(t, quantizer.AddCalibrationText(story))
	}
}

func TestConvert(t *testing.T) {
	quantized, dense := filepath.Join(t.TempDir(), "quantized"), filepath.Join(t.TempDir(), "dense")
	check(t, newQuantizer(t, quantized).Run(background))
	wantError(t, gptq.Convert(quantized, dense), gptq.ErrInvalidArgument)
	check(t, gptq.Convert(quantized, dense, gptq.WithFormat("dense")))
	model, err := gptq.Load(dense)
	check(t, err)
	defer model.Close()
	if found, err := model.GetInt("quantized"); err != nil || found != 0 {
		t.Errorf("quantized is %d, %v", found, err)
	}
	wantError(t, gptq.Convert(quantized, dense, gptq.WithFormat("dense")), gptq.ErrIO)
}

func TestQuantizeStepByStep(t *testing.T) {
	output := filepath.Join(t.TempDir(), "out")
	quantizer := newQuantizer(t, output, gptq.WithGroupSize(64))
	addStory(t, quantizer)
	check(t, quantizer.AddCalibrationTokens([]int32{100, 200, 300}))
	var seen []gptq.Progress
	steps := quantizer.Steps(background)
	for steps.Next() {
		seen = append(seen, steps.Progress())
		if now, err := quantizer.Progress(); err != nil || now.Fraction != steps.Progress().Fraction {
			t.Errorf("progress %v, %v, wanted %v", now, err, steps.Progress())
		}
	}
	check(t, steps.Err())
	if steps.Next() {
		t.Error("a step after the end")
	}
	if len(seen) < 4 {
		t.Fatalf("%d steps for a model of 4 layers", len(seen))
	}
	for i, progress := range seen {
		if progress.Layers != 4 || progress.Elapsed <= 0 || (i > 0 && progress.Fraction < seen[i-1].Fraction) {
			t.Errorf("step %d: %+v", i, progress)
		}
	}
	if last := seen[len(seen)-1]; last.Fraction != 1 {
		t.Errorf("at the end: %+v", last)
	}
	report, err := quantizer.Report()
	check(t, err)
	var parsed struct {
		Modules []struct{ Name string }
	}
	check(t, json.Unmarshal(report, &parsed))
	if len(parsed.Modules) != 4*7 {
		t.Errorf("%d modules in the report, wanted 28", len(parsed.Modules))
	}

	model, err := gptq.Load(output)
	check(t, err)
	defer model.Close()
	if bits, err := model.GetInt("bits"); bits != 4 || err != nil {
		t.Errorf("bits %d, %v", bits, err)
	}
	if kind, err := model.GetString("quantization"); kind != "gptq 4-bit g64 sym" || err != nil {
		t.Errorf("quantization %q, %v", kind, err)
	}
	wantText(t, open(t, model))
}

func TestQuantizeInOneGo(t *testing.T) {
	output := filepath.Join(t.TempDir(), "out")
	quantizer := newQuantizer(t, output)
	addStory(t, quantizer)
	ended := make(chan error)
	go func() { ended <- quantizer.Run(background) }()
	asked := 0
	for {
		select {
		case err := <-ended:
			check(t, err)
			if asked == 0 {
				t.Error("the job was over before anybody asked")
			}
			if _, err := os.Stat(filepath.Join(output, "model.safetensors")); err != nil {
				t.Error(err)
			}
			return
		case <-time.After(time.Millisecond):
			progress, err := quantizer.Progress()
			check(t, err)
			if progress.Fraction < 0 || progress.Fraction > 1 {
				t.Errorf("progress %+v", progress)
			}
			asked++
		}
	}
}

func TestCancelledJobLeavesNothing(t *testing.T) {
	ways := map[string]func(*gptq.Quantizer) error{
		"a context between steps": func(quantizer *gptq.Quantizer) error {
			ctx, cancel := context.WithCancel(background)
			defer cancel()
			steps := quantizer.Steps(ctx)
			if !steps.Next() {
				return steps.Err()
			}
			cancel()
			if steps.Next() {
				return errors.New("a step after the cancel")
			}
			if !errors.Is(steps.Err(), context.Canceled) {
				t.Errorf("error %v", steps.Err())
			}
			return steps.Err()
		},
		"a deadline during run": func(quantizer *gptq.Quantizer) error {
			ctx, cancel := context.WithTimeout(background, 30*time.Millisecond)
			defer cancel()
			err := quantizer.Run(ctx)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v", err)
			}
			return err
		},
		"by name": func(quantizer *gptq.Quantizer) error {
			time.AfterFunc(30*time.Millisecond, quantizer.Cancel)
			return quantizer.Run(background)
		},
		"by a close": func(quantizer *gptq.Quantizer) error {
			time.AfterFunc(30*time.Millisecond, func() { quantizer.Close() })
			return quantizer.Run(background)
		},
	}
	for name, cancelled := range ways {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			quantizer := newQuantizer(t, filepath.Join(folder, "out"), gptq.WithCalibrationSamples(64), gptq.WithCalibrationLength(256))
			for i := 0; i < 40; i++ {
				addStory(t, quantizer)
			}
			wantError(t, cancelled(quantizer), gptq.ErrCancelled)
			quantizer.Close()
			left, err := os.ReadDir(folder)
			check(t, err)
			for _, entry := range left {
				if entry.Name() != ".out.unfinished" { // for the next run of the same job
					t.Errorf("left behind: %v", entry)
				}
			}
		})
	}
}

func TestNewStepsEndTheOnesBefore(t *testing.T) {
	quantizer := newQuantizer(t, filepath.Join(t.TempDir(), "out"))
	addStory(t, quantizer)
	ctx, cancel := context.WithCancel(background)
	defer cancel()
	old := quantizer.Steps(ctx)
	if !old.Next() {
		t.Fatal(old.Err())
	}
	fresh := quantizer.Steps(background)
	if old.Next() { // its context would not be heard during the step
		t.Error("the old ones go on")
	}
	wantError(t, old.Err(), gptq.ErrBadState, "other steps")
	for fresh.Next() {
	}
	check(t, fresh.Err())
}

func TestStepsOutOfOrder(t *testing.T) {
	quantizer := newQuantizer(t, filepath.Join(t.TempDir(), "out"))
	wantError(t, quantizer.AddCalibrationTokens(nil), gptq.ErrInvalidArgument)
	addStory(t, quantizer)
	steps := quantizer.Steps(background)
	if !steps.Next() {
		t.Fatal(steps.Err())
	}
	wantError(t, quantizer.AddCalibrationText(story), gptq.ErrBadState)
	quantizer.Cancel()
	if steps.Next() {
		t.Error("a step after the cancel")
	}
	wantError(t, steps.Err(), gptq.ErrCancelled)
	wantError(t, quantizer.Run(background), gptq.ErrBadState)
}
