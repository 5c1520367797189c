// Bytes across the boundary: what the library hands out is copied and freed at once.

package gptq

import (
	"unsafe"

	"github.com/libgptq/libgptq/bindings/go/internal/capi"
)

// element is what the buffers of the library hold.
type element interface{ byte | int32 | float32 }

// take makes a call that hands out a buffer, and gives a copy of what is in it.
func take[T element](call func(out *unsafe.Pointer) int32) ([]T, error) {
	var buffer unsafe.Pointer
	if _, err := check(func() int32 { return call(&buffer) }); err != nil {
		return nil, err
	}
	defer capi.Gptq_buffer_free(buffer)
	var one T
	size := uintptr(capi.Gptq_buffer_size(buffer)) / unsafe.Sizeof(one)
	out := make([]T, size)
	if size > 0 {
		copy(out, unsafe.Slice((*T)(capi.Gptq_buffer_data(buffer)), size))
	}
	return out, nil
}

// takeFrom is take for a function of a handle.
func takeFrom[T element](h *handle, as access, call func(pointer unsafe.Pointer, out *unsafe.Pointer) int32) (got []T, err error) {
	err = h.use(as, func(pointer unsafe.Pointer) error {
		got, err = take[T](func(out *unsafe.Pointer) int32 { return call(pointer, out) })
		return err
	})
	return got, err
}

// textArgument is a text as the library takes it: a pointer, never nil, and a length in bytes.
func textArgument(text string) (*byte, int64) {
	bytes := make([]byte, len(text)+1)
	copy(bytes, text)
	return &bytes[0], int64(len(text))
}

// idsArgument is the same for ids.
func idsArgument(ids []int32) (*int32, int64) {
	if len(ids) == 0 {
		return new(int32), 0
	}
	return &ids[0], int64(len(ids))
}

// borrowedText copies a NUL-terminated text of the library.
func borrowedText(pointer unsafe.Pointer) string {
	size := 0
	for *(*byte)(unsafe.Add(pointer, size)) != 0 {
		size++
	}
	return string(unsafe.Slice((*byte)(pointer), size))
}
