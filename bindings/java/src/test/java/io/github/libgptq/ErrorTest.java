// Errors: a code and a text for each; a closed object is an error, not a crash; one thread at a time.
package io.github.libgptq;

import static io.github.libgptq.TestModel.PROMPT;
import static io.github.libgptq.TestModel.assertFails;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertTrue;

import java.nio.file.Paths;
import java.util.concurrent.CountDownLatch;
import org.junit.Test;

public class ErrorTest {
  @Test
  public void aFolderThatIsNotThere() throws Exception {
    assertFails(ErrorCode.NOT_FOUND, "no/such/folder", () -> Model.load(Paths.get("no/such/folder")));
  }

  @Test
  public void keysAndValuesThatAreWrong() throws Exception {
    try (Options options = new Options()) {
      assertFails(ErrorCode.INVALID_ARGUMENT, "temperature", () -> options.set("temperatur", 1));
      assertFails(ErrorCode.INVALID_ARGUMENT, "bits", () -> options.bits(5));
      assertFails(ErrorCode.INVALID_ARGUMENT, "bits", () -> options.set("bits", "four"));
      assertFails(ErrorCode.INVALID_ARGUMENT, "NUL", () -> options.set("device", "cpu\0"));
      assertFails(ErrorCode.INVALID_ARGUMENT, "NUL", () -> options.set("bi\0ts", 4));
      assertFails(ErrorCode.INVALID_ARGUMENT, "", () -> options.set(null, 4));
      assertFails(ErrorCode.INVALID_ARGUMENT, "", () -> options.setJson("[1]"));
      assertEquals("{}", options.toJson());
    }
  }

  @Test
  public void argumentsOfASessionThatAreWrong() throws Exception {
    try (Model model = TestModel.load(); Session session = model.session(new Options().contextLength(16))) {
      assertFails(ErrorCode.BAD_STATE, "", session::generate);
      assertFails(ErrorCode.BAD_STATE, "", () -> session.prefill(Session.Logits.LAST));
      assertFails(ErrorCode.BAD_STATE, "", session::logits);
      assertFails(ErrorCode.INVALID_ARGUMENT, "1000000", () -> session.append(new int[] {1_000_000}));
      assertFails(ErrorCode.CONTEXT_FULL, "16", () -> session.append(new int[17]));
      assertFails(ErrorCode.NOT_FOUND, "prefill_tokens", () -> session.stat("prefill_token"));
      assertFails(ErrorCode.INVALID_ARGUMENT, "1000000", () -> model.detokenize(new int[] {1_000_000}));
      assertFails(ErrorCode.NOT_FOUND, "", () -> model.tokenText(1_000_000));
      assertEquals(0, session.tokenCount());
    }
  }

  @Test
  public void aStepWithoutABegin() throws Exception {
    try (Model model = TestModel.load(); Session session = model.session()) {
      assertFails(ErrorCode.BAD_STATE, "", () -> session.step(0));
    }
  }

  @Test
  public void closedObjects() throws Exception {
    Model model = TestModel.load();
    Session session = model.session();
    Options options = new Options();
    Generation generation = session.generate(PROMPT);
    for (int i = 0; i < 2; i++) {
      model.close();
      session.close();
      options.close();
    }
    assertFails(ErrorCode.BAD_STATE, "the model is closed", model::session);
    assertFails(ErrorCode.BAD_STATE, "the model is closed", () -> model.tokenize(PROMPT));
    assertFails(ErrorCode.BAD_STATE, "the session is closed", () -> session.append(PROMPT));
    assertFails(ErrorCode.BAD_STATE, "the session is closed", session::cancel);
    assertFails(ErrorCode.BAD_STATE, "the session is closed", () -> generation.iterator().hasNext());
    assertFails(ErrorCode.BAD_STATE, "the options are closed", () -> options.bits(4));
    assertFails(ErrorCode.BAD_STATE, "the options are closed", () -> Model.load(TestModel.folder(), options));
  }

  @Test
  public void aSessionIsOneThreadsAtATime() throws Exception {
    try (Model model = TestModel.load(); Session session = TestModel.longSession(model)) {
      session.append(TestModel.longPrompt());
      CountDownLatch begun = new CountDownLatch(1);
      Thread other = new Thread(() -> {
        begun.countDown();
        try {
          session.prefill(Session.Logits.NONE);
        } catch (GptqException cancelled) {
          assertEquals(ErrorCode.CANCELLED, cancelled.code());
        }
      });
      other.start();
      begun.await();
      Thread.sleep(50);
      assertFails(ErrorCode.BUSY, "the session is in use by another thread", session::generate);
      assertFails(ErrorCode.BUSY, "another thread", session::tokenCount);
      session.cancel();
      other.join();
      assertEquals(TestModel.LONG_PROMPT, session.tokenCount());
    }
  }

  @Test
  public void everyStatusHasACode() {
    for (ErrorCode code : ErrorCode.values()) {
      assertEquals(code, ErrorCode.of(code.status()));
      if (code != ErrorCode.UNKNOWN) {
        assertEquals("GPTQ_ERROR_" + code, GptqApi.gptq_status_name(code.status()));
      }
    }
    assertEquals(ErrorCode.UNKNOWN, ErrorCode.of(-55));
  }

  @Test
  public void optionsGoThroughJson() {
    try (Options one = new Options().bits(8).dampPercent(0.1).order("act").sym(false); Options two = new Options()) {
      assertEquals(one.toJson(), one.set("sym", false).toJson());
      two.setJson(one.toJson());
      assertEquals(one.toJson(), two.toJson());
      assertTrue(two.toJson(), two.toJson().contains("\"bits\":8"));
      assertEquals("{}", two.reset().toJson());
    }
    assertTrue(Options.describe().size() >= 20);
    assertTrue(Options.describe().stream().anyMatch(key -> key.contains("\"top_p\"")));
  }
}
