// Codes and texts of failures, and what closed objects answer.

package gptq_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	gptq "github.com/libgptq/libgptq/bindings/go"
)

// wantError checks the code, and that the message names what it is about.
func wantError(t *testing.T, err error, code gptq.Code, words ...string) {
	t.Helper()
	var failure *gptq.Error
	if !errors.As(err, &failure) || failure.Code != code || !errors.Is(err, code) {
		t.Errorf("error %v (%T), wanted code %v", err, err, code)
		return
	}
	for _, word := range words {
		if !strings.Contains(failure.Message, word) {
			t.Errorf("message %q does not say %q", failure.Message, word)
		}
	}
}

func TestErrorsHaveCodeAndText(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "nowhere")
	model, err := gptq.Load(missing)
	wantError(t, err, gptq.ErrNotFound, missing)
	if model != nil {
		t.Error("a model beside an error")
	}
	if errors.Is(err, gptq.ErrIO) || errors.Is(err, context.Canceled) {
		t.Errorf("%v is everything", err)
	}
	_, err = gptq.Load(modelPath(), gptq.Set("thread", 1))
	wantError(t, err, gptq.ErrInvalidArgument, "thread", "threads")
	_, err = gptq.Load(modelPath(), gptq.WithThreads(-1))
	wantError(t, err, gptq.ErrInvalidArgument, "threads", "-1")
	_, err = gptq.Load("some\x00where")
	wantError(t, err, gptq.ErrInvalidArgument, "NUL", "some")

	loaded := load(t)
	_, err = loaded.GetInt("layers")
	wantError(t, err, gptq.ErrNotFound, "layers")
	_, err = loaded.GetInt("n_layer\x00")
	wantError(t, err, gptq.ErrInvalidArgument, "NUL")
	_, err = loaded.GetString("colour")
	wantError(t, err, gptq.ErrNotFound, "colour")
	_, err = loaded.Detokenize([]int32{1 << 30}, 0)
	wantError(t, err, gptq.ErrInvalidArgument)
	_, err = loaded.TokenText(-1)
	wantError(t, err, gptq.ErrNotFound)

	session := open(t, loaded)
	wantError(t, session.Continue(background).Err(), gptq.ErrBadState)
	wantError(t, session.Generate(background, prompt, gptq.WithTopP(2)).Err(), gptq.ErrInvalidArgument, "top_p")
	wantError(t, session.AppendTokens([]int32{-5}), gptq.ErrInvalidArgument, "-5")
	wantError(t, session.AppendTokens(make([]int32, 100000)), gptq.ErrContextFull)
	wantError(t, session.Prefill(background, gptq.KeepLast), gptq.ErrBadState)
	_, err = session.Stat("speed")
	wantError(t, err, gptq.ErrNotFound, "speed")
	generation := session.Generate(background, prompt)
	check(t, session.AppendText(" there was"))
	if generation.Next() {
		t.Error("a generation goes on after something was appended")
	}
	wantError(t, generation.Err(), gptq.ErrBadState)

	_, err = gptq.NewQuantizer(missing, filepath.Join(t.TempDir(), "out"))
	wantError(t, err, gptq.ErrNotFound, missing)
	_, err = gptq.NewQuantizer(modelPath(), "o\x00")
	wantError(t, err, gptq.ErrInvalidArgument, "NUL")
	full := t.TempDir()
	check(t, os.WriteFile(filepath.Join(full, "file"), nil, 0o644))
	_, err = gptq.NewQuantizer(modelPath(), full)
	wantError(t, err, gptq.ErrIO, full)
}

// The library keeps a message for the thread that failed, and goroutines change threads.
func TestMessagesBelongToTheirCalls(t *testing.T) {
	folder := t.TempDir()
	var wait sync.WaitGroup
	for i := 0; i < 16; i++ {
		wait.Add(1)
		go func(i int) {
			defer wait.Done()
			for round := 0; round < 500; round++ {
				missing := filepath.Join(folder, fmt.Sprintf("%d-%d-missing", i, round))
				_, err := gptq.Load(missing)
				wantError(t, err, gptq.ErrNotFound, missing)
			}
		}(i)
	}
	wait.Wait()
}

