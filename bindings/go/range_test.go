//go:build go1.23

// All() in the loops that Go has since 1.23.

package gptq_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	gptq "github.com/libgptq/libgptq/bindings/go"
)

func TestRangeOverAGeneration(t *testing.T) {
	model := load(t)
	want, err := text(open(t, model).Generate(background, prompt, gptq.WithMaxTokens(12)))
	check(t, err)
	session := open(t, model)
	generation := session.Generate(background, prompt, gptq.WithMaxTokens(12))
	got := ""
	for round := 0; round < 2; round++ { // a loop that was left goes on in the next one
		for chunk, err := range generation.All() {
			check(t, err)
			got += chunk.Text
			if round == 0 {
				break
			}
		}
	}
	if got != want {
		t.Errorf("got %q, wanted %q", got, want)
	}
}

func TestRangeEndsWithTheError(t *testing.T) {
	session := open(t, load(t))
	ctx, cancel := context.WithCancel(background)
	defer cancel()
	var last error
	chunks := 0
	for _, err := range session.Generate(ctx, prompt, gptq.WithIgnoreEos(true)).All() {
		if last = err; err == nil {
			chunks++
		}
		cancel()
	}
	if chunks != 1 || !errors.Is(last, context.Canceled) || !errors.Is(last, gptq.ErrCancelled) {
		t.Errorf("%d chunks, then %v", chunks, last)
	}
}

func TestRangeOverSteps(t *testing.T) {
	quantizer := newQuantizer(t, filepath.Join(t.TempDir(), "out"))
	addStory(t, quantizer)
	var last gptq.Progress
	for progress, err := range quantizer.Steps(background).All() {
		check(t, err)
		last = progress
	}
	if last.Fraction != 1 {
		t.Errorf("at the end: %+v", last)
	}
	for _, err := range quantizer.Steps(background).All() {
		if err != nil {
			wantError(t, err, gptq.ErrBadState)
		}
	}
}
