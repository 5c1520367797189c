// Several generations at once: each writes what it would write alone, and ends or fails alone.

package gptq_test

import (
	"context"
	"errors"
	"math/rand"
	"strings"
	"sync"
	"testing"
	"time"

	gptq "github.com/libgptq/libgptq/bindings/go"
)

var prompts = []string{prompt, "The dog", "One day, Tom and his friend Lily went to the park", "A"}

// loadExact gives a model whose sums in fp32 come to the same tokens in whichever order they are rounded.
func loadExact(t *testing.T) *gptq.Model {
	t.Helper()
	return load(t, gptq.WithCompute("exact"))
}

// exactly is the length of a text that goes on after its end.
func exactly(tokens int64) []gptq.Option {
	return []gptq.Option{gptq.WithMaxTokens(tokens), gptq.WithIgnoreEos(true)}
}

// begin gives a generation of as many tokens for each prompt, in sessions of their own.
func begin(t *testing.T, ctx context.Context, model *gptq.Model, tokens int64) ([]*gptq.Session, []*gptq.Generation) {
	t.Helper()
	var sessions []*gptq.Session
	var generations []*gptq.Generation
	for _, prompt := range prompts {
		session := open(t, model)
		sessions = append(sessions, session)
		generations = append(generations, session.Generate(ctx, prompt, exactly(tokens)...))
	}
	return sessions, generations
}

func alone(t *testing.T, model *gptq.Model, which int, tokens int64) string {
	t.Helper()
	got, err := text(open(t, model).Generate(background, prompts[which], exactly(tokens)...))
	check(t, err)
	return got
}

// together is all that is left of the generations.
func together(generations ...*gptq.Generation) []string {
	texts := make([]string, len(generations))
	for gptq.NextAll(generations...) {
		for i, generation := range generations {
			texts[i] += generation.Text()
		}
	}
	return texts
}

func TestEachWritesWhatItWritesAlone(t *testing.T) {
	model := loadExact(t)
	var generations []*gptq.Generation
	length := func(which int) int64 { return int64(10 * (which + 1)) }
	for i, prompt := range prompts {
		generations = append(generations, open(t, model).Generate(background, prompt, exactly(length(i))...))
	}
	texts := make([]string, len(prompts))
	rounds := int64(0)
	for ; gptq.NextAll(generations...); rounds++ {
		for i, generation := range generations {
			if ended := rounds >= length(i); ended != (generation.FinishReason() != "") || ended != (generation.Token() < 0) {
				t.Errorf("generation %d in round %d: reason %q, token %d", i, rounds, generation.FinishReason(), generation.Token())
			}
			texts[i] += generation.Text()
		}
	}
	if rounds != length(len(prompts)-1) {
		t.Errorf("%d rounds", rounds)
	}
	for i, generation := range generations {
		if want := alone(t, model, i, length(i)); texts[i] != want {
			t.Errorf("got %q, alone %q", texts[i], want)
		}
		if generation.Err() != nil || generation.FinishReason() != "length" {
			t.Errorf("generation %d: %v, %q", i, generation.Err(), generation.FinishReason())
		}
	}
	if gptq.NextAll(generations...) || gptq.NextAll() {
		t.Error("a chunk after the end, or of nobody")
	}
}

func TestSomeOfThemAndAloneInBetween(t *testing.T) {
	model := loadExact(t)
	_, generations := begin(t, background, model, 9)
	texts := make([]string, len(generations))
	next := func(which ...int) {
		var some []*gptq.Generation
		for _, i := range which {
			some = append(some, generations[i])
		}
		if len(some) == 1 {
			some[0].Next()
		} else if !gptq.NextAll(some...) {
			t.Errorf("no chunk of %v", which)
		}
		for _, i := range which {
			texts[i] += generations[i].Text()
		}
	}
	for round := 0; round < 3; round++ {
		next(0, 1)
		next(2)
		next(3, 1, 0)
	}
	for i, rest := range together(generations...) {
		if got, want := texts[i]+rest, alone(t, model, i, 9); got != want {
			t.Errorf("got %q, alone %q", got, want)
		}
	}
}

