// quantize MODEL OUT [TEXT]: quantizes a model folder to 4 bits, calibrated with the text, or else with what the model writes
// itself. Ctrl-C ends the job; the same command goes on where it stopped.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"time"

	gptq "github.com/libgptq/libgptq/bindings/go"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 && len(os.Args) != 4 {
		log.Fatal("usage: quantize MODEL OUT [TEXT]")
	}
	if err := quantize(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		log.Fatal(err)
	}
}

func quantize(model, out string, texts []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	job, err := gptq.NewQuantizer(model, out,
		gptq.WithBits(4), gptq.WithCalibrationSamples(32), gptq.WithCalibrationLength(256))
	if err != nil {
		return err
	}
	defer job.Close()
	for _, path := range texts {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := job.AddCalibrationText(string(text)); err != nil {
			return err
		}
	}
	steps := job.Steps(ctx)
	for steps.Next() {
		show(steps.Progress())
	}
	fmt.Fprintln(os.Stderr)
	return steps.Err()
}

func show(progress gptq.Progress) {
	const width = 40
	done := int(progress.Fraction * width)
	bar := strings.Repeat("#", done) + strings.Repeat(".", width-done)
	left := ""
	if progress.Left >= 0 {
		left = progress.Left.Round(time.Second).String() + " left"
	}
	fmt.Fprintf(os.Stderr, "\r[%s] %3.0f %%  layer %d of %d  %-12s", bar, 100*progress.Fraction, progress.Layer, progress.Layers, left)
}
