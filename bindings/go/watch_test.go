// What can be timed only from inside: a cancel that fires while a call is ending.

package gptq

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"
	"unsafe"
)

func openSession(t *testing.T) *Session {
	t.Helper()
	path := os.Getenv("GPTQ_TEST_MODEL")
	if path == "" {
		path = "../../samples/model"
	}
	model, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	session, err := model.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		session.Close()
		model.Close()
	})
	return session
}

// lateCancel makes a call that the watch of an ended context cancels, and that succeeds nevertheless. It does what
// `meanwhile` does before it returns.
func lateCancel(t *testing.T, session *Session, meanwhile func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := newWatch(ctx)
	defer w.stop()
	err := session.handle.use(exclusive, func(pointer unsafe.Pointer) error {
		_, err := w.guard(session.handle, pointer, func(unsafe.Pointer) int32 {
			cancel()
			for fired := false; !fired; time.Sleep(time.Millisecond) {
				w.mu.Lock()
				fired = w.fired
				w.mu.Unlock()
			}
			meanwhile()
			return 0
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestLateCancelIsTakenBack(t *testing.T) {
	session := openSession(t)
	lateCancel(t, session, func() {})
	if generation := session.Generate(context.Background(), "Once", WithMaxTokens(1)); !generation.Next() {
		t.Errorf("the next generation gives %v", generation.Err())
	}
}

func TestCancelByNameIsNotTakenBack(t *testing.T) {
	session := openSession(t)
	lateCancel(t, session, session.Cancel)
	if err := session.Generate(context.Background(), "Once").Err(); !errors.Is(err, ErrCancelled) {
		t.Errorf("the next generation gives %v", err)
	}
	lateCancel(t, session, func() {})
	if generation := session.Continue(context.Background(), WithMaxTokens(1)); !generation.Next() {
		t.Errorf("the generation after that gives %v", generation.Err())
	}
}

func TestWatchFiresNotBetweenCalls(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	w := newWatch(ctx)
	defer w.stop()
	fired := 0
	h := &handle{kind: &kind{cancel: func(unsafe.Pointer) int32 { fired++; return 0 }}}
	one := unsafe.Pointer(new(int32))
	if _, err := w.guard(h, one, func(unsafe.Pointer) int32 { return 0 }); err != nil {
		t.Fatal(err)
	}
	cancel()
	time.Sleep(20 * time.Millisecond)
	if fired != 0 {
		t.Error("fired between calls")
	}
	if _, err := w.guard(h, one, func(unsafe.Pointer) int32 { return 0 }); err != nil {
		t.Fatal(err)
	}
	if fired != 1 {
		t.Errorf("fired %d times for a call after the end of the context", fired)
	}
}
