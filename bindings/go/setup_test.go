// What the tests share.

package gptq_test

import (
	"context"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	gptq "github.com/libgptq/libgptq/bindings/go"
)

var background = context.Background()

// limit is what a cancelled call may take.
const limit = 100 * time.Millisecond

func modelPath() string {
	if path := os.Getenv("GPTQ_TEST_MODEL"); path != "" {
		return path
	}
	return "../../samples/model"
}

func load(t *testing.T, options ...gptq.Option) *gptq.Model {
	t.Helper()
	model, err := gptq.Load(modelPath(), options...)
	check(t, err)
	t.Cleanup(func() { model.Close() })
	return model
}

func open(t *testing.T, model *gptq.Model, options ...gptq.Option) *gptq.Session {
	t.Helper()
	session, err := model.NewSession(options...)
	check(t, err)
	t.Cleanup(func() { session.Close() })
	return session
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// text is all that is left of a generation.
func text(generation *gptq.Generation) (string, error) {
	var all strings.Builder
	for generation.Next() {
		all.WriteString(generation.Text())
	}
	return all.String(), generation.Err()
}

// appendLongPrompt appends ids that take seconds to process.
func appendLongPrompt(t *testing.T, session *gptq.Session) {
	t.Helper()
	ids := make([]int32, 16384)
	for i := range ids {
		ids[i] = int32(100 + i%500)
	}
	check(t, session.AppendTokens(ids))
}

// within tries up to five times, since other processes take the CPU now and then. The attempt gives how long its call
// went on after the cancel.
func within(t *testing.T, limit time.Duration, attempt func() time.Duration) {
	t.Helper()
	var took time.Duration
	for try := 0; try < 5; try++ {
		if took = attempt(); took <= limit {
			return
		}
		t.Logf("took %v", took)
	}
	t.Errorf("took %v after the cancel, wanted at most %v", took, limit)
}

// residentBytes is the memory that the process holds.
func residentBytes(t *testing.T) int64 {
	t.Helper()
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("no /proc here")
	}
	pages, err := strconv.ParseInt(strings.Fields(string(statm))[1], 10, 64)
	check(t, err)
	return pages * int64(os.Getpagesize())
}
