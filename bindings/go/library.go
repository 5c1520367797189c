// The library itself: its version and what it can do.

package gptq

import "github.com/libgptq/libgptq/bindings/go/internal/capi"

// Version is the version of the library at run time, such as "0.1.0".
func Version() string { return capi.Gptq_version_string() }

// BuildInfo is the library's version, compiler and the instruction set in use, as one line of text for bug reports.
func BuildInfo() string { return capi.Gptq_build_info() }

// HasFeature tells whether the library at run time has a feature: "cpu", "quantize", "cuda".
func HasFeature(name string) bool {
	return noNUL("feature", name) == nil && capi.Gptq_has_feature(name) == 1
}

// CheckDevice returns nil if models can compute on the device, a value of WithDevice, else an error that says what is
// missing: the plugin, the driver or the device.
func CheckDevice(device string) error {
	if err := noNUL("device", device); err != nil {
		return err
	}
	_, err := check(func() int32 { return capi.Gptq_device_check(device) })
	return err
}
