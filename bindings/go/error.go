// Statuses of the library as Go errors.

package gptq

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/libgptq/libgptq/bindings/go/internal/capi"
)

// Code is the kind of a failure: a negative number that never changes. A code is an error itself, so that
// errors.Is(err, gptq.ErrNotFound) holds for every *Error of that code.
type Code int32

// The codes. Treat one that is not listed as a failure too: newer libraries may have more.
var (
	ErrCancelled       = Code(capi.GPTQ_ERROR_CANCELLED)        // a context or a Cancel asked for it
	ErrInvalidArgument = Code(capi.GPTQ_ERROR_INVALID_ARGUMENT) // an unknown key, a value out of its bounds
	ErrNotFound        = Code(capi.GPTQ_ERROR_NOT_FOUND)        // a file, tensor or key that is not there
	ErrIO              = Code(capi.GPTQ_ERROR_IO)               // the system refused: permission, full disk, output exists
	ErrCorrupt         = Code(capi.GPTQ_ERROR_CORRUPT)          // a file contradicts its format or itself
	ErrUnsupported     = Code(capi.GPTQ_ERROR_UNSUPPORTED)      // valid, but not known here, or above a limit
	ErrOutOfMemory     = Code(capi.GPTQ_ERROR_OUT_OF_MEMORY)
	ErrDevice          = Code(capi.GPTQ_ERROR_DEVICE)       // a fault of the GPU or its driver
	ErrContextFull     = Code(capi.GPTQ_ERROR_CONTEXT_FULL) // more tokens than the session's context holds
	ErrBusy            = Code(capi.GPTQ_ERROR_BUSY)         // another goroutine is inside this object
	ErrBadState        = Code(capi.GPTQ_ERROR_BAD_STATE)    // out of order, or closed
	ErrCallback        = Code(capi.GPTQ_ERROR_CALLBACK)     // a callback misbehaved
	ErrInternal        = Code(capi.GPTQ_ERROR_INTERNAL)     // a fault of the library: please report it
)

// Error is the code's name in gptq.h, such as "GPTQ_ERROR_NOT_FOUND".
func (c Code) Error() string { return capi.Gptq_status_name(int32(c)) }

// Error is a failure of the library.
type Error struct {
	Code Code
	// Message names the file, tensor or key, what was found and what was wanted. One about bad input ends in the kind
	// of fault in brackets: TRUNC, FORMAT, LIMIT, RANGE, MISMATCH, DUP, PATH, UNSUPPORTED, NUMERIC, IO, EXISTS or CHANGED.
	Message string

	cause error // the context's error, where a context ended the call
}

func (e *Error) Error() string { return "gptq: " + e.Message }

// Is tells whether target is the error's code.
func (e *Error) Is(target error) bool {
	code, ok := target.(Code)
	return ok && code == e.Code
}

// Unwrap is the context's error where a context ended the call, so that errors.Is(err, context.Canceled) holds, else nil.
func (e *Error) Unwrap() error { return e.cause }

// Must is for programs that end on a failure: it gives the value, or panics with the error.
func Must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// check makes one call of the library and turns its status into an error. The library keeps the message for the thread
// that failed, so the goroutine stays on its thread until it has been read.
func check(call func() int32) (status int32, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if status = call(); status < 0 {
		err = &Error{Code: Code(status), Message: capi.Gptq_last_error_message()}
	}
	return status, err
}

// noNUL refuses a text that C would see cut short. The library takes keys, names and paths up to their first NUL.
func noNUL(what, text string) error {
	if at := strings.IndexByte(text, 0); at >= 0 {
		return &Error{Code: ErrInvalidArgument, Message: fmt.Sprintf("%s %q has a NUL at byte %d, wanted none", what, text, at)}
	}
	return nil
}