func TestTheContextLengthEndsOneAlone(t *testing.T) {
	model := loadExact(t)
	small := open(t, model, gptq.WithContextLength(16)).Generate(background, prompt, gptq.WithIgnoreEos(true))
	large := open(t, model).Generate(background, prompt, exactly(30)...)
	texts := together(small, large)
	if small.FinishReason() != "context" || small.Err() != nil || !strings.HasPrefix(texts[1], texts[0]) {
		t.Errorf("the small one: %q, %q, %v", texts[0], small.FinishReason(), small.Err())
	}
	if want := alone(t, model, 0, 30); texts[1] != want {
		t.Errorf("the large one: %q, wanted %q", texts[1], want)
	}
}

func TestACancelEndsOneAlone(t *testing.T) {
	model := loadExact(t)
	for _, which := range []int{0, 2} {
		for _, how := range []string{"context", "name", "close"} {
			ctx, cancel := context.WithCancel(background)
			sessions, generations := begin(t, background, model, 8)
			check(t, sessions[which].Reset())
			generations[which] = sessions[which].Generate(ctx, prompts[which], exactly(8)...)
			texts := make([]string, len(generations))
			for round := 0; round < 8; round++ {
				if round == 3 {
					map[string]func(){"context": cancel, "name": sessions[which].Cancel, "close": func() { sessions[which].Close() }}[how]()
				}
				if !gptq.NextAll(generations...) {
					t.Fatalf("%s: no chunk in round %d", how, round)
				}
				for i, generation := range generations {
					texts[i] += generation.Text()
				}
			}
			switch how {
			case "context":
				wantCancelled(t, generations[which], context.Canceled)
			case "name":
				wantCancelled(t, generations[which], nil)
			default:
				wantError(t, generations[which].Err(), gptq.ErrBadState)
			}
			for i := range generations {
				if i == which && how == "close" {
					continue
				} else if i == which {
					rest, err := text(sessions[i].Continue(background, exactly(5)...))
					check(t, err)
					texts[i] += rest
				} else if gptq.NextAll(generations[i]); generations[i].Err() != nil || generations[i].FinishReason() != "length" {
					t.Errorf("%s: the end of another: %v, %q", how, generations[i].Err(), generations[i].FinishReason())
				}
				if want := alone(t, model, i, 8); texts[i] != want {
					t.Errorf("%s: got %q, alone %q", how, texts[i], want)
				}
			}
			cancel()
		}
	}
}

func TestAContextEndsAllThatHaveIt(t *testing.T) {
	model := loadExact(t)
	within(t, limit, func() time.Duration {
		ctx, cancel := context.WithCancel(background)
		defer cancel()
		_, generations := begin(t, ctx, model, 0)
		at := make(chan time.Time, 1)
		time.AfterFunc(50*time.Millisecond, func() {
			at <- time.Now()
			cancel()
		})
		together(generations...)
		took := time.Since(<-at)
		for _, generation := range generations {
			wantCancelled(t, generation, context.Canceled)
		}
		return took
	})
}

func TestALateCancelSparesWhatComesNext(t *testing.T) {
	model := loadExact(t)
	for i := 0; i < 30; i++ {
		ctx, cancel := context.WithCancel(background)
		sessions, generations := begin(t, ctx, model, 2)
		for chunks := 1; gptq.NextAll(generations...); chunks++ {
			if chunks == 2 {
				go cancel() // about when they end
			}
		}
		for which, session := range sessions {
			if err := generations[which].Err(); err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			check(t, session.Reset())
			wantText(t, session)
		}
		cancel()
	}
}

func TestTwoOfOneSessionTakeNoStep(t *testing.T) {
	model := loadExact(t)
	sessions, generations := begin(t, background, model, 5)
	count := func() int64 {
		count, err := sessions[1].TokenCount()
		check(t, err)
		return count
	}
	before := count()
	if gptq.NextAll(generations[0], generations[1], generations[2], generations[1]) {
		t.Error("a chunk")
	}
	for _, generation := range generations[:3] {
		wantError(t, generation.Err(), gptq.ErrInvalidArgument)
		if message := generation.Err().Error(); !strings.Contains(message, "generations 1 and 3 are of one session") {
			t.Error(message)
		}
	}
	if count() != before {
		t.Error("a step was taken")
	}
	// one that has ended does not count
	if fresh := sessions[1].Continue(background, exactly(1)...); !gptq.NextAll(generations[1], fresh, generations[3]) {
		t.Error(fresh.Err())
	}
}

