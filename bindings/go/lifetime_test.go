// What is freed, when, and in which order; who may be inside.

package gptq_test

import (
	"errors"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	gptq "github.com/libgptq/libgptq/bindings/go"
)

func TestEveryOrderOfClosing(t *testing.T) {
	for _, order := range [][3]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		model := load(t)
		session := open(t, model)
		quantizer, err := gptq.NewQuantizer(modelPath(), filepath.Join(t.TempDir(), "out"))
		check(t, err)
		closeOne := []func() error{model.Close, session.Close, quantizer.Close}
		useOne := []func() error{
			func() error { return second(model.Tokenize("a", 0)) },
			func() error { return second(text(session.Generate(background, prompt, gptq.WithMaxTokens(2)))) },
			func() error { return second(quantizer.Progress()) },
		}
		for at, object := range order {
			check(t, closeOne[object]())
			for _, open := range order[at+1:] {
				if err := useOne[open](); err != nil {
					t.Errorf("order %v, object %d after the close of %d: %v", order, open, object, err)
				}
			}
		}
	}
}

func TestNothingGrows(t *testing.T) {
	model := load(t)
	ids := make([]int32, 2000)
	for i := range ids {
		ids[i] = int32(1000 + i)
	}
	round := func(times int) {
		for i := 0; i < times; i++ {
			_, err := model.Detokenize(ids, 0) // some 10 KB
			check(t, err)
			session, err := model.NewSession(gptq.WithContextLength(64), gptq.WithTemperature(0.5))
			check(t, err)
			if i%100 == 0 {
				if _, err := text(session.Generate(background, prompt, gptq.WithMaxTokens(2))); err != nil {
					t.Fatal(err)
				}
				other, err := gptq.Load(modelPath(), gptq.WithThreads(1))
				check(t, err)
				other.Close()
			}
			session.Close()
		}
		runtime.GC()
	}
	round(300)
	// A leak grows every time; what malloc keeps for one more thread of the runtime's does not.
	for attempt := 1; ; attempt++ {
		before := residentBytes(t)
		round(2000)
		grown := residentBytes(t) - before
		if grown <= 8<<20 {
			return
		}
		if attempt == 3 {
			t.Fatalf("%d bytes more after 2,000 sessions and 20 models, for the third time", grown)
		}
	}
}

// What is never closed is freed when the collector finds it: models of 8 MB, whose weights are copied here.
func TestCollectorFreesWhatWasNotClosed(t *testing.T) {
	drop := func(times int) {
		for i := 0; i < times; i++ {
			model, err := gptq.Load(modelPath(), gptq.WithMmap(false), gptq.WithThreads(1))
			check(t, err)
			session, err := model.NewSession()
			check(t, err)
			session.Generate(background, prompt).Next()
			runtime.GC()
			time.Sleep(5 * time.Millisecond) // finalizers have a goroutine of their own
		}
	}
	drop(5)
	before := residentBytes(t)
	drop(20)
	if grown := residentBytes(t) - before; grown > 50<<20 {
		t.Errorf("%d bytes more after 20 models that were dropped", grown)
	}
}

func TestOneGoroutineInsideASession(t *testing.T) {
	session := open(t, load(t), gptq.WithContextLength(20000))
	appendLongPrompt(t, session)
	ended := make(chan error)
	go func() { ended <- session.Prefill(background, gptq.KeepNone) }()
	var err error
	for wait := 0; wait < 2000 && err == nil; wait++ { // until the other one is inside
		time.Sleep(time.Millisecond)
		_, err = session.TokenCount()
	}
	if !errors.Is(err, gptq.ErrBusy) {
		t.Errorf("a second goroutine got %v", err)
	}
	session.Cancel()
	if err := <-ended; !errors.Is(err, gptq.ErrCancelled) {
		t.Errorf("the first one got %v", err)
	}
}

func TestCloseEndsTheCallInside(t *testing.T) {
	model := load(t)
	within(t, limit, func() time.Duration {
		session := open(t, model, gptq.WithContextLength(20000))
		appendLongPrompt(t, session)
		ended := make(chan error)
		go func() { ended <- session.Continue(background).Err() }()
		time.Sleep(200 * time.Millisecond)
		at := time.Now()
		session.Close()
		err := <-ended
		took := time.Since(at)
		if !errors.Is(err, gptq.ErrCancelled) {
			t.Errorf("the call inside got %v", err)
		}
		return took
	})
}
