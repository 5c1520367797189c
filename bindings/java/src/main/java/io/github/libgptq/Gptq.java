// The library itself.
package io.github.libgptq;

/** The native library: which one it is, and what it can. */
public final class Gptq {
  private Gptq() {}

  /**
   * The version of the native library.
   *
   * @return such as "0.1.0"
   */
  public static String version() {
    NativeLibrary.load();
    return GptqApi.gptq_version_string();
  }

  /**
   * The version as a number to compare.
   *
   * @return major * 1000000 + minor * 1000 + patch
   */
  public static int versionNumber() {
    NativeLibrary.load();
    return GptqApi.gptq_version();
  }

  /**
   * Version, compiler and the instruction set in use.
   *
   * @return one line, for bug reports
   */
  public static String buildInfo() {
    NativeLibrary.load();
    return GptqApi.gptq_build_info();
  }

  /**
   * Whether the native library has a feature.
   *
   * @param name "cpu", "quantize" or "cuda"
   * @return true if it has
   */
  public static boolean hasFeature(String name) {
    NativeLibrary.load();
    return GptqApi.gptq_has_feature(name) == 1;
  }

  /**
   * Throws, saying what is missing, plugin, driver or device, unless models can compute on a device.
   *
   * @param device a value of {@link Options#device}
   */
  public static void checkDevice(String device) {
    NativeLibrary.load();
    GptqException.check(GptqApi.gptq_device_check(device));
  }
}