func TestCodesHaveNames(t *testing.T) {
	names := map[gptq.Code]string{
		gptq.ErrCancelled: "GPTQ_ERROR_CANCELLED", gptq.ErrInvalidArgument: "GPTQ_ERROR_INVALID_ARGUMENT",
		gptq.ErrNotFound: "GPTQ_ERROR_NOT_FOUND", gptq.ErrIO: "GPTQ_ERROR_IO", gptq.ErrCorrupt: "GPTQ_ERROR_CORRUPT",
		gptq.ErrUnsupported: "GPTQ_ERROR_UNSUPPORTED", gptq.ErrOutOfMemory: "GPTQ_ERROR_OUT_OF_MEMORY",
		gptq.ErrDevice: "GPTQ_ERROR_DEVICE", gptq.ErrContextFull: "GPTQ_ERROR_CONTEXT_FULL", gptq.ErrBusy: "GPTQ_ERROR_BUSY",
		gptq.ErrBadState: "GPTQ_ERROR_BAD_STATE", gptq.ErrCallback: "GPTQ_ERROR_CALLBACK", gptq.ErrInternal: "GPTQ_ERROR_INTERNAL",
	}
	for code, name := range names {
		if code.Error() != name {
			t.Errorf("code %d is %q, wanted %q", int32(code), code.Error(), name)
		}
	}
}

func TestMust(t *testing.T) {
	if gptq.Must(7, nil) != 7 {
		t.Error("another value")
	}
	defer func() {
		err, _ := recover().(error)
		wantError(t, err, gptq.ErrNotFound, "nowhere")
	}()
	gptq.Must(gptq.Load("nowhere"))
	t.Error("went on after a failure")
}

func TestClosedObjectsSaySo(t *testing.T) {
	model := load(t)
	session := open(t, model)
	generation := session.Generate(background, prompt)
	quantizer, err := gptq.NewQuantizer(modelPath(), filepath.Join(t.TempDir(), "out"))
	check(t, err)
	steps := quantizer.Steps(background)
	for i := 0; i < 2; i++ { // twice is no fault
		check(t, model.Close())
		check(t, session.Close())
		check(t, quantizer.Close())
	}
	session.Cancel()
	quantizer.Cancel()

	closed := map[string][]error{
		"the model is closed": {
			second(model.Tokenize("a", 0)), second(model.Detokenize(nil, 0)), second(model.TokenText(1)),
			second(model.SpecialToken("eos")), second(model.IsEndOfGeneration(1)), second(model.GetInt("n_layer")),
			second(model.GetString("family")), second(model.Metadata()), second(model.NewSession()),
			second(model.ApplyChatTemplate("[]")), second(model.TokenizeChat("[]", 0)), second(model.SamplingDefaults()),
		},
		"the session is closed": {
			session.AppendText("a"), session.AppendTokens([]int32{1}), session.Prefill(background, gptq.KeepNone),
			session.Reset(), second(session.Logits()), second(session.TokenCount()), second(session.Stat("cache_bytes")),
			session.Generate(background, "a").Err(), second(text(generation)),
		},
		"the quantizer is closed": {
			quantizer.AddCalibrationText("a"), quantizer.AddCalibrationTokens([]int32{1}), quantizer.Run(background),
			second(quantizer.Progress()), second(quantizer.Report()), steps.Err(),
		},
	}
	if steps.Next() {
		t.Error("a step of a closed quantizer")
	}
	closed["the quantizer is closed"][5] = steps.Err()
	for message, errs := range closed {
		for i, err := range errs {
			if err == nil {
				t.Errorf("%s: call %d has no error", message, i)
				continue
			}
			wantError(t, err, gptq.ErrBadState, message)
		}
	}
}

func second[T any](_ T, err error) error { return err }
