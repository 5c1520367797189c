// What a generation writes, chunk by chunk, and what it leaves in the history.

package gptq_test

import (
	"errors"
	"math"
	"os"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	gptq "github.com/libgptq/libgptq/bindings/go"
)

const prompt = "Once upon a time"

func TestTextEqualsTheSampleInC(t *testing.T) {
	path := os.Getenv("GPTQ_TEST_EXPECTED")
	if path == "" {
		t.Skip("GPTQ_TEST_EXPECTED names no file")
	}
	expected, err := os.ReadFile(path)
	check(t, err)
	session := open(t, load(t))
	generation := session.Generate(background, prompt, gptq.WithMaxTokens(200))
	got, err := text(generation)
	check(t, err)
	if got+"\n" != string(expected) {
		t.Errorf("got %q, wanted %q", got, expected)
	}
	if reason := generation.FinishReason(); reason != "stop" && reason != "length" {
		t.Errorf("finish reason %q", reason)
	}
}

func TestATextStopsIt(t *testing.T) {
	model := load(t)
	whole, err := text(open(t, model).Generate(background, prompt, gptq.WithMaxTokens(40)))
	check(t, err)
	stop := whole[60:65]
	generation := open(t, model).Generate(background, prompt, gptq.WithMaxTokens(40), gptq.WithStop("no such text", stop))
	got, err := text(generation)
	check(t, err)
	if wanted, _, _ := strings.Cut(whole, stop); got != wanted || generation.FinishReason() != "stop" {
		t.Errorf("got %q and %q, wanted %q", got, generation.FinishReason(), wanted)
	}
	if object, err := gptq.ToJSON(gptq.WithStop()); object != `{"stop":"[]"}` || err != nil {
		t.Errorf("got %q, %v for none", object, err)
	}
	for _, refused := range []gptq.Option{gptq.WithStop("a", ""), gptq.SetList("bits", "a"), gptq.SetList("device"), gptq.WithStop("a\x00b")} {
		_, err := gptq.ToJSON(refused)
		wantError(t, err, gptq.ErrInvalidArgument)
	}
}

func TestGenerationKeepsItsHistory(t *testing.T) {
	model := load(t)
	ids, err := model.Tokenize(prompt, gptq.AddSpecial)
	check(t, err)
	whole, err := text(open(t, model).Generate(background, prompt, gptq.WithMaxTokens(20)))
	check(t, err)

	session := open(t, model)
	first := session.Generate(background, prompt, gptq.WithMaxTokens(8))
	begin, err := text(first)
	check(t, err)
	if first.FinishReason() != "length" || first.Token() != -1 || first.Text() != "" || first.Next() {
		t.Errorf("after the end: reason %q, token %d, text %q", first.FinishReason(), first.Token(), first.Text())
	}
	count, err := session.TokenCount()
	check(t, err)
	if count != int64(len(ids)+8) {
		t.Errorf("%d tokens in the history, wanted %d", count, len(ids)+8)
	}
	rest, err := text(session.Continue(background, gptq.WithMaxTokens(12)))
	check(t, err)
	if begin+rest != whole {
		t.Errorf("got %q + %q, wanted %q", begin, rest, whole)
	}
	check(t, session.Reset())
	if count, _ := session.TokenCount(); count != 0 {
		t.Errorf("%d tokens after a reset", count)
	}
	again, err := text(session.Generate(background, prompt, gptq.WithMaxTokens(20)))
	check(t, err)
	if again != whole {
		t.Errorf("after a reset: got %q, wanted %q", again, whole)
	}
}

