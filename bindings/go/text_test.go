// Text through the tokenizer and back.

package gptq_test

import (
	"errors"
	"fmt"
	"testing"

	gptq "github.com/libgptq/libgptq/bindings/go"
)

func TestTextSurvivesTheTokenizer(t *testing.T) {
	model := load(t, gptq.WithLoadWeights(false))
	for _, want := range []string{
		"", "a", "plain words", "Grüße, Ωμέγα, 漢字", "🙂", "👩‍👩‍👧 and 🏴󠁧󠁢󠁳󠁣󠁴󠁿", "a\x00b", "\x00", "\U0010FFFF\U00010000",
	} {
		ids, err := model.Tokenize(want, 0)
		check(t, err)
		got, err := model.Detokenize(ids, 0)
		check(t, err)
		if got != want {
			t.Errorf("got %q from %v, wanted %q", got, ids, want)
		}
	}
	ids, err := model.Tokenize("a\xffb", 0)
	check(t, err)
	if got, err := model.Detokenize(ids, 0); got != "a\uFFFDb" || err != nil {
		t.Errorf("got %q, %v for invalid UTF-8", got, err)
	}
}

func TestTextWithNULIsAppendedWhole(t *testing.T) {
	model := load(t)
	session := open(t, model)
	const want = "one\x00two"
	ids, err := model.Tokenize(want, gptq.AddSpecial)
	check(t, err)
	check(t, session.AppendText(want))
	if count, err := session.TokenCount(); count != int64(len(ids)) || err != nil {
		t.Errorf("%d tokens, %v, wanted %d", count, err, len(ids))
	}
}

func TestSpecialTokens(t *testing.T) {
	model := load(t, gptq.WithLoadWeights(false))
	eos, err := model.SpecialToken("eos")
	check(t, err)
	spelling, err := model.TokenText(eos)
	check(t, err)
	if id, err := model.SpecialToken(spelling); id != eos || err != nil {
		t.Errorf("%q is %d, %v, wanted %d", spelling, id, err, eos)
	}
	if ends, err := model.IsEndOfGeneration(eos); !ends || err != nil {
		t.Errorf("%d ends nothing, %v", eos, err)
	}
	if ends, err := model.IsEndOfGeneration(100); ends || err != nil {
		t.Errorf("100 ends a generation, %v", err)
	}
	if id, err := model.SpecialToken("<none>"); id != -1 || !errors.Is(err, gptq.ErrNotFound) {
		t.Errorf("got %d, %v", id, err)
	}
	parsed, err := model.Tokenize(spelling, gptq.ParseSpecial)
	check(t, err)
	plain, err := model.Tokenize(spelling, 0)
	check(t, err)
	if len(parsed) != 1 || parsed[0] != eos || len(plain) < 2 {
		t.Errorf("parsed %v, plain %v", parsed, plain)
	}
	if got, err := model.Detokenize(parsed, gptq.SkipSpecial); got != "" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestChatBecomesTextAndTokens(t *testing.T) {
	model := load(t)
	id, err := model.SpecialToken("bos")
	check(t, err)
	bos, err := model.TokenText(id)
	check(t, err)
	chat := fmt.Sprintf(`{"messages": [{"role": "user", "content": "é %[1]s"}], "bos_token": "%[1]s", "chat_template":
		"{{ bos_token }}{%% for m in messages %%}[{{ m.role }}] {{ m.content }}{%% endfor %%}"}`, bos)
	text, err := model.ApplyChatTemplate(chat)
	if want := bos + "[user] é " + bos; text != want || err != nil {
		t.Errorf("got %q, %v, wanted %q", text, err, want)
	}
	parsed, err := model.TokenizeChat(chat, gptq.ParseSpecial)
	check(t, err)
	plain, err := model.TokenizeChat(chat, 0)
	check(t, err)
	if parsed[0] != id || plain[0] != id || parsed[len(parsed)-1] != id || len(plain) <= len(parsed) {
		t.Errorf("parsed %v, plain %v", parsed, plain)
	}
	if _, err := model.ApplyChatTemplate("[]"); !errors.Is(err, gptq.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if defaults, err := model.SamplingDefaults(); len(defaults) < 2 || err != nil {
		t.Errorf("got %q, %v", defaults, err)
	}
}
