// Weights and tokenizer.
package io.github.libgptq;

import static io.github.libgptq.GptqException.check;

import java.nio.file.Path;
import java.util.OptionalInt;

/**
 * A model: weights and tokenizer. It never changes, so any number of threads and sessions may use it at once. Its memory
 * is native: close it. Sessions keep what they need of it until they go.
 */
public final class Model implements AutoCloseable {
  /** What {@link #tokenize} may be asked to do. */
  public enum Tokenize {
    /** Add what the tokenizer puts around a text, such as a beginning-of-text token. */
    ADD_SPECIAL(GptqApiConstants.GPTQ_TOKENIZE_ADD_SPECIAL),
    /** Let the text {@code <|eot_id|>} become that token: not for text that users write. */
    PARSE_SPECIAL(GptqApiConstants.GPTQ_TOKENIZE_PARSE_SPECIAL);

    private final int bit;

    Tokenize(int bit) {
      this.bit = bit;
    }
  }

  /** What {@link #detokenize} may be asked to do. */
  public enum Detokenize {
    /** Leave special tokens out of the text. */
    SKIP_SPECIAL(GptqApiConstants.GPTQ_DETOKENIZE_SKIP_SPECIAL);

    private final int bit;

    Detokenize(int bit) {
      this.bit = bit;
    }
  }

  /** A native function of a model that makes a buffer. */
  private interface BufferCall {
    int call(long model, long[] out);
  }

  final Handle handle;

  private Model(long address) {
    handle = new Handle(this, Handle.Kind.MODEL, address);
  }

  /**
   * Loads a model with the default options; see {@link #load(Path, Options)}.
   *
   * @param folder the folder
   * @return the model, to be closed
   */
  public static Model load(Path folder) {
    return load(folder, null);
  }

  /**
   * Loads a folder: config.json, tokenizer files and safetensors weights (F32, F16, BF16, or GPTQ v1 and v2). Everything
   * is checked before it is used.
   *
   * @param folder the folder
   * @param options scope "model"; null for the defaults
   * @return the model, to be closed
   * @throws GptqException NOT_FOUND, IO, CORRUPT, UNSUPPORTED (an architecture or option not known here), OUT_OF_MEMORY
   */
  public static Model load(Path folder, Options options) {
    long[] out = new long[1];
    Options.read(options, o -> check(GptqApi.gptq_model_load(folder.toString(), o, out)));
    return new Model(out[0]);
  }

  /**
   * Writes a quantized model folder in another format. The output appears when all of it is on disk.
   *
   * @param folder the folder
   * @param output the folder to make
   * @param options scope "convert": format must be set, to "gptq", "gptq_v2", "compressed_tensors" or "dense"
   * @throws GptqException as {@link #load(Path, Options)}; INVALID_ARGUMENT without a format, UNSUPPORTED for what the
   *     format can't hold (the message names the module), IO when the output exists or can't be made
   */
  public static void convert(Path folder, Path output, Options options) {
    Options.read(options, o -> check(GptqApi.gptq_model_convert(folder.toString(), output.toString(), o)));
  }

  /**
   * A session with the default options.
   *
   * @return the session, to be closed
   */
  public Session session() {
    return session(null);
  }

  /**
   * Begins a conversation.
   *
   * @param options scope "session"; null for the defaults
   * @return the session, to be closed
   */
  public Session session(Options options) {
    return new Session(this, options);
  }

  /**
   * Text to ids.
   *
   * @param text any text; it may hold NUL, and a lone surrogate counts as U+FFFD
   * @param flags what to do besides
   * @return the ids
   */
  public int[] tokenize(String text, Tokenize... flags) {
    int all = bits(flags);
    byte[] bytes = Utf8.bytes(text);
    return Buffers.take(
        buffer((m, out) -> GptqApi.gptq_model_tokenize(m, bytes, bytes.length, all, out)), Buffers::ints);
  }

  private static int bits(Tokenize... flags) {
    int bits = 0;
    for (Tokenize flag : flags) {
      bits |= flag.bit;
    }
    return bits;
  }

  /**
   * The text that the model's chat template makes of a chat.
   *
   * @param chat JSON: an array of messages as OpenAI has them, or an object with "messages", and any of "tools",
   *     "add_generation_prompt", "chat_template" (one by name, or a template itself) and further variables
   * @return the text
   * @throws GptqException INVALID_ARGUMENT where the template refuses the messages, NOT_FOUND where the folder has no
   *     template, CORRUPT for ill-formed JSON
   */
  public String applyChatTemplate(String chat) {
    byte[] bytes = Utf8.bytes(chat);
    return text((m, out) -> GptqApi.gptq_model_apply_chat_template(m, bytes, bytes.length, out));
  }

