// Another Java process with the same classes.
package io.github.libgptq;

import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

final class Jvm {
  private Jvm() {}

  /** Starts it; `environment` changes the variables of this one, null removes. Stdout and stderr come as one. */
  static Process start(Map<String, String> environment, Class<?> main, String... options) throws Exception {
    List<String> command = new ArrayList<>();
    command.add(Paths.get(System.getProperty("java.home"), "bin", "java").toString());
    if (System.getProperty(NativeLibrary.PROPERTY) != null) {
      command.add("-D" + NativeLibrary.PROPERTY + "=" + System.getProperty(NativeLibrary.PROPERTY));
    }
    if (Double.parseDouble(System.getProperty("java.specification.version")) >= 24) {
      command.add("--enable-native-access=ALL-UNNAMED"); // else these warn of every library
    }
    command.addAll(Arrays.asList("-cp", System.getProperty("java.class.path")));
    command.addAll(Arrays.asList(options));
    command.add(main.getName());
    ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
    environment.forEach((name, value) -> {
      builder.environment().remove(name);
      if (value != null) {
        builder.environment().put(name, value);
      }
    });
    return builder.start();
  }

  /** All that it printed, with "exit code N" after it unless that is 0. */
  static String output(Process process) throws Exception {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    byte[] part = new byte[8192];
    try (InputStream in = process.getInputStream()) {
      for (int count; (count = in.read(part)) > 0; ) {
        bytes.write(part, 0, count);
      }
    }
    int code = process.waitFor();
    return new String(bytes.toByteArray(), StandardCharsets.UTF_8) + (code == 0 ? "" : "exit code " + code);
  }

  static String run(Map<String, String> environment, Class<?> main, String... options) throws Exception {
    return output(start(environment, main, options));
  }
}
