// One conversation.
package io.github.libgptq;

import static io.github.libgptq.GptqException.check;

import java.util.function.LongFunction;

/**
 * A conversation with a model: the tokens so far, their key/value cache (memory grows with use) and a sampler.
 *
 * <p>A session is one thread's at a time: while a call is running, others throw {@link ErrorCode#BUSY}, except
 * {@link #cancel}, {@link #clearCancel} and {@link #close}, which any thread may call at any time.
 */
public final class Session implements AutoCloseable {
  /** Which logits {@link #prefill} keeps for {@link #logits}. */
  public enum Logits {
    /** None. */
    NONE(GptqApiConstants.GPTQ_LOGITS_NONE),
    /** Those after the last token. */
    LAST(GptqApiConstants.GPTQ_LOGITS_LAST),
    /** Those after each token of the call. */
    ALL(GptqApiConstants.GPTQ_LOGITS_ALL);

    private final int number;

    Logits(int number) {
      this.number = number;
    }
  }

  private final Handle handle;
  private final int vocabulary;
  /** Number of the last generation that began; touched by the thread that has the session alone. */
  private int generation;

  Session(Model model, Options options) {
    vocabulary = (int) model.getInt("vocab_size");
    long[] out = new long[1];
    Options.read(options, o -> model.handle.use(model, m -> check(GptqApi.gptq_session_create(m, o, out))));
    handle = new Handle(this, Handle.Kind.SESSION, out[0]);
  }

  /**
   * Adds text to the history; the next {@link #generate} or {@link #prefill} processes it. Text that starts a history
   * gets the tokenizer's special tokens; special tokens written in it stay text: a chat's own markers go through
   * {@link Model#tokenize} and {@link #append(int[])}. Appending ends a generation that is under way.
   *
   * @param text any text; it may hold NUL
   * @throws GptqException CONTEXT_FULL when it does not fit; the history is then as before
   */
  public void append(String text) {
    byte[] bytes = Utf8.bytes(text);
    alone(s -> check(GptqApi.gptq_session_append_text(s, bytes, bytes.length)));
  }

  /**
   * Adds ids as they are.
   *
   * @param ids the ids
   * @throws GptqException INVALID_ARGUMENT for an id outside the vocabulary, CONTEXT_FULL when they do not fit; the
   *     history is then as before
   */
  public void append(int[] ids) {
    alone(s -> check(GptqApi.gptq_session_append_tokens(s, ids, ids.length)));
  }

  /**
   * Processes the appended tokens now, without generating; ends a generation that is under way.
   *
   * @param logits which to keep: ALL takes tokens x vocabulary floats, so append in pieces to bound the memory
   * @throws GptqException CANCELLED, OUT_OF_MEMORY, DEVICE: the cache is then as before, and the tokens are still
   *     pending; BAD_STATE when nothing is pending
   */
  public void prefill(Logits logits) {
    interruptibly(s -> check(GptqApi.gptq_session_prefill(s, logits.number)));
  }

  /**
   * Continues the history with the default options; see {@link #generate(String, Options)}.
   *
   * @return the chunks
   */
  public Generation generate() {
    return generate((Options) null);
  }

  /**
   * Continues the history; see {@link #generate(String, Options)}.
   *
   * @param options scope "generation"; null for the defaults
   * @return the chunks
   */
  public Generation generate(Options options) {
    int number = interruptibly(s -> {
      Options.read(options, o -> check(GptqApi.gptq_session_begin(s, o)));
      return ++generation;
    });
    return new Generation(this, number);
  }

  /**
   * Continues a text with the default options; see {@link #generate(String, Options)}.
   *
   * @param prompt is appended first
   * @return the chunks
   */
  public Generation generate(String prompt) {
    return generate(prompt, null);
  }

