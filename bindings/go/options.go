// Settings by key. The typed ones, WithThreads and so on, are in option_setters.go.

package gptq

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"unsafe"

	"github.com/libgptq/libgptq/bindings/go/internal/capi"
)

// Option is a setting for Load, NewSession, Generate or NewQuantizer.
type Option func(*settings) error

// settings is the set that options are applied to.
type settings struct{ pointer unsafe.Pointer }

// Set is a setting by its key, as OptionTable lists them. The value is an integer, a float, a string or a bool, which
// stands for 1 or 0; a key of type float takes integers too. The function that is given the option returns
// ErrInvalidArgument for an unknown key (the message names the nearest), another type, or a value out of its bounds.
func Set(key string, value any) Option {
	return func(s *settings) error {
		if err := noNUL("option", key); err != nil {
			return err
		}
		v := reflect.ValueOf(value)
		switch {
		case v.IsValid() && v.CanInt():
			return s.setInt(key, v.Int())
		case v.IsValid() && v.CanUint() && v.Uint() <= math.MaxInt64:
			return s.setInt(key, int64(v.Uint()))
		case v.Kind() == reflect.Bool && v.Bool():
			return s.setInt(key, 1)
		case v.Kind() == reflect.Bool:
			return s.setInt(key, 0)
		case v.IsValid() && v.CanFloat():
			_, err := check(func() int32 { return capi.Gptq_options_set_float(s.pointer, key, v.Float()) })
			return err
		case v.Kind() == reflect.String:
			return s.setString(key, v.String())
		}
		return &Error{Code: ErrInvalidArgument,
			Message: fmt.Sprintf("option %q is %v of type %T, wanted an integer, a float, a string or a bool", key, value, value)}
	}
}

func (s *settings) setInt(key string, value int64) error {
	_, err := check(func() int32 { return capi.Gptq_options_set_int(s.pointer, key, value) })
	return err
}

func (s *settings) setString(key, value string) error {
	if err := noNUL("option "+key, value); err != nil {
		return err
	}
	_, err := check(func() int32 { return capi.Gptq_options_set_string(s.pointer, key, value) })
	return err
}

// SetList is a setting by its key where that is a list of texts, as stop is; what it was set to before is no more.
func SetList(key string, values ...string) Option {
	return func(s *settings) error {
		list := []Option{FromJSON(fmt.Sprintf("{%q: []}", key))}
		for _, value := range values {
			list = append(list, addString(key, value))
		}
		object, err := ToJSON(list...)
		if err != nil {
			return err
		}
		return FromJSON(object)(s)
	}
}

func addString(key, value string) Option {
	return func(s *settings) error {
		for _, text := range []string{key, value} {
			if err := noNUL("option "+key, text); err != nil {
				return err
			}
		}
		_, err := check(func() int32 { return capi.Gptq_options_add_string(s.pointer, key, value) })
		return err
	}
}

// FromJSON is several settings: a JSON object such as {"bits": 4, "order": "act", "sym": true}.
func FromJSON(object string) Option {
	return func(s *settings) error {
		text, size := textArgument(object)
		_, err := check(func() int32 { return capi.Gptq_options_set_json(s.pointer, text, size) })
		return err
	}
}

// ToJSON is the settings as a JSON object, which FromJSON takes.
func ToJSON(options ...Option) (object string, err error) {
	err = withSettings(append([]Option{FromJSON("{}")}, options...), func(pointer unsafe.Pointer) error {
		text, err := take[byte](func(out *unsafe.Pointer) int32 { return capi.Gptq_options_get_json(pointer, out) })
		object = string(text)
		return err
	})
	return object, err
}

// withSettings gives body a set with the options applied, good during the call; nil for none.
func withSettings(options []Option, body func(pointer unsafe.Pointer) error) error {
	if len(options) == 0 {
		return body(nil)
	}
	var s settings
	if _, err := check(func() int32 { return capi.Gptq_options_create(&s.pointer) }); err != nil {
		return err
	}
	defer capi.Gptq_options_free(s.pointer)
	for _, option := range options {
		if err := option(&s); err != nil {
			return err
		}
	}
	return body(s.pointer)
}

// OptionInfo describes a key.
type OptionInfo struct {
	Name         string   `json:"name"`
	Type         string   `json:"type"`    // "int", "float" or "string"
	Scope        string   `json:"scope"`   // "model", "session", "generation", "quantizer", or several of them
	Default      any      `json:"default"` // a float64 or a string; "" of a string that has none of its own
	Min          *float64 `json:"min"`     // nil for a string
	Max          *float64 `json:"max"`
	ExclusiveMin bool     `json:"exclusive_min"` // Min itself is out of bounds
	ExclusiveMax bool     `json:"exclusive_max"`
	Values       []string `json:"values"` // what a string may be; empty where that is open
	Items        string   `json:"items"`  // "string" where a string is a list, as SetList sets it
	Since        string   `json:"since"`  // version of the library
	Help         string   `json:"help"`
}

// OptionTable describes every key that the library knows.
func OptionTable() ([]OptionInfo, error) {
	table := make([]OptionInfo, capi.Gptq_option_count())
	for i := range table {
		text, err := take[byte](func(out *unsafe.Pointer) int32 { return capi.Gptq_option_describe(int64(i), out) })
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(text, &table[i]); err != nil {
			return nil, fmt.Errorf("gptq: description of option %d: %w", i, err)
		}
	}
	return table, nil
}
