// Quantization jobs.

package gptq

import (
	"context"
	"time"
	"unsafe"

	"github.com/libgptq/libgptq/bindings/go/internal/capi"
)

// Quantizer is a job that quantizes a folder's Linear layers with GPTQ (arXiv 2210.17323) and writes a folder that
// transformers, GPTQModel and vLLM load. The output folder appears by one rename when all of it is on disk; until then,
// and after a failure, a cancel or a crash, there is none, or the old one where "overwrite" is set.
// One goroutine uses it at a time; Progress, Cancel and Close are for any goroutine.
type Quantizer struct{ handle *handle }

var quantizerKind = kind{name: "quantizer", free: capi.Gptq_quantizer_free, cancel: capi.Gptq_quantizer_cancel}

// NewQuantizer prepares a job for a 16-bit or 32-bit model folder. The parent of outputPath must exist. It takes options of
// the scopes "model" and "quantizer". Errors are those of Load, and ErrIO when the output exists or can't be made: all
// are noticed here, before any work.
func NewQuantizer(modelPath, outputPath string, options ...Option) (quantizer *Quantizer, err error) {
	if err := noNUL("model path", modelPath); err != nil {
		return nil, err
	}
	if err := noNUL("output path", outputPath); err != nil {
		return nil, err
	}
	err = withSettings(options, func(settings unsafe.Pointer) error {
		h, err := create(&quantizerKind, func(out *unsafe.Pointer) int32 {
			return capi.Gptq_quantizer_create(modelPath, outputPath, settings, out)
		})
		if err == nil {
			quantizer = &Quantizer{h}
		}
		return err
	})
	return quantizer, err
}

// Close frees the job. The finished layers of an unfinished one stay for the next run of the same job; a step that is
// running is cancelled first, and frees the job when it has left. It always returns nil.
func (q *Quantizer) Close() error {
	q.handle.close()
	return nil
}

// AddCalibrationText adds text to calibrate with: all texts together are tokenized and cut into consecutive sequences of
// calibration_length tokens, of which the first calibration_samples are taken, or that many at random where a seed is set.
// Without any calibration the model writes its own. ErrBadState after the first step.
func (q *Quantizer) AddCalibrationText(text string) error {
	bytes, size := textArgument(text)
	return q.handle.call(exclusive, func(quantizer unsafe.Pointer) int32 {
		return capi.Gptq_quantizer_add_calibration_text(quantizer, bytes, size)
	})
}

// AddCalibrationTokens adds one sequence as it is, besides those cut from text. ErrInvalidArgument for an id outside the
// vocabulary, none, or more than the model's context; ErrBadState after the first step.
func (q *Quantizer) AddCalibrationTokens(ids []int32) error {
	first, count := idsArgument(ids)
	return q.handle.call(exclusive, func(quantizer unsafe.Pointer) int32 {
		return capi.Gptq_quantizer_add_calibration_tokens(quantizer, first, count)
	})
}

// Run works until the output folder is complete. The end of ctx ends the job: the error is then both ErrCancelled and
// ctx.Err() to errors.Is. After any failure the job is over and leaves no output.
func (q *Quantizer) Run(ctx context.Context) error {
	w := newWatch(ctx)
	defer w.stop()
	return q.handle.use(exclusive, func(quantizer unsafe.Pointer) error {
		_, err := w.guard(q.handle, quantizer, capi.Gptq_quantizer_run)
		return err
	})
}

// Cancel ends the step that is running, or the next one, and with it the job: ErrCancelled.
func (q *Quantizer) Cancel() { q.handle.requestCancel() }

// Report is what was done so far, as JSON: {"options": ..., "calibration": {"sequences", "tokens", "source"},
// "modules": [{"name", "bits", "loss", "damp", "method", "seconds", "note"}, ...], "seconds": n}; loss is the squared
// output error per token.
func (q *Quantizer) Report() ([]byte, error) {
	return takeFrom[byte](q.handle, exclusive, capi.Gptq_quantizer_report_json)
}

// Progress is how far a job is.
type Progress struct {
	Fraction float64       // 0 to 1
	Layer    int           // being quantized, counted from 1; 0 before the first
	Layers   int           // of the model
	Elapsed  time.Duration // since the first step
	Left     time.Duration // an estimate; negative while there is none
}

// Progress is how far the job is; any goroutine may ask while another one steps.
func (q *Quantizer) Progress() (progress Progress, err error) {
	err = q.handle.use(shared, func(quantizer unsafe.Pointer) error {
		progress, err = progressOf(quantizer)
		return err
	})
	return progress, err
}

func progressOf(quantizer unsafe.Pointer) (Progress, error) {
	var stats [5]float64
	for i, key := range [...]string{"progress", "layer", "n_layer", "seconds", "seconds_left"} {
		if _, err := check(func() int32 { return capi.Gptq_quantizer_get_stat(quantizer, key, &stats[i]) }); err != nil {
			return Progress{}, err
		}
	}
	seconds := func(value float64) time.Duration { return time.Duration(value * float64(time.Second)) }
	return Progress{stats[0], int(stats[1]), int(stats[2]), seconds(stats[3]), seconds(stats[4])}, nil
}

// Steps is a job being done piece by piece. It is used by one goroutine at a time.
//
//	for steps.Next() {
//		fmt.Printf("\r%3.0f %%", 100*steps.Progress().Fraction)
//	}
//	err := steps.Err()
type Steps struct {
	quantizer *Quantizer
	watch     *watch
	progress  Progress
	err       error
	ended     bool
}

// Steps begins the job, or goes on with it: preparing the calibration, then a layer a step, then the closing of the output.
// The end of ctx ends the job, as it does that of Run. Steps that were begun before get ErrBadState from here on.
func (q *Quantizer) Steps(ctx context.Context) *Steps {
	w := newWatch(ctx)
	q.handle.replaceWatch(w)
	return &Steps{quantizer: q, watch: w}
}

// Next makes a step; Progress then tells how far the job is. It is false once the output folder is complete, and when Err
// says why there will be none.
func (s *Steps) Next() bool {
	if s.ended {
		return false
	}
	err := s.quantizer.handle.use(exclusive, func(quantizer unsafe.Pointer) error {
		if !s.quantizer.handle.watchedBy(s.watch) {
			return &Error{Code: ErrBadState, Message: "other steps have begun on this quantizer"}
		}
		status, err := s.watch.guard(s.quantizer.handle, quantizer, capi.Gptq_quantizer_step)
		if err == nil {
			s.progress, err = progressOf(quantizer)
		}
		s.ended = int(status) == capi.GPTQ_DONE
		return err
	})
	if err != nil || s.ended {
		s.err, s.ended = err, true
		s.watch.stop()
	}
	return err == nil
}

// Progress is how far the job was after the last Next.
func (s *Steps) Progress() Progress { return s.progress }

// Err is nil while the job runs and after one that is complete; else an *Error.
func (s *Steps) Err() error { return s.err }

// All is the steps as a sequence for range, which Go has since 1.23: the progress after each, then the error if there is
// one.
func (s *Steps) All() func(yield func(Progress, error) bool) {
	return func(yield func(Progress, error) bool) {
		for s.Next() {
			if !yield(s.progress, nil) {
				return
			}
		}
		if s.err != nil {
			yield(s.progress, s.err)
		}
	}
}
