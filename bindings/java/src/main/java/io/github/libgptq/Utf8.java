// Text to and from the library: UTF-8 bytes, not the modified form that JNI has for strings.
package io.github.libgptq;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.regex.Pattern;

final class Utf8 {
  private static final Pattern LONE_SURROGATE = Pattern.compile("\\p{Cs}");

  private Utf8() {}

  /** A lone surrogate becomes U+FFFD, as whatever is no text does in the library; String.getBytes() has '?' for it. */
  static byte[] bytes(String text) {
    return LONE_SURROGATE.matcher(text).replaceAll("\uFFFD").getBytes(StandardCharsets.UTF_8);
  }

  /** The bytes and a NUL, for what C takes without a length. */
  static byte[] terminated(String text) {
    if (text == null) {
      return null;
    }
    if (text.indexOf('\0') >= 0) {
      throw new GptqException(ErrorCode.INVALID_ARGUMENT,
          "a name, path or value contains NUL: '" + text.replace("\0", "\\0") + "'");
    }
    byte[] bytes = bytes(text);
    return Arrays.copyOf(bytes, bytes.length + 1);
  }

  static String read(byte[] bytes) {
    return bytes == null ? null : new String(bytes, StandardCharsets.UTF_8);
  }
}
