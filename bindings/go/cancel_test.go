// Contexts and cancels, in time and late.

package gptq_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	gptq "github.com/libgptq/libgptq/bindings/go"
)

func wantCancelled(t *testing.T, generation *gptq.Generation, cause error) {
	t.Helper()
	err := generation.Err()
	if !errors.Is(err, gptq.ErrCancelled) || (cause != nil && !errors.Is(err, cause)) {
		t.Errorf("error %v, wanted ErrCancelled and %v", err, cause)
	}
	if cause == nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		t.Errorf("error %v names a context, but none has ended", err)
	}
	if generation.FinishReason() != "cancelled" {
		t.Errorf("finish reason %q", generation.FinishReason())
	}
}

func wantText(t *testing.T, session *gptq.Session) {
	t.Helper()
	if got, err := text(session.Generate(background, prompt, gptq.WithMaxTokens(3))); err != nil || got == "" {
		t.Errorf("the next generation gives %q, %v", got, err)
	}
}

func TestContextEndsAGeneration(t *testing.T) {
	session := open(t, load(t))
	within(t, limit, func() time.Duration {
		check(t, session.Reset())
		ctx, cancel := context.WithCancel(background)
		defer cancel()
		generation := session.Generate(ctx, prompt, gptq.WithIgnoreEos(true))
		cancelled := make(chan time.Time, 1)
		for chunks := 0; generation.Next(); chunks++ {
			if chunks == 5 {
				go func() {
					cancelled <- time.Now()
					cancel()
				}()
			}
		}
		took := time.Since(<-cancelled)
		wantCancelled(t, generation, context.Canceled)
		wantText(t, session)
		return took
	})
}

func TestContextEndsALongPrompt(t *testing.T) {
	session := open(t, load(t), gptq.WithContextLength(20000))
	within(t, limit, func() time.Duration {
		check(t, session.Reset())
		appendLongPrompt(t, session)
		ctx, cancel := context.WithCancel(background)
		defer cancel()
		var at time.Time
		timer := time.AfterFunc(200*time.Millisecond, func() {
			at = time.Now()
			cancel()
		})
		defer timer.Stop()
		generation := session.Continue(ctx)
		if ctx.Err() == nil {
			t.Fatalf("the prompt was processed before the cancel: %v", generation.Err())
		}
		took := time.Since(at)
		wantCancelled(t, generation, context.Canceled)
		if generation.Next() {
			t.Error("a cancelled generation goes on")
		}
		return took
	})
	check(t, session.Reset())
	wantText(t, session)
}

func TestDeadlineEndsAPrefill(t *testing.T) {
	session := open(t, load(t), gptq.WithContextLength(20000))
	appendLongPrompt(t, session)
	ctx, cancel := context.WithTimeout(background, 100*time.Millisecond)
	defer cancel()
	err := session.Prefill(ctx, gptq.KeepNone)
	if !errors.Is(err, gptq.ErrCancelled) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestCancelByName(t *testing.T) {
	session := open(t, load(t), gptq.WithContextLength(20000))
	within(t, limit, func() time.Duration {
		check(t, session.Reset())
		appendLongPrompt(t, session)
		at := make(chan time.Time, 1)
		timer := time.AfterFunc(200*time.Millisecond, func() {
			at <- time.Now()
			session.Cancel()
		})
		defer timer.Stop()
		generation := session.Continue(background)
		took := time.Since(<-at)
		wantCancelled(t, generation, nil)
		return took
	})

	check(t, session.Reset())
	session.Cancel() // before the call that it is for
	wantCancelled(t, session.Generate(background, prompt), nil)
	wantText(t, session)
}

func TestContextThatHadEnded(t *testing.T) {
	session := open(t, load(t))
	ctx, cancel := context.WithCancel(background)
	cancel()
	generation := session.Generate(ctx, prompt)
	if generation.Next() {
		t.Error("a chunk")
	}
	wantCancelled(t, generation, context.Canceled)
	if count, err := session.TokenCount(); count != 0 || err != nil {
		t.Errorf("%d tokens, %v: the prompt was appended", count, err)
	}
	wantText(t, session)
}

func TestLateCancelSparesTheNextGeneration(t *testing.T) {
	session := open(t, load(t))
	for i := 0; i < 50; i++ {
		check(t, session.Reset())
		ctx, cancel := context.WithCancel(background)
		generation := session.Generate(ctx, prompt, gptq.WithMaxTokens(2))
		for chunks := 1; generation.Next(); chunks++ {
			if chunks == 2 {
				go cancel() // about when the generation ends
			}
		}
		if err := generation.Err(); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		wantText(t, session)
		cancel()
	}
}

func TestContextOfADroppedGeneration(t *testing.T) {
	session := open(t, load(t))
	ctx, cancel := context.WithCancel(background)
	dropped := session.Generate(ctx, prompt)
	if !dropped.Next() {
		t.Fatal(dropped.Err())
	}
	next := session.Continue(background, gptq.WithMaxTokens(5))
	cancel()
	if _, err := text(next); err != nil {
		t.Errorf("the context of another generation ended this one: %v", err)
	}
}

func TestNoGoroutineIsLeftBehind(t *testing.T) {
	ctx, cancel := context.WithCancel(background)
	defer cancel()
	session := open(t, load(t))
	before := runtime.NumGoroutine()
	back := func(what string) {
		t.Helper()
		for wait := 0; runtime.NumGoroutine() > before; wait++ {
			if wait == 100 {
				t.Fatalf("%d goroutines after %s, %d before", runtime.NumGoroutine(), what, before)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	if _, err := text(session.Generate(ctx, prompt, gptq.WithMaxTokens(1))); err != nil {
		t.Fatal(err)
	}
	back("the end of a generation")
	check(t, session.AppendText(prompt))
	check(t, session.Prefill(ctx, gptq.KeepNone))
	back("a prefill")
	for i := 0; i < 20; i++ {
		session.Continue(ctx) // dropped
	}
	session.Close()
	back("the close of a session")
}
