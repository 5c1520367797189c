// How a context ends a call of the library.

package gptq

import (
	"context"
	"sync"
	"unsafe"
)

// watch passes the end of a context on to the library, but only while a call that it guards is running: a cancel that
// the library gets between calls would end the next one, whoever makes it. It holds no handle, so that one that is
// dropped without being closed can still be collected while the context lives on.
type watch struct {
	ctx      context.Context
	quit     chan struct{}
	quitOnce sync.Once

	mu      sync.Mutex
	cancel  func(unsafe.Pointer) int32
	pointer unsafe.Pointer // of the handle whose call is running; nil between calls
	fired   bool           // during that call
}

// newWatch must be followed by stop, which a context that never ends does not need.
func newWatch(ctx context.Context) *watch {
	w := &watch{ctx: ctx, quit: make(chan struct{})}
	if ctx.Done() != nil {
		go func() {
			select {
			case <-ctx.Done():
				w.fire()
			case <-w.quit:
			}
		}()
	}
	return w
}

func (w *watch) stop() { w.quitOnce.Do(func() { close(w.quit) }) }

func (w *watch) fire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pointer != nil && !w.fired {
		w.fired = true
		w.cancel(w.pointer)
	}
}

// guard makes a call that the context ends. The caller is inside h.
func (w *watch) guard(h *handle, pointer unsafe.Pointer, call func(unsafe.Pointer) int32) (status int32, err error) {
	w.begin(h, pointer)
	status, err = check(func() int32 { return call(pointer) })
	return status, w.end(h, status, err)
}

// begin lets the end of the context cancel what runs in h, until end. The caller is inside h.
func (w *watch) begin(h *handle, pointer unsafe.Pointer) {
	w.mu.Lock()
	w.cancel, w.pointer, w.fired = h.cancel, pointer, false
	w.mu.Unlock()
	if w.ctx.Err() != nil { // ended before this call, when there was nothing to cancel
		w.fire()
	}
}

// end gives the error of what ran: that of the context, where the context has ended it.
func (w *watch) end(h *handle, status int32, err error) error {
	w.mu.Lock()
	fired := w.fired
	w.pointer = nil
	w.mu.Unlock()
	h.settle(status, fired)
	if fired && Code(status) == ErrCancelled {
		return cancelledBy(w.ctx)
	}
	return err
}

// cancelledBy is the error of a call that the context has ended.
func cancelledBy(ctx context.Context) error {
	return &Error{Code: ErrCancelled, Message: "cancelled: " + ctx.Err().Error(), cause: ctx.Err()}
}
