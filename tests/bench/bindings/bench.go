// The loop that a Go program writes: bench MODEL TOKENS, as bench.c
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	gptq "github.com/libgptq/libgptq/bindings/go"
)

func generate(session *gptq.Session, tokens int64) (bytes int) {
	if err := session.Reset(); err != nil {
		panic(err)
	}
	story := session.Generate(context.Background(), "Once upon a time", gptq.WithIgnoreEos(true), gptq.WithMaxTokens(tokens))
	for story.Next() {
		bytes += len(story.Text())
	}
	if story.Err() != nil || bytes == 0 {
		panic(story.Err())
	}
	return bytes
}

func main() {
	tokens, err := strconv.ParseInt(os.Args[2], 10, 64)
	if err != nil {
		panic(err)
	}
	model := gptq.Must(gptq.Load(os.Args[1], gptq.WithThreads(1)))
	defer model.Close()
	session := gptq.Must(model.NewSession())
	defer session.Close()
	generate(session, tokens)
	start := time.Now()
	generate(session, tokens)
	seconds := time.Since(start).Seconds()
	inside := gptq.Must(session.Stat("prefill_seconds")) + gptq.Must(session.Stat("decode_seconds"))
	fmt.Printf("%.2f %.3f\n", float64(tokens)/seconds, 100*(1-inside/seconds))
}
