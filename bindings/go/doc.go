// Package gptq quantizes Hugging Face language models with GPTQ and runs them, in this process, without Python.
//
//	model, err := gptq.Load("qwen-gptq")
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer model.Close()
//	session, err := model.NewSession()
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer session.Close()
//	answer := session.Generate(ctx, "Hello", gptq.WithTemperature(0.7))
//	for answer.Next() {
//		fmt.Print(answer.Text())
//	}
//	if err := answer.Err(); err != nil {
//		log.Fatal(err)
//	}
//
// [NextAll] pulls several generations of one model together, in much less time than one after the other.
//
// # Errors
//
// A failure of the library is an [*Error]: a code, and a text that names the file, tensor or key, what was found and
// what was wanted. errors.Is(err, gptq.ErrNotFound) tells kinds apart.
//
// # Goroutines
//
// A [Model] is immutable and shared by as many goroutines as wish. A [Session] or [Quantizer] is used by one at a time:
// a second one gets [ErrBusy]. Cancel, Close and Quantizer.Progress may be called at any time by any goroutine.
//
// # Release
//
// Close what you open, in any order: a session keeps its model alive. Closing twice is no fault. A closed object answers
// with [ErrBadState]. Close while another goroutine is inside a call ends that call, and frees when it has left. What is
// never closed is freed some time after the garbage collector has found it; it knows nothing of the memory behind it, so
// don't count on that.
//
// # Options
//
// Load, NewSession, Generate and NewQuantizer take options such as [WithThreads]. One list may hold those of every
// scope: each function takes those that it knows and leaves the rest. Unknown keys and values out of bounds are errors.
package gptq
