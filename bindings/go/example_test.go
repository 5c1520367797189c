// The examples of the documentation.

package gptq_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	gptq "github.com/libgptq/libgptq/bindings/go"
)

func Example() {
	model, err := gptq.Load("../../samples/model")
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	session, err := model.NewSession()
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()
	story := session.Generate(context.Background(), "Once upon a time", gptq.WithMaxTokens(8))
	for story.Next() {
		fmt.Print(story.Text())
	}
	if err := story.Err(); err != nil {
		log.Fatal(err)
	}
	// Output: , there was a little girl named Lily
}

// The end of a context ends a generation, while the prompt is processed too.
func ExampleSession_Generate_cancel() {
	model, err := gptq.Load("../../samples/model")
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	session, err := model.NewSession(gptq.WithContextLength(100000))
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	endless := session.Generate(ctx, "Once upon a time", gptq.WithIgnoreEos(true))
	for endless.Next() {
	}
	fmt.Println(errors.Is(endless.Err(), context.DeadlineExceeded), errors.Is(endless.Err(), gptq.ErrCancelled))
	// Output: true true
}

func ExampleNextAll() {
	model, err := gptq.Load("../../samples/model", gptq.WithCompute("exact"))
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	texts := []string{"Once upon a time", "The dog"}
	var stories []*gptq.Generation
	for _, prompt := range texts {
		session, err := model.NewSession()
		if err != nil {
			log.Fatal(err)
		}
		defer session.Close()
		stories = append(stories, session.Generate(context.Background(), prompt, gptq.WithMaxTokens(8)))
	}
	for gptq.NextAll(stories...) {
		for i, story := range stories {
			texts[i] += story.Text()
		}
	}
	for i, story := range stories {
		fmt.Println(texts[i], story.Err())
	}
	// Output:
	// Once upon a time, there was a little girl named Lily <nil>
	// The dog was very happy. He had a lot <nil>
}

func ExampleQuantizer_Steps() {
	folder, err := os.MkdirTemp("", "gptq")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	job, err := gptq.NewQuantizer("../../samples/model", filepath.Join(folder, "sample-4bit"),
		gptq.WithBits(4), gptq.WithCalibrationSamples(4), gptq.WithCalibrationLength(64))
	if err != nil {
		log.Fatal(err)
	}
	defer job.Close()
	steps := job.Steps(context.Background())
	for steps.Next() {
		progress := steps.Progress()
		fmt.Fprintf(os.Stderr, "\rlayer %d of %d, %3.0f %%", progress.Layer, progress.Layers, 100*progress.Fraction)
	}
	fmt.Println(steps.Progress().Fraction, steps.Err())
	// Output: 1 <nil>
}

func ExampleError() {
	_, err := gptq.Load("no-such-folder")
	var failure *gptq.Error
	if errors.As(err, &failure) {
		fmt.Println(failure.Code, errors.Is(err, gptq.ErrNotFound))
	}
	// Output: GPTQ_ERROR_NOT_FOUND true
}

func ExampleModel_Tokenize() {
	model, err := gptq.Load("../../samples/model", gptq.WithLoadWeights(false))
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	ids, err := model.Tokenize("Once upon a time 🙂", 0)
	if err != nil {
		log.Fatal(err)
	}
	text, err := model.Detokenize(ids, 0)
	fmt.Println(text, err)
	// Output: Once upon a time 🙂 <nil>
}
