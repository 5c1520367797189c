// The one exception of this package, and the turning of a native status into it.
package io.github.libgptq;

/**
 * A call that failed. The message says what and where; about bad input it names file, tensor or key, what was found and
 * what was wanted, and ends in the kind of fault in brackets, such as {@code [MISMATCH]}.
 */
public final class GptqException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** The native status, negative. */
  private final int status;

  GptqException(ErrorCode code, String message) {
    this(code.status(), message);
  }

  GptqException(int status, String message) {
    super(message);
    this.status = status;
  }

  /**
   * The kind of failure.
   *
   * @return never null; {@link ErrorCode#UNKNOWN} for one that a newer library has added
   */
  public ErrorCode code() {
    return ErrorCode.of(status);
  }

  /**
   * The number of the failure, as in {@code gptq.h}.
   *
   * @return a negative number
   */
  public int status() {
    return status;
  }

  /** Throws for a failure. To be called straight after the native call: the message belongs to the thread. */
  static int check(int status) {
    if (status < 0) {
      throw new GptqException(status, GptqApi.gptq_last_error_message());
    }
    return status;
  }
}
