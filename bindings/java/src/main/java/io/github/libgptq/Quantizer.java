// One quantization job.
package io.github.libgptq;

import static io.github.libgptq.GptqException.check;

import java.nio.file.Path;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.function.LongFunction;
import java.util.function.LongToIntFunction;

/**
 * A job that quantizes a folder's Linear layers with GPTQ and writes a folder that transformers, GPTQModel and vLLM load.
 * The output appears by one rename when all of it is on disk; after a failure, a cancel or a crash there is none.
 *
 * <p>Iterating does a unit of work at a time: {@code for (Progress p : quantizer) ...}; {@link #run} does all. A job is
 * one thread's at a time: meanwhile others throw {@link ErrorCode#BUSY}, except {@link #progress}, {@link #cancel} and
 * {@link #close}, which any thread may call. An interrupt of the thread that works cancels the job.
 */
public final class Quantizer implements Iterable<Progress>, AutoCloseable {
  private final Handle handle;
  private volatile boolean over;

  private Quantizer(long address) {
    handle = new Handle(this, Handle.Kind.QUANTIZER, address);
  }

  /**
   * Prepares a job with the default options; see {@link #create(Path, Path, Options)}.
   *
   * @param model a 16-bit or 32-bit model folder
   * @param output the folder to make
   * @return the job, to be closed
   */
  public static Quantizer create(Path model, Path output) {
    return create(model, output, null);
  }

  /**
   * Prepares a job.
   *
   * @param model a 16-bit or 32-bit model folder
   * @param output the folder to make; its parent must exist
   * @param options scopes "model" and "quantizer"; null for the defaults
   * @return the job, to be closed
   * @throws GptqException as {@link Model#load(Path, Options)}; IO when the output exists (see
   *     {@link Options#overwrite}) or can't be made: both are noticed here, before any work
   */
  public static Quantizer create(Path model, Path output, Options options) {
    long[] out = new long[1];
    Options.read(options, o -> check(GptqApi.gptq_quantizer_create(model.toString(), output.toString(), o, out)));
    return new Quantizer(out[0]);
  }

  /**
   * Adds calibration text. All texts together are cut into sequences of calibration_length tokens, of which
   * calibration_samples are taken. Without any calibration the model writes its own.
   *
   * @param text any text
   * @throws GptqException BAD_STATE after the first step
   */
  public void addCalibrationText(String text) {
    byte[] bytes = Utf8.bytes(text);
    alone(q -> check(GptqApi.gptq_quantizer_add_calibration_text(q, bytes, bytes.length)));
  }

  /**
   * Adds one calibration sequence, taken as it is.
   *
   * @param ids the tokens
   * @throws GptqException INVALID_ARGUMENT for an id outside the vocabulary, none, or more than the model's context;
   *     BAD_STATE after the first step
   */
  public void addCalibrationTokens(int[] ids) {
    alone(q -> check(GptqApi.gptq_quantizer_add_calibration_tokens(q, ids, ids.length)));
  }

  /**
   * The steps of the job: preparing the calibration, a layer each, and the closing of the output. Each {@code next()}
   * does one, and tells how far the job is then; when there is no next, the output is complete. An iterator goes on where
   * another stopped.
   *
   * @return the steps; {@code next()} throws CANCELLED, IO, CORRUPT, OUT_OF_MEMORY or INVALID_ARGUMENT, and the job is then
   *     over and leaves no output
   */
  @Override
  public Iterator<Progress> iterator() {
    return new Iterator<Progress>() {
      @Override
      public boolean hasNext() {
        return !over;
      }

      @Override
      public Progress next() {
        if (over) {
          throw new NoSuchElementException("the quantization has ended");
        }
        work(GptqApi::gptq_quantizer_step);
        return progress();
      }
    };
  }

  /**
   * Does all the work; returns when the output folder is complete.
   *
   * @throws GptqException as the steps of {@link #iterator}
   */
  public void run() {
    work(GptqApi::gptq_quantizer_run);
    over = true;
  }

  /**
   * How far the job is. Any thread, also while another works.
   *
   * @return a snapshot
   */
  public Progress progress() {
    return handle.use(this, q -> new Progress(stat(q, "progress"), (int) stat(q, "layer"), (int) stat(q, "n_layer"),
        stat(q, "seconds"), stat(q, "seconds_left")));
  }

  private static double stat(long quantizer, String key) {
    double[] out = new double[1];
    check(GptqApi.gptq_quantizer_get_stat(quantizer, key, out));
    return out[0];
  }

  /** Ends the step that is running, or the next one, and with it the job. Any thread. */
  public void cancel() {
    handle.use(this, q -> check(GptqApi.gptq_quantizer_cancel(q)));
  }

  /**
   * What was done so far.
   *
   * @return JSON: options, calibration, modules with their loss (squared output error per token), seconds
   */
  public String report() {
    long[] out = new long[1];
    alone(q -> check(GptqApi.gptq_quantizer_report_json(q, out)));
    return Buffers.take(out[0], Buffers::text);
  }

  /** Frees the job; finished layers of an unfinished one stay for the next run of the same job (resume). */
  @Override
  public void close() {
    handle.close();
  }

  private <T> T alone(LongFunction<T> body) {
    return handle.useAlone(this, body);
  }

  /** Steps or runs. A cancel that came too late for one step ends the next: the job was to end. */
  private void work(LongToIntFunction body) {
    alone(address -> {
      try {
        int status = Interruption.call(
            address, q -> check(body.applyAsInt(q)), GptqApi::gptq_quantizer_cancel, q -> {});
        over = status == GptqApiConstants.GPTQ_DONE;
        return status;
      } catch (GptqException failure) {
        over = true;
        throw failure;
      }
    });
  }
}
