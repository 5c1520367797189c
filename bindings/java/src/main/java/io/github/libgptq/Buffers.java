// Results that the library hands out as buffers: copied, then freed.
package io.github.libgptq;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.function.Function;

final class Buffers {
  private Buffers() {}

  /** What `copy` makes of the bytes; the memory that it is shown is gone afterwards. */
  static <T> T take(long buffer, Function<ByteBuffer, T> copy) {
    try {
      long size = GptqApi.gptq_buffer_size(buffer);
      if (size > Integer.MAX_VALUE) {
        throw new GptqException(ErrorCode.OUT_OF_MEMORY,
            "the result has " + size + " bytes, a Java buffer holds " + Integer.MAX_VALUE + ": ask for less at once");
      }
      ByteBuffer data = size == 0 ? ByteBuffer.allocate(0) : GptqApi.gptq_buffer_data(buffer);
      return copy.apply(data.order(ByteOrder.nativeOrder()));
    } finally {
      GptqApi.gptq_buffer_free(buffer);
    }
  }

  static String text(ByteBuffer data) {
    byte[] bytes = new byte[data.remaining()];
    data.get(bytes);
    return Utf8.read(bytes);
  }

  static int[] ints(ByteBuffer data) {
    int[] ints = new int[data.remaining() / Integer.BYTES];
    data.asIntBuffer().get(ints);
    return ints;
  }

  /** [rows][columns] */
  static float[][] rows(ByteBuffer data, int columns) {
    FloatBuffer floats = data.asFloatBuffer();
    float[][] rows = new float[floats.remaining() / columns][columns];
    for (float[] row : rows) {
      floats.get(row);
    }
    return rows;
  }
}
