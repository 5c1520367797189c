// Quantization: steps with progress, the result loads and writes text, and a cancel leaves nothing.
package io.github.libgptq;

import static io.github.libgptq.TestModel.assertFails;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Iterator;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.After;
import org.junit.Before;
import org.junit.Rule;
import org.junit.Test;
import org.junit.rules.TemporaryFolder;

public class QuantizerTest {
  @Rule public TemporaryFolder scratch = new TemporaryFolder();
  private Path output;

  @Before
  public void outputPath() {
    output = scratch.getRoot().toPath().resolve("quantized");
  }

  @After
  public void clear() {
    Thread.interrupted();
  }

  private Quantizer create(long samples) {
    try (Options options = new Options().calibrationSamples(samples).calibrationLength(64).groupSize(32)) {
      return Quantizer.create(TestModel.folder(), output, options);
    }
  }

  @Test
  public void stepsTellTheirProgressAndTheResultWritesText() throws Exception {
    try (Quantizer quantizer = create(4)) {
      quantizer.addCalibrationTokens(new int[] {100, 101, 102});
      Progress last = quantizer.progress();
      assertEquals(0, last.fraction(), 0);
      int steps = 0;
      for (Progress progress : quantizer) {
        assertTrue(progress + " after " + last, progress.fraction() >= last.fraction());
        assertFalse("the output was there at " + progress, Files.exists(output) && progress.fraction() < 1);
        last = progress;
        steps++;
      }
      assertEquals(1, last.fraction(), 0);
      assertEquals(last.layers(), last.layer());
      assertTrue(last.seconds() > 0);
      assertTrue(steps + " steps", steps >= last.layers());
      assertTrue(last.toString(), last.toString().startsWith("100 %"));
      assertTrue(quantizer.report().contains("\"modules\""));
      assertFalse(quantizer.iterator().hasNext());
      assertFails(ErrorCode.BAD_STATE, "", () -> quantizer.addCalibrationText("late"));
      quantizer.run(); // has nothing to do
    }
    try (Model model = Model.load(output); Session session = model.session()) {
      assertEquals(4, model.getInt("bits"));
      assertFalse(TestModel.text(session, 20).isEmpty());
    }
    assertFails(ErrorCode.IO, "quantized", () -> create(4));
  }

  @Test
  public void aQuantizedModelIsConverted() throws Exception {
    Path dense = scratch.getRoot().toPath().resolve("dense");
    try (Quantizer quantizer = create(4)) {
      quantizer.run();
    }
    assertFails(ErrorCode.INVALID_ARGUMENT, "format", () -> Model.convert(output, dense, null));
    try (Options options = new Options().format("dense")) {
      Model.convert(output, dense, options);
      assertFails(ErrorCode.IO, "dense", () -> Model.convert(output, dense, options));
    }
    try (Model model = Model.load(dense)) {
      assertEquals(0, model.getInt("quantized"));
    }
  }

  @Test
  public void runDoesAllOfIt() throws Exception {
    try (Quantizer quantizer = create(4)) {
      quantizer.addCalibrationText(new String(new char[200]).replace("\0", "Once upon a time there was a girl. "));
      quantizer.run();
      assertEquals(1, quantizer.progress().fraction(), 0);
      assertTrue(Files.exists(output.resolve("model.safetensors")));
    }
  }

  /// Nothing but the finished layers that wait for the next run of the same job.
  private void assertNoOutput() {
    for (String name : scratch.getRoot().list()) assertEquals(".quantized.unfinished", name);
  }

  private void endsEarly(java.util.function.BiConsumer<Quantizer, Thread> end) throws Exception {
    long best = Long.MAX_VALUE;
    for (int attempt = 0; attempt < 3 && best > 100; attempt++) { // the machine may be busy with other things
      best = Math.min(best, millisecondsToTheEnd(end));
    }
    assertTrue(best + " ms", best <= 100);
    assertNoOutput();
  }

  private long millisecondsToTheEnd(java.util.function.BiConsumer<Quantizer, Thread> end) throws Exception {
    try (Quantizer quantizer = create(512)) {
      AtomicReference<GptqException> failure = new AtomicReference<>();
      long[] ended = new long[1];
      Thread thread = new Thread(() -> {
        try {
          quantizer.run();
        } catch (GptqException thrown) {
          ended[0] = System.nanoTime();
          failure.set(thrown);
        }
      });
      thread.start();
      Thread.sleep(300);
      assertTrue("the job ended before the cancel", thread.isAlive());
      assertFails(ErrorCode.BUSY, "the quantizer is in use", quantizer::report);
      assertTrue(quantizer.progress().fraction() < 1);
      long sent = System.nanoTime();
      end.accept(quantizer, thread);
      thread.join();
      assertEquals(ErrorCode.CANCELLED, failure.get().code());
      return (ended[0] - sent) / 1_000_000;
    }
  }

  @Test
  public void cancelLeavesNoOutput() throws Exception {
    endsEarly((quantizer, thread) -> quantizer.cancel());
  }

  @Test
  public void interruptLeavesNoOutput() throws Exception {
    endsEarly((quantizer, thread) -> thread.interrupt());
  }

  @Test
  public void closeLeavesNoOutput() throws Exception {
    endsEarly((quantizer, thread) -> quantizer.close());
  }

  @Test
  public void anInterruptBetweenStepsCancels() throws Exception {
    try (Quantizer quantizer = create(4)) {
      Iterator<Progress> steps = quantizer.iterator();
      steps.next();
      Thread.currentThread().interrupt();
      assertFails(ErrorCode.CANCELLED, "", steps::next);
      assertTrue(Thread.interrupted());
      assertFalse(steps.hasNext());
    }
    assertNoOutput();
  }
}
