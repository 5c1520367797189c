// A generation: pulled chunk by chunk, as a bufio.Scanner is.

package gptq

import (
	"context"
	"errors"
	"unsafe"

	"github.com/libgptq/libgptq/bindings/go/internal/capi"
)

// Chunk is one step of a generation.
type Chunk struct {
	Text  string // valid UTF-8; empty while a character is incomplete
	Token int32  // its id; -1 for a chunk that only completes held-back text
}

// Generation is text being written. It is used by one goroutine at a time, and may be dropped before its end: the session
// then stays where it is.
//
//	for generation.Next() {
//		fmt.Print(generation.Text())
//	}
//	err := generation.Err()
type Generation struct {
	session *Session
	watch   *watch
	chunk   Chunk
	reason  string
	err     error
	ended   bool
}

// Generate appends the prompt as AppendText does, processes it, and begins to generate from the end of the history; what
// is generated becomes part of the history. It takes options of scope "generation". It blocks while the prompt is
// processed; a failure shows in Err, and Next is then false from the start.
//
// The end of ctx ends the generation, prompt included, within 50 ms: Err is then both ErrCancelled and ctx.Err() to
// errors.Is. The session stays usable, and a prompt that was interrupted stays pending for the next call.
// Where ctx had ended before the call, the prompt is not appended.
// A generation that is under way on the session ends where it is.
func (s *Session) Generate(ctx context.Context, prompt string, options ...Option) *Generation {
	bytes, size := textArgument(prompt)
	return s.begin(ctx, options, func(session unsafe.Pointer) int32 {
		return capi.Gptq_session_append_text(session, bytes, size)
	})
}

// Continue is Generate without a prompt: from what was appended, or where the history ends. ErrBadState when it is empty.
func (s *Session) Continue(ctx context.Context, options ...Option) *Generation {
	return s.begin(ctx, options, func(unsafe.Pointer) int32 { return int32(capi.GPTQ_OK) })
}

func (s *Session) begin(ctx context.Context, options []Option, appendPrompt func(unsafe.Pointer) int32) *Generation {
	g := &Generation{session: s, watch: newWatch(ctx), chunk: Chunk{Token: -1}}
	if ctx.Err() != nil { // nothing is appended then
		g.end(cancelledBy(ctx))
		return g
	}
	err := withSettings(options, func(settings unsafe.Pointer) error {
		return s.handle.use(exclusive, func(session unsafe.Pointer) error {
			if _, err := check(func() int32 { return appendPrompt(session) }); err != nil {
				return err
			}
			s.handle.replaceWatch(g.watch)
			_, err := g.watch.guard(s.handle, session, func(session unsafe.Pointer) int32 {
				return capi.Gptq_session_begin(session, settings)
			})
			return err
		})
	})
	if err != nil {
		g.end(err)
	}
	return g
}

// Next generates the next chunk, for Text and Token. It is false at the end, and when Err says why there is no more.
func (g *Generation) Next() bool {
	if g.ended {
		return false
	}
	session, err := g.enter()
	if err != nil {
		g.end(err)
		return false
	}
	defer g.leave()
	status, err := g.watch.guard(g.session.handle, session, capi.Gptq_session_step)
	return g.settle(session, status, err)
}

// enter is inside the session, alone, and must be followed by leave, unless there is an error.
func (g *Generation) enter() (session unsafe.Pointer, err error) {
	h := g.session.handle
	if err := h.enter(exclusive); err != nil {
		return nil, err
	}
	if !h.watchedBy(g.watch) {
		g.leave()
		return nil, &Error{Code: ErrBadState, Message: "another generation has begun on this session"}
	}
	return h.pointer, nil
}

func (g *Generation) leave() { g.session.handle.leave(exclusive) }

// settle is told what a step has come to, and tells whether there is a chunk.
func (g *Generation) settle(session unsafe.Pointer, status int32, err error) bool {
	if int(status) == capi.GPTQ_OK {
		g.chunk = Chunk{capi.Gptq_session_text(session), capi.Gptq_session_token(session)}
		return true
	}
	g.reason = capi.Gptq_session_finish_reason(session)
	g.end(err)
	return false
}

func (g *Generation) end(err error) {
	g.ended = true
	g.err = err
	g.chunk = Chunk{Token: -1}
	if errors.Is(err, ErrCancelled) { // also while the prompt was processed
		g.reason = "cancelled"
	}
	g.watch.stop()
}

// Text is what the last Next has added: valid UTF-8, empty while a character is incomplete.
func (g *Generation) Text() string { return g.chunk.Text }

// Token is the id that the last Next has added; -1 if there is none.
func (g *Generation) Token() int32 { return g.chunk.Token }

// Err is nil while the generation runs and after one that ended by itself; else an *Error, or one of an option.
func (g *Generation) Err() error { return g.err }

// FinishReason says why the generation ended: "stop" (an end-of-text token), "length" (max_tokens), "context" (the context
// is full), "cancelled"; "" while it has not.
func (g *Generation) FinishReason() string { return g.reason }

// All is the generation as a sequence for range, which Go has since 1.23: chunks, then the error if there is one.
//
//	for chunk, err := range session.Generate(ctx, prompt).All() {
//		if err != nil {
//			return err
//		}
//		fmt.Print(chunk.Text)
//	}
func (g *Generation) All() func(yield func(Chunk, error) bool) {
	return func(yield func(Chunk, error) bool) {
		for g.Next() {
			if !yield(g.chunk, nil) {
				return
			}
		}
		if g.err != nil {
			yield(g.chunk, g.err)
		}
	}
}