  /**
   * The same as ids, for {@link Session#append(int[])}. Special tokens that the messages spell out stay text, unless the
   * flags have {@link Tokenize#PARSE_SPECIAL}.
   *
   * @param chat as in {@link #applyChatTemplate}
   * @param flags what to do besides
   * @return the ids
   */
  public int[] tokenizeChat(String chat, Tokenize... flags) {
    int all = bits(flags);
    byte[] bytes = Utf8.bytes(chat);
    return Buffers.take(
        buffer((m, out) -> GptqApi.gptq_model_tokenize_chat(m, bytes, bytes.length, all, out)), Buffers::ints);
  }

  /**
   * How the makers of the model mean it to be sampled.
   *
   * @return JSON for {@link Options#setJson}
   */
  public String samplingDefaults() {
    return text(GptqApi::gptq_model_sampling_defaults);
  }

  /**
   * Ids to text.
   *
   * @param ids the ids
   * @param flags what to do besides
   * @return the text; bytes that are not UTF-8 are replaced
   * @throws GptqException INVALID_ARGUMENT for an id that no token has
   */
  public String detokenize(int[] ids, Detokenize... flags) {
    int bits = 0;
    for (Detokenize flag : flags) {
      bits |= flag.bit;
    }
    int all = bits;
    return text((m, out) -> GptqApi.gptq_model_detokenize(m, ids, ids.length, all, out));
  }

  /**
   * A token's own spelling, as in the vocabulary.
   *
   * @param id the token
   * @return its spelling
   * @throws GptqException NOT_FOUND for an id without a token
   */
  public String tokenText(int id) {
    return text((m, out) -> GptqApi.gptq_model_token_text(m, id, out));
  }

  /**
   * The id of a special token.
   *
   * @param name "bos", "eos", or a token's own spelling
   * @return its id; empty if the model has none
   */
  public OptionalInt specialToken(String name) {
    int[] out = new int[1];
    try {
      handle.use(this, m -> check(GptqApi.gptq_model_special_token(m, name, out)));
    } catch (GptqException failure) {
      if (failure.code() == ErrorCode.NOT_FOUND) {
        return OptionalInt.empty();
      }
      throw failure;
    }
    return OptionalInt.of(out[0]);
  }

  /**
   * Whether generation ends at a token.
   *
   * @param id the token
   * @return true if it does
   */
  public boolean isEndOfGeneration(int id) {
    return handle.use(this, m -> GptqApi.gptq_model_is_end_of_generation(m, id)) == 1;
  }

  /**
   * A number about the model.
   *
   * @param key "n_layer", "hidden_size", "vocab_size", "context_length", "context_limit" (most that a session may be
   *     given), "n_head", "n_kv_head", "head_dim", "parameters", "quantized" (0 or 1), "bits" (0 if not quantized),
   *     "group_size" (-1: one group; 0 if not quantized), "sym", "desc_act", "weight_bytes", "weight_bytes_per_token",
   *     "bos_token_id", "eos_token_id" (-1 if none), "threads"
   * @return the number
   * @throws GptqException NOT_FOUND for another key (the message names the nearest)
   */
  public long getInt(String key) {
    long[] out = new long[1];
    handle.use(this, m -> check(GptqApi.gptq_model_get_int(m, key, out)));
    return out[0];
  }

  /**
   * A text about the model.
   *
   * @param key "family", "architecture", "path", "device", "layer_split" ("20,12"), "dtype", "quantization"
   *     ("gptq 4-bit g128 sym", or "")
   * @return the text
   * @throws GptqException NOT_FOUND for another key
   */
  public String getString(String key) {
    byte[][] out = new byte[1][];
    handle.use(this, m -> check(GptqApi.gptq_model_get_string(m, key, out)));
    return Utf8.read(out[0]);
  }

  /**
   * All that {@link #getInt} and {@link #getString} tell.
   *
   * @return a JSON object
   */
  public String metadata() {
    return text(GptqApi::gptq_model_metadata_json);
  }

  /** Drops this hold on the model; sessions keep it until they go. */
  @Override
  public void close() {
    handle.close();
  }

  private long buffer(BufferCall call) {
    long[] out = new long[1];
    handle.use(this, m -> check(call.call(m, out)));
    return out[0];
  }

  private String text(BufferCall call) {
    return Buffers.take(buffer(call), Buffers::text);
  }
}
