// Models and their tokenizers.

package gptq

import (
	"unsafe"

	"github.com/libgptq/libgptq/bindings/go/internal/capi"
)

// Model is weights and tokenizer: immutable, and shared by goroutines.
type Model struct{ handle *handle }

var modelKind = kind{name: "model", free: capi.Gptq_model_free}

// Load reads a Hugging Face model folder, quantized with GPTQ or not. It takes options of scope "model" and blocks until
// the model is there. Errors: ErrNotFound, ErrIO, ErrCorrupt, ErrUnsupported (an architecture or option not known here),
// ErrOutOfMemory.
func Load(path string, options ...Option) (model *Model, err error) {
	if err := noNUL("path", path); err != nil {
		return nil, err
	}
	err = withSettings(options, func(settings unsafe.Pointer) error {
		h, err := create(&modelKind, func(out *unsafe.Pointer) int32 { return capi.Gptq_model_load(path, settings, out) })
		if err == nil {
			model = &Model{h}
		}
		return err
	})
	return model, err
}

// Convert writes a quantized model folder in another format. It takes options of scope "convert", of which WithFormat must
// be given: "gptq", "gptq_v2", "compressed_tensors" or "dense". The output appears when all of it is on disk. Errors: as
// Load's; ErrInvalidArgument without a format, ErrUnsupported for what the format can't hold (the message names the
// module), ErrIO when the output exists or can't be made.
func Convert(path, output string, options ...Option) error {
	for name, value := range map[string]string{"path": path, "output": output} {
		if err := noNUL(name, value); err != nil {
			return err
		}
	}
	return withSettings(options, func(settings unsafe.Pointer) error {
		_, err := check(func() int32 { return capi.Gptq_model_convert(path, output, settings) })
		return err
	})
}

// Close frees the model; sessions keep what they need until they go. It always returns nil.
func (m *Model) Close() error {
	m.handle.close()
	return nil
}

// GetInt is a number about the model: "n_layer", "hidden_size", "vocab_size", "context_length", "context_limit" (most that
// a session may be given), "n_head", "n_kv_head", "head_dim", "parameters", "quantized" (0 or 1), "bits" (of the quantized
// modules, 0 if none), "group_size" (-1: one group; 0 if none), "sym", "desc_act", "weight_bytes" (held or mapped),
// "weight_bytes_per_token" (read to decode one token), "bos_token_id", "eos_token_id" (the first; -1 if none), "threads".
// ErrNotFound for another key; the message names the nearest.
func (m *Model) GetInt(key string) (int64, error) {
	if err := noNUL("key", key); err != nil {
		return 0, err
	}
	var value int64
	err := m.handle.call(shared, func(model unsafe.Pointer) int32 { return capi.Gptq_model_get_int(model, key, &value) })
	return value, err
}

// GetString is a text about the model: "family", "architecture", "path", "device", "layer_split" ("20,12"),
// "dtype", "quantization" ("gptq 4-bit g128 sym", or ""). ErrNotFound for another key.
func (m *Model) GetString(key string) (text string, err error) {
	if err := noNUL("key", key); err != nil {
		return "", err
	}
	err = m.handle.use(shared, func(model unsafe.Pointer) error {
		var borrowed unsafe.Pointer
		_, err := check(func() int32 { return capi.Gptq_model_get_string(model, key, &borrowed) })
		if err == nil {
			text = borrowedText(borrowed)
		}
		return err
	})
	return text, err
}

// Metadata is all that GetInt and GetString tell, as one JSON object.
func (m *Model) Metadata() ([]byte, error) {
	return takeFrom[byte](m.handle, shared, capi.Gptq_model_metadata_json)
}

// TokenizeFlags say how text becomes ids; combine them with |.
type TokenizeFlags int32

const (
	// AddSpecial adds what the tokenizer puts around a text, such as a beginning-of-text token.
	AddSpecial = TokenizeFlags(capi.GPTQ_TOKENIZE_ADD_SPECIAL)
	// ParseSpecial lets the text "<|eot_id|>" become that token: not for text that users write.
	ParseSpecial = TokenizeFlags(capi.GPTQ_TOKENIZE_PARSE_SPECIAL)
)

