// What kind of failure a GptqException reports: the statuses of the library.
package io.github.libgptq;

/** Kinds of failure. The numbers never change. */
public enum ErrorCode {
  /** A cancel, or an interrupt of the thread, asked for it. */
  CANCELLED(GptqApiConstants.GPTQ_ERROR_CANCELLED),
  /** An unknown key, a value out of its bounds. */
  INVALID_ARGUMENT(GptqApiConstants.GPTQ_ERROR_INVALID_ARGUMENT),
  /** A file, tensor or key that is not there. */
  NOT_FOUND(GptqApiConstants.GPTQ_ERROR_NOT_FOUND),
  /** The system refused: permission, full disk, output exists. */
  IO(GptqApiConstants.GPTQ_ERROR_IO),
  /** A file contradicts its format or itself. */
  CORRUPT(GptqApiConstants.GPTQ_ERROR_CORRUPT),
  /** Valid, but not known here, or above a limit. */
  UNSUPPORTED(GptqApiConstants.GPTQ_ERROR_UNSUPPORTED),
  /** Not enough memory. */
  OUT_OF_MEMORY(GptqApiConstants.GPTQ_ERROR_OUT_OF_MEMORY),
  /** A fault of the GPU or its driver. */
  DEVICE(GptqApiConstants.GPTQ_ERROR_DEVICE),
  /** More tokens than the session's context holds. */
  CONTEXT_FULL(GptqApiConstants.GPTQ_ERROR_CONTEXT_FULL),
  /** Another thread is inside this object. */
  BUSY(GptqApiConstants.GPTQ_ERROR_BUSY),
  /** Out of order, such as the use of a closed object. */
  BAD_STATE(GptqApiConstants.GPTQ_ERROR_BAD_STATE),
  /** A callback misbehaved. */
  CALLBACK(GptqApiConstants.GPTQ_ERROR_CALLBACK),
  /** A fault of the library: please report it. */
  INTERNAL(GptqApiConstants.GPTQ_ERROR_INTERNAL),
  /** A failure of a newer library, that this version has no name for; see {@link GptqException#status()}. */
  UNKNOWN(0);

  private final int status;

  ErrorCode(int status) {
    this.status = status;
  }

  /**
   * The number that {@code gptq.h} gives it.
   *
   * @return a negative number; 0 for {@link #UNKNOWN}
   */
  public int status() {
    return status;
  }

  static ErrorCode of(int status) {
    for (ErrorCode code : values()) {
      if (code.status == status) {
        return code;
      }
    }
    return UNKNOWN;
  }
}