  /**
   * Appends a prompt, processes what was appended, and gives what follows, chunk by chunk as it is pulled. What was
   * pulled becomes part of the history, so that the next call goes on from there.
   *
   * @param prompt is appended first
   * @param options scope "generation"; null for the defaults
   * @return the chunks, to be walked once
   * @throws GptqException as {@link #append(String)} and {@link #prefill}; the prompt stays appended when its processing
   *     fails
   */
  public Generation generate(String prompt, Options options) {
    append(prompt);
    return generate(options);
  }

  /** The next chunk of a generation; null at its end. */
  Chunk step(int number) {
    return interruptibly(s -> {
      requireLast(number);
      return chunkAfter(check(GptqApi.gptq_session_step(s)), s);
    });
  }

  /** The address, for a step of a generation; unless it throws, this thread must call `leave` then. */
  long enter(int number) {
    long address = handle.enterAlone(this);
    boolean inside = false;
    try {
      requireLast(number);
      inside = true;
      return address;
    } finally {
      if (!inside) {
        leave();
      }
    }
  }

  void leave() {
    handle.leaveAlone();
  }

  /** What a step that has not failed has left in a session; null at the end. */
  static Chunk chunkAfter(int status, long address) {
    return status == GptqApiConstants.GPTQ_DONE
        ? null
        : new Chunk(GptqApi.gptq_session_text(address), GptqApi.gptq_session_token(address));
  }

  private void requireLast(int number) {
    if (number != generation) {
      throw new GptqException(ErrorCode.BAD_STATE, "this generation is over: its session has begun another");
    }
  }

  /**
   * Ends the call that is running, prompt processing included, within 50 ms; if none is, the next one. That call throws
   * {@link ErrorCode#CANCELLED}; the session stays usable. Any thread.
   */
  public void cancel() {
    handle.use(this, s -> check(GptqApi.gptq_session_cancel(s)));
  }

  /** Forgets a {@link #cancel} that came too late for the call it was meant for. Any thread. */
  public void clearCancel() {
    handle.use(this, s -> check(GptqApi.gptq_session_clear_cancel(s)));
  }

  /**
   * Logits kept by the last prefill or step, before sampling settings.
   *
   * @return [rows][vocabulary]; one row after a step
   * @throws GptqException BAD_STATE when none were kept
   */
  public float[][] logits() {
    long[] out = new long[1];
    alone(s -> check(GptqApi.gptq_session_logits(s, out)));
    return Buffers.take(out[0], data -> Buffers.rows(data, vocabulary));
  }

  /**
   * Why the last generation ended.
   *
   * @return "stop" (an end-of-text token), "length" (max_tokens), "context" (the context is full), "cancelled"; "" while
   *     it has not
   */
  public String finishReason() {
    return alone(GptqApi::gptq_session_finish_reason);
  }

  /**
   * The tokens of the history, pending ones included.
   *
   * @return their number
   */
  public long tokenCount() {
    return alone(GptqApi::gptq_session_token_count);
  }

  /**
   * A figure since creation or reset.
   *
   * @param key "prefill_tokens", "prefill_seconds", "prefill_tokens_per_second", "decode_tokens", "decode_seconds",
   *     "decode_tokens_per_second", "cache_bytes"
   * @return the figure
   * @throws GptqException NOT_FOUND for another key
   */
  public double stat(String key) {
    double[] out = new double[1];
    alone(s -> check(GptqApi.gptq_session_get_stat(s, key, out)));
    return out[0];
  }

  /** Back to an empty history; the memory of the cache is given back. */
  public void reset() {
    alone(s -> check(GptqApi.gptq_session_reset(s)));
  }

  /** Frees the session. A call that is running is cancelled, and frees it on its way out. */
  @Override
  public void close() {
    handle.close();
  }

  private <T> T alone(LongFunction<T> body) {
    return handle.useAlone(this, body);
  }

  private <T> T interruptibly(LongFunction<T> body) {
    return alone(address -> Interruption.call(
        address, body, GptqApi::gptq_session_cancel, GptqApi::gptq_session_clear_cancel));
  }
}
