// Many goroutines that do anything to one session and one job, in any order and past their close.

package gptq_test

import (
	"context"
	"errors"
	"math/rand"
	"path/filepath"
	"sync"
	"testing"
	"time"

	gptq "github.com/libgptq/libgptq/bindings/go"
)

// expected tells whether an error is one that such calls may have.
func expected(err error) bool {
	for _, code := range []gptq.Code{gptq.ErrCancelled, gptq.ErrBusy, gptq.ErrBadState, gptq.ErrContextFull} {
		if errors.Is(err, code) {
			return true
		}
	}
	return err == nil
}

// anything makes one call, chosen by random.
func anything(ctx context.Context, random *rand.Rand, session *gptq.Session, quantizer *gptq.Quantizer) error {
	switch random.Intn(14) {
	case 0, 1, 2:
		return second(text(session.Generate(ctx, prompt, gptq.WithMaxTokens(5), gptq.WithTemperature(1))))
	case 3:
		generation := session.Continue(ctx)
		generation.Next() // and drops it
		return generation.Err()
	case 4:
		return session.Prefill(ctx, gptq.KeepLogits(random.Intn(3)))
	case 5:
		return session.Reset()
	case 6:
		session.Cancel()
		return nil
	case 7:
		return second(session.Logits())
	case 8:
		return second(session.TokenCount())
	case 9:
		return session.AppendTokens([]int32{1, 2, 3})
	case 10:
		return second(quantizer.Progress())
	case 11:
		return second(quantizer.Report())
	case 12:
		return quantizer.AddCalibrationText(story)
	default:
		steps := quantizer.Steps(ctx)
		steps.Next()
		return steps.Err()
	}
}

func TestAnythingByAnybody(t *testing.T) {
	model := load(t)
	for round := int64(0); round < 30; round++ {
		session := open(t, model, gptq.WithContextLength(1000))
		quantizer := newQuantizer(t, filepath.Join(t.TempDir(), "out"), gptq.WithCalibrationSamples(2), gptq.WithCalibrationLength(16))
		var wait sync.WaitGroup
		for i := int64(0); i < 6; i++ {
			wait.Add(1)
			go func(seed int64) {
				defer wait.Done()
				random := rand.New(rand.NewSource(seed))
				for call := 0; call < 30; call++ {
					ctx, cancel := context.WithTimeout(background, time.Duration(random.Intn(3000))*time.Microsecond)
					if err := anything(ctx, random, session, quantizer); !expected(err) {
						t.Error(err)
					}
					cancel()
				}
				session.Close()
				quantizer.Close()
			}(6*round + i)
		}
		wait.Wait()
	}
}
