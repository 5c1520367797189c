// The next chunk of several generations at once.

package gptq

import (
	"fmt"
	"unsafe"

	"github.com/libgptq/libgptq/bindings/go/internal/capi"
)

// NextAll is Next of several generations of one model, each of a session of its own, but their tokens go through the model
// together: its weights are read once for all of them, so that eight generations get several times the tokens of one in the
// same time. It is false when none of them has a chunk.
//
//	for gptq.NextAll(stories...) {
//		for i, story := range stories {
//			texts[i] += story.Text()
//		}
//	}
//
// Text, Token, Err and FinishReason of each are as after its own Next, so that Text is "" for one that has ended, and the
// text is that of the generation alone but for the rounding of sums in another order. One that ends or fails does so alone,
// be it that its context ends, that its session is closed, or that another goroutine is inside it (ErrBusy). Any
// generations at each call, at any place in their text; those that have ended cost nothing.
//
// Two of one session, or generations of several models, all end with ErrInvalidArgument, and none takes a step. The numbers
// of sessions in that message leave out those that had ended.
func NextAll(generations ...*Generation) bool {
	open, err := apart(generations)
	if err != nil {
		for _, g := range open {
			g.end(err)
		}
		return false
	}
	var inside []*Generation
	var sessions []unsafe.Pointer
	for _, g := range open {
		session, err := g.enter() // waits for nobody, so that any order will do
		if err != nil {
			g.end(err)
			continue
		}
		defer g.leave()
		inside, sessions = append(inside, g), append(sessions, session)
	}
	return len(inside) > 0 && stepAll(inside, sessions)
}

// apart gives those that have not ended, and an error where two of them are of one session.
func apart(generations []*Generation) (open []*Generation, err error) {
	first := make(map[*handle]int)
	for i, g := range generations {
		if g.ended {
			continue
		}
		open = append(open, g)
		if j, twice := first[g.session.handle]; twice && err == nil {
			message := fmt.Sprintf("generations %d and %d are of one session, wanted a session of its own for each", j, i)
			err = &Error{Code: ErrInvalidArgument, Message: message}
		}
		first[g.session.handle] = i
	}
	return open, err
}

// stepAll makes the call. The caller is inside all of the sessions.
func stepAll(generations []*Generation, sessions []unsafe.Pointer) (more bool) {
	statuses := make([]int32, len(sessions))
	for i, g := range generations {
		g.watch.begin(g.session.handle, sessions[i])
	}
	status, failure := check(func() int32 {
		return capi.Gptq_session_step_all(&sessions[0], int64(len(sessions)), &statuses[0])
	})
	for i, g := range generations {
		own, err := status, failure
		if failure == nil {
			if own = statuses[i]; own < 0 {
				err = &Error{Code: Code(own), Message: capi.Gptq_session_error_message(sessions[i])}
			}
		}
		err = g.watch.end(g.session.handle, own, err)
		more = g.settle(sessions[i], own, err) || more
	}
	return more
}