// At this temperature any token may come, parts of characters included.
func TestChunksAreWholeCharacters(t *testing.T) {
	model := load(t)
	session := open(t, model)
	multibyte := 0
	for seed := int64(0); seed < 8; seed++ {
		check(t, session.Reset())
		var tokens []int32
		var all strings.Builder
		generation := session.Generate(background, "🙂", gptq.WithTemperature(1e6), gptq.WithSeed(seed), gptq.WithMaxTokens(100))
		for generation.Next() {
			if !utf8.ValidString(generation.Text()) {
				t.Errorf("chunk %q is no UTF-8", generation.Text())
			}
			all.WriteString(generation.Text())
			if generation.Token() >= 0 {
				tokens = append(tokens, generation.Token())
			}
		}
		check(t, generation.Err())
		whole, err := model.Detokenize(tokens, gptq.SkipSpecial)
		check(t, err)
		if all.String() != whole {
			t.Errorf("chunks make %q, the ids %q", all.String(), whole)
		}
		multibyte += len(whole) - utf8.RuneCountInString(whole)
	}
	if multibyte == 0 {
		t.Error("nothing but ASCII was generated: the test shows nothing")
	}
}

func TestFourGoroutinesOnOneModel(t *testing.T) {
	model := load(t)
	alone, err := text(open(t, model).Generate(background, prompt, gptq.WithMaxTokens(60)))
	check(t, err)
	var wait sync.WaitGroup
	for i := 0; i < 4; i++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			session, err := model.NewSession()
			if err != nil {
				t.Error(err)
				return
			}
			defer session.Close()
			if got, err := text(session.Generate(background, prompt, gptq.WithMaxTokens(60))); got != alone || err != nil {
				t.Errorf("got %q, %v, wanted %q", got, err, alone)
			}
		}()
	}
	wait.Wait()
}

func TestANewGenerationEndsTheOneBefore(t *testing.T) {
	session := open(t, load(t))
	old := session.Generate(background, prompt)
	if !old.Next() {
		t.Fatal(old.Err())
	}
	fresh := session.Continue(background, gptq.WithMaxTokens(3))
	if old.Next() || !errors.Is(old.Err(), gptq.ErrBadState) {
		t.Errorf("the old one goes on: %v", old.Err())
	}
	if _, err := text(fresh); err != nil {
		t.Error(err)
	}
}

// A step after it would sample from logits that may not be there.
func TestAPrefillEndsTheGeneration(t *testing.T) {
	session := open(t, load(t))
	for _, keep := range []gptq.KeepLogits{gptq.KeepNone, gptq.KeepLast} {
		check(t, session.Reset())
		generation := session.Generate(background, prompt, gptq.WithTemperature(1))
		if !generation.Next() {
			t.Fatal(generation.Err())
		}
		check(t, session.Prefill(background, keep))
		if generation.Next() {
			t.Error("a step after a prefill")
		}
		wantError(t, generation.Err(), gptq.ErrBadState)
		if _, err := text(session.Continue(background, gptq.WithMaxTokens(3))); err != nil {
			t.Error(err)
		}
	}
}

func TestLogits(t *testing.T) {
	model := load(t)
	session := open(t, model)
	if _, err := session.Logits(); !errors.Is(err, gptq.ErrBadState) {
		t.Errorf("logits of nothing: %v", err)
	}
	ids, err := model.Tokenize(prompt, 0)
	check(t, err)
	check(t, session.AppendTokens(ids))
	check(t, session.Prefill(background, gptq.KeepAll))
	rows, err := session.Logits()
	check(t, err)
	vocab, err := model.GetInt("vocab_size")
	check(t, err)
	if len(rows) != len(ids) || len(rows[0]) != int(vocab) {
		t.Fatalf("%d rows of %d, wanted %d of %d", len(rows), len(rows[0]), len(ids), vocab)
	}
	best := int32(0)
	last := rows[len(rows)-1]
	for i, value := range last {
		if math.IsNaN(float64(value)) {
			t.Fatalf("logit %d is NaN", i)
		}
		if value > last[best] {
			best = int32(i)
		}
	}
	generation := session.Continue(background, gptq.WithMaxTokens(1))
	if !generation.Next() || generation.Token() != best {
		t.Errorf("generated %d, %v, the best logit is that of %d", generation.Token(), generation.Err(), best)
	}
	if tokens, err := session.Stat("prefill_tokens"); err != nil || tokens < float64(len(ids)) {
		t.Errorf("prefill_tokens is %v, %v", tokens, err)
	}
}
