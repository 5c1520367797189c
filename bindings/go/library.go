// The library itself: its version and what it can do.

package gptq

import "github.com/libgptq/libgptq/bindings/go/internal/capi"

// Version is the version of the library at run time, such as "0.1.0".
func Version() string { return capi.Gptq_version_string() }

// BuildInfo is the library's version, compiler and the instruction set in use, as one line of text for bug reports.
func BuildInfo() string { return capi.Gptq_build_info() }

// HasFeature tells whether the library at run time has a feature: "cpu", "quantize".
func HasFeature(name string) bool {
	return noNUL("feature", name) == nil && capi.Gptq_has_feature(name) == 1
}
