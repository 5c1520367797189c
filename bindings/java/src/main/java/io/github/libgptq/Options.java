// Settings by key, for whatever takes them.
package io.github.libgptq;

import static io.github.libgptq.GptqException.check;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.function.LongFunction;

/**
 * Settings of a model, session, generation or quantization: {@code new Options().maxTokens(200).temperature(0.7)}.
 *
 * <p>One object may hold settings of every scope: each call takes those that it knows, and copies them. Setters throw
 * {@link ErrorCode#INVALID_ARGUMENT} for an unknown key (the message names the nearest), one of another type, or a value
 * out of its bounds, and change nothing then.
 *
 * <p>Any number of threads may use one object; a setter waits for calls that the object was given to. It takes little
 * memory: not to close it does no harm.
 */
public final class Options extends OptionSetters implements AutoCloseable {
  private final Handle handle;
  /** Held for reading by calls that the options are given to. */
  private final ReadWriteLock lock = new ReentrantReadWriteLock();

  /** An empty set: every key has its default. */
  public Options() {
    NativeLibrary.load();
    long[] out = new long[1];
    check(GptqApi.gptq_options_create(out));
    handle = new Handle(this, Handle.Kind.OPTIONS, out[0]);
  }

  /** The address of options, or 0 for null, for as long as `body` takes. */
  static <T> T read(Options options, LongFunction<T> body) {
    NativeLibrary.load();
    if (options == null) {
      return body.apply(0);
    }
    options.lock.readLock().lock();
    try {
      return options.handle.use(options, body);
    } finally {
      options.lock.readLock().unlock();
    }
  }

  private Options write(LongFunction<Integer> body) {
    lock.writeLock().lock();
    try {
      handle.use(this, body);
    } finally {
      lock.writeLock().unlock();
    }
    return this;
  }

  /**
   * Sets an integer key; a key of type float takes it too.
   *
   * @param key a name, as {@link #describe()} tells them
   * @param value the value
   * @return this
   */
  public Options set(String key, long value) {
    return write(o -> check(GptqApi.gptq_options_set_int(o, key, value)));
  }

  /**
   * Sets a floating-point key.
   *
   * @param key a name, as {@link #describe()} tells them
   * @param value the value
   * @return this
   */
  public Options set(String key, double value) {
    return write(o -> check(GptqApi.gptq_options_set_float(o, key, value)));
  }

  /**
   * Sets an integer key to 1 or 0.
   *
   * @param key a name, as {@link #describe()} tells them
   * @param value the value
   * @return this
   */
  public Options set(String key, boolean value) {
    return set(key, value ? 1L : 0L);
  }

  /**
   * Sets a text key.
   *
   * @param key a name, as {@link #describe()} tells them
   * @param value the value
   * @return this
   */
  public Options set(String key, String value) {
    return write(o -> check(GptqApi.gptq_options_set_string(o, key, value)));
  }

  /**
   * Sets a key that is a list of texts, such as "stop"; what it was set to before is no more.
   *
   * @param key a name, as {@link #describe()} tells them
   * @param values the texts
   * @return this
   */
  @Override
  public Options setList(String key, String... values) {
    if (values == null) {
      return set(key, (String) null); // which is refused
    }
    try (Options list = new Options().setJson("{\"" + key + "\": []}")) {
      for (String value : values) {
        list.write(o -> check(GptqApi.gptq_options_add_string(o, key, value)));
      }
      return setJson(list.toJson());
    }
  }

  /**
   * Sets several keys, all of them or, on an error, none.
   *
   * @param json an object such as {@code {"bits": 4, "order": "act", "sym": true}}
   * @return this
   */
  public Options setJson(String json) {
    byte[] bytes = Utf8.bytes(json);
    return write(o -> check(GptqApi.gptq_options_set_json(o, bytes, bytes.length)));
  }

  /**
   * The keys that were set.
   *
   * @return a JSON object, which {@link #setJson} takes
   */
  public String toJson() {
    long[] out = new long[1];
    read(this, o -> check(GptqApi.gptq_options_get_json(o, out)));
    return Buffers.take(out[0], Buffers::text);
  }

  /**
   * Back to the empty set.
   *
   * @return this
   */
  public Options reset() {
    return write(o -> check(GptqApi.gptq_options_reset(o)));
  }

  /**
   * All keys there are.
   *
   * @return a JSON object each: name, type ("int", "float", "string"), scope, default, min and max with exclusive_min and
   *     exclusive_max where the bound itself is out, or values (empty: any), since, help
   */
  public static List<String> describe() {
    NativeLibrary.load();
    List<String> keys = new ArrayList<>();
    long[] out = new long[1];
    for (long index = 0; index < GptqApi.gptq_option_count(); index++) {
      check(GptqApi.gptq_option_describe(index, out));
      keys.add(Buffers.take(out[0], Buffers::text));
    }
    return keys;
  }

  @Override
  Options setInt(String key, long value) {
    return set(key, value);
  }

  @Override
  Options setFloat(String key, double value) {
    return set(key, value);
  }

  @Override
  Options setString(String key, String value) {
    return set(key, value);
  }

  /** Frees the native memory; what was made with the options stays as it is. */
  @Override
  public void close() {
    handle.close();
  }
}