// DetokenizeFlags say how ids become text.
type DetokenizeFlags int32

// SkipSpecial leaves special tokens out of the text.
const SkipSpecial = DetokenizeFlags(capi.GPTQ_DETOKENIZE_SKIP_SPECIAL)

// Tokenize turns text into ids; 0 stands for no flags. Invalid UTF-8 counts as U+FFFD; the text may hold NUL.
func (m *Model) Tokenize(text string, flags TokenizeFlags) ([]int32, error) {
	bytes, size := textArgument(text)
	return takeFrom[int32](m.handle, shared, func(model unsafe.Pointer, out *unsafe.Pointer) int32 {
		return capi.Gptq_model_tokenize(model, bytes, size, int32(flags), out)
	})
}

// Detokenize turns ids into text, which is always valid UTF-8; 0 stands for no flags. ErrInvalidArgument for an id that no
// token has.
func (m *Model) Detokenize(ids []int32, flags DetokenizeFlags) (string, error) {
	first, count := idsArgument(ids)
	text, err := takeFrom[byte](m.handle, shared, func(model unsafe.Pointer, out *unsafe.Pointer) int32 {
		return capi.Gptq_model_detokenize(model, first, count, int32(flags), out)
	})
	return string(text), err
}

// ApplyChatTemplate is the text that the model's chat template makes of a chat, which is JSON: an array of messages as
// OpenAI has them, or an object with "messages", and any of "tools", "add_generation_prompt", "chat_template" (one by
// name, or a template itself) and further variables. ErrInvalidArgument where the template refuses the messages,
// ErrNotFound where the folder has no template, ErrCorrupt for ill-formed JSON.
func (m *Model) ApplyChatTemplate(chat string) (string, error) {
	bytes, size := textArgument(chat)
	text, err := takeFrom[byte](m.handle, shared, func(model unsafe.Pointer, out *unsafe.Pointer) int32 {
		return capi.Gptq_model_apply_chat_template(model, bytes, size, out)
	})
	return string(text), err
}

// TokenizeChat is the same as ids, for AppendTokens; 0 stands for no flags, and special tokens that the messages spell out
// then stay text. Of the flags there may be ParseSpecial.
func (m *Model) TokenizeChat(chat string, flags TokenizeFlags) ([]int32, error) {
	bytes, size := textArgument(chat)
	return takeFrom[int32](m.handle, shared, func(model unsafe.Pointer, out *unsafe.Pointer) int32 {
		return capi.Gptq_model_tokenize_chat(model, bytes, size, int32(flags), out)
	})
}

// SamplingDefaults is how the makers of the model mean it to be sampled: JSON for FromJSON.
func (m *Model) SamplingDefaults() (string, error) {
	text, err := takeFrom[byte](m.handle, shared, capi.Gptq_model_sampling_defaults)
	return string(text), err
}

// TokenText is the token's own spelling, as in the vocabulary. ErrNotFound for an id without a token.
func (m *Model) TokenText(id int32) (string, error) {
	text, err := takeFrom[byte](m.handle, shared, func(model unsafe.Pointer, out *unsafe.Pointer) int32 {
		return capi.Gptq_model_token_text(model, id, out)
	})
	return string(text), err
}

// SpecialToken is the id of "bos", "eos", or of a token by its own spelling; -1 and ErrNotFound if there is none.
func (m *Model) SpecialToken(name string) (int32, error) {
	if err := noNUL("token", name); err != nil {
		return -1, err
	}
	id := int32(-1)
	err := m.handle.call(shared, func(model unsafe.Pointer) int32 { return capi.Gptq_model_special_token(model, name, &id) })
	return id, err
}

// IsEndOfGeneration tells whether a generation ends at this id. The error is that of a closed model.
func (m *Model) IsEndOfGeneration(id int32) (bool, error) {
	return read(m.handle, shared, func(model unsafe.Pointer) bool {
		return capi.Gptq_model_is_end_of_generation(model, id) == 1
	})
}
