// chat MODEL: continues what is typed, line by line, until the end of input. Ctrl-C ends an answer.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"

	gptq "github.com/libgptq/libgptq/bindings/go"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: chat MODEL")
	}
	if err := chat(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func chat(path string) error {
	model, err := gptq.Load(path)
	if err != nil {
		return err
	}
	defer model.Close()
	session, err := model.NewSession()
	if err != nil {
		return err
	}
	defer session.Close()

	lines := bufio.NewScanner(os.Stdin)
	for fmt.Print("> "); lines.Scan(); fmt.Print("\n> ") {
		err := answer(session, lines.Text())
		if errors.Is(err, gptq.ErrContextFull) {
			fmt.Println("(the context is full: forgetting what was said)")
			if err = session.Reset(); err == nil {
				err = answer(session, lines.Text())
			}
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	fmt.Println()
	return lines.Err()
}

func answer(session *gptq.Session, prompt string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	generation := session.Generate(ctx, prompt, gptq.WithMaxTokens(200))
	for generation.Next() {
		fmt.Print(generation.Text())
	}
	return generation.Err()
}