func TestOfSeveralModelsNoneTakesAStep(t *testing.T) {
	one, other := loadExact(t), loadExact(t)
	a := open(t, one)
	first, second := a.Generate(background, prompt), open(t, other).Generate(background, prompt)
	before, err := a.TokenCount()
	check(t, err)
	if gptq.NextAll(first, second) {
		t.Error("a chunk")
	}
	for _, generation := range []*gptq.Generation{first, second} {
		wantError(t, generation.Err(), gptq.ErrInvalidArgument)
		if message := generation.Err().Error(); !strings.Contains(message, "session 1 is of another model than session 0") {
			t.Error(message)
		}
	}
	if after, err := a.TokenCount(); err != nil || after != before {
		t.Errorf("%d tokens, %d before, %v", after, before, err)
	}
	wantText(t, a)
}

func TestOneThatIsOverOrBusyFailsAlone(t *testing.T) {
	model := loadExact(t)
	sessions, generations := begin(t, background, model, 5)
	fresh := sessions[1].Continue(background)
	busy := open(t, model, gptq.WithContextLength(20000))
	waiting := busy.Generate(background, prompt)
	check(t, busy.Reset())
	appendLongPrompt(t, busy)
	ended := make(chan error)
	go func() {
		err := busy.Prefill(background, gptq.KeepNone)
		for errors.Is(err, gptq.ErrBusy) { // with the one that asks below
			err = busy.Prefill(background, gptq.KeepNone)
		}
		ended <- err
	}()
	for wait := 0; wait < 2000; wait++ { // until it is inside
		if _, err := busy.TokenCount(); errors.Is(err, gptq.ErrBusy) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if !gptq.NextAll(generations[0], generations[1], waiting) {
		t.Error("no chunk")
	}
	wantError(t, generations[1].Err(), gptq.ErrBadState)
	wantError(t, waiting.Err(), gptq.ErrBusy)
	busy.Cancel()
	<-ended
	if got, want := together(generations[0], fresh)[0], alone(t, model, 0, 5); !strings.HasSuffix(want, got) {
		t.Errorf("the other writes %q, wanted the end of %q", got, want)
	}
}

func TestCloseEndsOneOfThemMeanwhile(t *testing.T) {
	model := loadExact(t)
	for round := 0; round < 20; round++ {
		sessions, generations := begin(t, background, model, 0)
		go func() {
			for _, i := range rand.Perm(len(sessions)) {
				time.Sleep(2 * time.Millisecond)
				sessions[i].Close()
			}
		}()
		for gptq.NextAll(generations...) {
		}
		for _, generation := range generations {
			if err := generation.Err(); !errors.Is(err, gptq.ErrCancelled) && !errors.Is(err, gptq.ErrBadState) {
				t.Errorf("after the close: %v", err)
			}
		}
	}
}

// Goroutines that pull generations of the same sessions, in any order and past their close.
func TestAnybodyPullsAnySessionsTogether(t *testing.T) {
	model := loadExact(t)
	chunks := 0
	for round := int64(0); round < 20; round++ {
		var sessions []*gptq.Session
		for range prompts {
			sessions = append(sessions, open(t, model, gptq.WithContextLength(500)))
		}
		var wait sync.WaitGroup
		var mu sync.Mutex
		for i := int64(0); i < 4; i++ {
			wait.Add(1)
			go func(seed int64) {
				defer wait.Done()
				random := rand.New(rand.NewSource(seed))
				for call := 0; call < 20; call++ {
					ctx, cancel := context.WithTimeout(background, time.Duration(random.Intn(5000))*time.Microsecond)
					var generations []*gptq.Generation
					for _, which := range random.Perm(len(sessions)) {
						generations = append(generations, sessions[which].Generate(ctx, prompt, exactly(3)...))
					}
					for gptq.NextAll(generations...) {
						mu.Lock()
						chunks++
						mu.Unlock()
					}
					for _, generation := range generations {
						if err := generation.Err(); !expected(err) {
							t.Error(err)
						}
					}
					cancel()
				}
				sessions[seed%int64(len(sessions))].Close()
			}(4*round + i)
		}
		wait.Wait()
	}
	if chunks == 0 {
		t.Error("nobody got a chunk: the test shows nothing")
	}
}
