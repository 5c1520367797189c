// What models, sessions and quantizers have in common: a pointer that is freed once, by the last one to leave it.

package gptq

import (
	"runtime"
	"sync"
	"unsafe"
)

// kind is what differs between the handles of the C interface.
type kind struct {
	name   string // in messages
	free   func(unsafe.Pointer)
	cancel func(unsafe.Pointer) int32 // nil where nothing can be cancelled
	forget func(unsafe.Pointer) int32 // takes a cancel back; nil where that can't be
}

// access says who else may be inside a handle meanwhile.
type access int

const (
	shared    access = iota // anybody
	exclusive               // shared calls
)

// handle owns a pointer of the C interface. It refers to nothing that refers to it, so that its finalizer runs.
type handle struct {
	*kind

	mu        sync.Mutex
	pointer   unsafe.Pointer
	users     int  // calls that are inside
	taken     bool // one of them is exclusive
	closed    bool
	requested bool   // a cancel that was asked for by name and that no call has answered yet
	watch     *watch // of the generation that is under way
}

func newHandle(k *kind, pointer unsafe.Pointer) *handle {
	h := &handle{kind: k, pointer: pointer}
	runtime.SetFinalizer(h, (*handle).close)
	return h
}

// create makes a handle with a function of the C interface that has it as its output.
func create(k *kind, call func(out *unsafe.Pointer) int32) (*handle, error) {
	var pointer unsafe.Pointer
	if _, err := check(func() int32 { return call(&pointer) }); err != nil {
		return nil, err
	}
	return newHandle(k, pointer), nil
}

// use gives the pointer to body, and keeps it from being freed meanwhile.
func (h *handle) use(as access, body func(pointer unsafe.Pointer) error) error {
	if err := h.enter(as); err != nil {
		return err
	}
	defer h.leave(as)
	return body(h.pointer)
}

// call is use for a single call of the library.
func (h *handle) call(as access, call func(pointer unsafe.Pointer) int32) error {
	return h.use(as, func(pointer unsafe.Pointer) error {
		_, err := check(func() int32 { return call(pointer) })
		return err
	})
}

// read is use for a function of the library that can't fail.
func read[T any](h *handle, as access, get func(pointer unsafe.Pointer) T) (value T, err error) {
	err = h.use(as, func(pointer unsafe.Pointer) error {
		value = get(pointer)
		return nil
	})
	return value, err
}

func (h *handle) enter(as access) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return &Error{Code: ErrBadState, Message: "the " + h.name + " is closed"}
	}
	if as == exclusive {
		if h.taken {
			return &Error{Code: ErrBusy, Message: "another goroutine is inside this " + h.name}
		}
		h.taken = true
	}
	h.users++
	return nil
}

func (h *handle) leave(as access) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if as == exclusive {
		h.taken = false
	}
	h.users--
	h.freeUnused()
}

// close frees the handle, or leaves that to the calls inside, which it cancels.
func (h *handle) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.closed = true
	runtime.SetFinalizer(h, nil)
	if h.watch != nil {
		h.watch.stop()
	}
	if h.users > 0 && h.cancel != nil {
		h.cancel(h.pointer)
	}
	h.freeUnused()
}

func (h *handle) freeUnused() {
	if h.closed && h.users == 0 && h.pointer != nil {
		h.free(h.pointer)
		h.pointer = nil
	}
}

// requestCancel ends the call that runs, or the next one.
func (h *handle) requestCancel() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.requested = true
		h.cancel(h.pointer)
	}
}

// settle is called after each call that can be cancelled. A cancel that the watch sent too late for that call must not
// end the next one; a cancel that was asked for by name must.
func (h *handle) settle(status int32, fired bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if Code(status) == ErrCancelled {
		h.requested = false
	}
	if fired && h.forget != nil && !h.closed && !h.requested {
		h.forget(h.pointer)
	}
}

// replaceWatch makes w the watch of what is under way, and ends the one before.
func (h *handle) replaceWatch(w *watch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watch != nil {
		h.watch.stop()
	}
	if h.watch = w; h.closed {
		w.stop()
	}
}

func (h *handle) watchedBy(w *watch) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.watch == w
}
