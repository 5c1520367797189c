// Settings, what the library tells of them, of itself and of a model.

package gptq_test

import (
	"errors"
	"math"
	"testing"

	gptq "github.com/libgptq/libgptq/bindings/go"
)

func TestOptionsAsJSON(t *testing.T) {
	type level int8
	object, err := gptq.ToJSON(gptq.WithBits(3), gptq.WithTemperature(0.5), gptq.WithOrder("act"), gptq.WithSym(false),
		gptq.Set("threads", level(2)), gptq.Set("top_k", uint16(40)), gptq.Set("top_p", float32(0.5)))
	check(t, err)
	const want = `{"bits":3,"temperature":0.5,"order":"act","sym":0,"threads":2,"top_k":40,"top_p":0.5}`
	again, err := gptq.ToJSON(gptq.FromJSON(object))
	check(t, err)
	expected, err := gptq.ToJSON(gptq.FromJSON(want))
	check(t, err)
	if object != expected || again != object {
		t.Errorf("got %s and %s, wanted %s", object, again, expected)
	}
	if empty, err := gptq.ToJSON(); empty != "{}" || err != nil {
		t.Errorf("got %q, %v for none", empty, err)
	}
}

func TestOptionsThatAreRefused(t *testing.T) {
	for name, option := range map[string]gptq.Option{
		"bits":      gptq.Set("bits", 5.5),
		"bitz":      gptq.Set("bitz", 4),
		"order":     gptq.Set("order", "random"),
		"order ":    gptq.Set("order", "act\x00"),
		"NUL":       gptq.Set("bits\x00", 4),
		"type":      gptq.Set("bits", struct{}{}),
		"<nil>":     gptq.Set("bits", nil),
		"too large": gptq.Set("seed", uint64(math.MaxUint64)),
		"not JSON":  gptq.FromJSON("bits: 4"),
		"top_k":     gptq.FromJSON(`{"top_k": -1}`),
	} {
		if _, err := gptq.ToJSON(option); err == nil {
			t.Errorf("%s: no error", name)
		} else {
			wantError(t, err, gptq.ErrInvalidArgument)
		}
	}
}

func TestOptionTable(t *testing.T) {
	table, err := gptq.OptionTable()
	check(t, err)
	found := map[string]gptq.OptionInfo{}
	for _, option := range table {
		if option.Name == "" || option.Type == "" || option.Scope == "" || option.Help == "" || option.Since == "" {
			t.Errorf("incomplete: %+v", option)
		}
		found[option.Name] = option
	}
	topP := found["top_p"]
	if topP.Type != "float" || topP.Scope != "generation" || topP.Min == nil || *topP.Min != 0 || !topP.ExclusiveMin ||
		topP.Max == nil || *topP.Max != 1 || topP.ExclusiveMax || topP.Default != 1.0 {
		t.Errorf("top_p: %+v", topP)
	}
	if order := found["order"]; order.Type != "string" || len(order.Values) != 3 || order.Default != "gar" || order.Min != nil {
		t.Errorf("order: %+v", order)
	}
}

func TestLibrary(t *testing.T) {
	if gptq.Version() == "" || gptq.BuildInfo() == "" {
		t.Errorf("version %q, build %q", gptq.Version(), gptq.BuildInfo())
	}
	if !gptq.HasFeature("cpu") || gptq.HasFeature("teleport") || gptq.HasFeature("cpu\x00") {
		t.Error("features")
	}
	if err := gptq.CheckDevice("cpu"); err != nil {
		t.Error(err)
	}
	for _, device := range []string{"abacus", "cpu\x00"} {
		if err := gptq.CheckDevice(device); !errors.Is(err, gptq.ErrInvalidArgument) {
			t.Errorf("device %q: %v", device, err)
		}
	}
}

func TestMetadata(t *testing.T) {
	model := load(t, gptq.WithLoadWeights(false))
	if layers, err := model.GetInt("n_layer"); layers != 4 || err != nil {
		t.Errorf("n_layer %d, %v", layers, err)
	}
	if family, err := model.GetString("family"); family != "llama" || err != nil {
		t.Errorf("family %q, %v", family, err)
	}
	if kind, err := model.GetString("quantization"); kind != "" || err != nil {
		t.Errorf("quantization %q, %v", kind, err)
	}
	if metadata, err := model.Metadata(); err != nil || len(metadata) < 2 || metadata[0] != '{' {
		t.Errorf("metadata %s, %v", metadata, err)
	}
}
