// Conversations with a model.

package gptq

import (
	"context"
	"unsafe"

	"github.com/libgptq/libgptq/bindings/go/internal/capi"
)

// Session is a conversation: token history, key/value cache, whose memory grows with use, and sampler. One goroutine uses
// it at a time; a second one gets ErrBusy. Cancel and Close are for any goroutine.
type Session struct {
	handle *handle
	vocab  int // floats in a row of logits
}

var sessionKind = kind{
	name:   "session",
	free:   capi.Gptq_session_free,
	cancel: capi.Gptq_session_cancel,
	forget: capi.Gptq_session_clear_cancel,
}

// NewSession begins a conversation with an empty history. It takes options of scope "session".
func (m *Model) NewSession(options ...Option) (session *Session, err error) {
	vocab, err := m.GetInt("vocab_size")
	if err != nil {
		return nil, err
	}
	err = withSettings(options, func(settings unsafe.Pointer) error {
		return m.handle.use(shared, func(model unsafe.Pointer) error {
			h, err := create(&sessionKind, func(out *unsafe.Pointer) int32 {
				return capi.Gptq_session_create(model, settings, out)
			})
			if err == nil {
				session = &Session{h, int(vocab)}
			}
			return err
		})
	})
	return session, err
}

// Close frees the session. A call that is running on it is cancelled, and frees it when it has left. It always returns nil.
func (s *Session) Close() error {
	s.handle.close()
	return nil
}

// Cancel ends the call that is running on this session, prompts included, within 50 ms; if none is, the next one. The call
// gives ErrCancelled and the session stays usable. Prefer a context: it can't hit a call that it was not meant for.
func (s *Session) Cancel() { s.handle.requestCancel() }

// Reset empties the history and gives the memory of the cache back.
func (s *Session) Reset() error { return s.handle.call(exclusive, capi.Gptq_session_reset) }

// AppendText adds text to the history; the next Generate, Continue or Prefill processes it. Text that starts a history
// gets the tokenizer's special tokens (AddSpecial); special tokens written in it stay text: a chat's own markers go
// through Tokenize with ParseSpecial and AppendTokens. Appending ends a generation that is under way. ErrContextFull when
// it does not fit; the history is then as before.
func (s *Session) AppendText(text string) error {
	bytes, size := textArgument(text)
	return s.handle.call(exclusive, func(session unsafe.Pointer) int32 {
		return capi.Gptq_session_append_text(session, bytes, size)
	})
}

// AppendTokens adds ids as they are. ErrInvalidArgument for an id outside the vocabulary, ErrContextFull when they do not
// fit; the history is then as before.
func (s *Session) AppendTokens(ids []int32) error {
	first, count := idsArgument(ids)
	return s.handle.call(exclusive, func(session unsafe.Pointer) int32 {
		return capi.Gptq_session_append_tokens(session, first, count)
	})
}

// KeepLogits says which logits a Prefill keeps for Logits.
type KeepLogits int32

const (
	KeepNone = KeepLogits(capi.GPTQ_LOGITS_NONE)
	KeepLast = KeepLogits(capi.GPTQ_LOGITS_LAST) // those after the last token
	KeepAll  = KeepLogits(capi.GPTQ_LOGITS_ALL)  // those after each token of this call: append in pieces to bound the memory
)

// Prefill processes the appended tokens now, without generating, and ends a generation that is under way. After ErrCancelled, ErrOutOfMemory and ErrDevice the cache
// is as before this call, and the tokens are still pending; ErrBadState when nothing is pending.
func (s *Session) Prefill(ctx context.Context, keep KeepLogits) error {
	w := newWatch(ctx)
	defer w.stop()
	return s.handle.use(exclusive, func(session unsafe.Pointer) error {
		_, err := w.guard(s.handle, session, func(session unsafe.Pointer) int32 {
			return capi.Gptq_session_prefill(session, int32(keep))
		})
		return err
	})
}

// Logits are those kept by the last Prefill, or one row after a step of a generation, before sampling settings: rows of as
// many floats as the vocabulary has tokens. ErrBadState when none were kept.
func (s *Session) Logits() ([][]float32, error) {
	flat, err := takeFrom[float32](s.handle, exclusive, capi.Gptq_session_logits)
	if err != nil {
		return nil, err
	}
	rows := make([][]float32, len(flat)/s.vocab)
	for i := range rows {
		rows[i] = flat[i*s.vocab : (i+1)*s.vocab : (i+1)*s.vocab]
	}
	return rows, nil
}

// TokenCount is the number of tokens in the history, pending ones included.
func (s *Session) TokenCount() (int64, error) {
	return read(s.handle, exclusive, capi.Gptq_session_token_count)
}

// Stat is a figure since creation or Reset: "prefill_tokens", "prefill_seconds", "prefill_tokens_per_second",
// "decode_tokens", "decode_seconds", "decode_tokens_per_second", "cache_bytes". The first token of a generation comes from
// the prompt's logits: it counts among the tokens, but not in the seconds and the rate. ErrNotFound for another key.
func (s *Session) Stat(key string) (float64, error) {
	if err := noNUL("key", key); err != nil {
		return 0, err
	}
	var value float64
	err := s.handle.call(exclusive, func(session unsafe.Pointer) int32 {
		return capi.Gptq_session_get_stat(session, key, &value)
	})
	return value, err
}
