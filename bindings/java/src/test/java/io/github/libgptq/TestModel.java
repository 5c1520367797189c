// The sample model, and what several tests do with it.
package io.github.libgptq;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertTrue;
import static org.junit.Assert.fail;

import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.Arrays;
import java.util.stream.Collectors;

final class TestModel {
  static final String PROMPT = "Once upon a time";
  /** More than one second of work. */
  static final int LONG_PROMPT = 8_000;

  private TestModel() {}

  static Path folder() {
    String given = System.getenv("GPTQ_TEST_MODEL");
    return Paths.get(given != null ? given : "../../samples/model").toAbsolutePath().normalize();
  }

  static Model load() {
    return Model.load(folder());
  }

  static String text(Session session, int maxTokens) {
    return session.generate(PROMPT, new Options().maxTokens(maxTokens)).stream()
        .map(Chunk::text).collect(Collectors.joining());
  }

  static Session longSession(Model model) {
    return model.session(new Options().contextLength(LONG_PROMPT + 1000));
  }

  static int[] longPrompt() {
    int[] ids = new int[LONG_PROMPT];
    Arrays.fill(ids, 100);
    return ids;
  }

  interface Action {
    void run() throws Exception;
  }

  static GptqException assertFails(ErrorCode code, String part, Action action) throws Exception {
    try {
      action.run();
    } catch (GptqException failure) {
      assertEquals(failure.getMessage(), code, failure.code());
      assertEquals(code.status(), failure.status());
      assertTrue(failure.getMessage(), failure.getMessage().contains(part));
      return failure;
    }
    fail("nothing was thrown, wanted " + code);
    return null;
  }
}
