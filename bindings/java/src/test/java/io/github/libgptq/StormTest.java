// Whatever several threads call at once, close and interrupt included, is done or is an error of this package.
package io.github.libgptq;

import static org.junit.Assert.assertTrue;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.Random;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.Rule;
import org.junit.Test;
import org.junit.rules.TemporaryFolder;

public class StormTest {
  @Rule public TemporaryFolder scratch = new TemporaryFolder();

  private static void storm(Random random, int calls, List<Runnable> actions) {
    for (int i = 0; i < calls; i++) {
      try {
        actions.get(random.nextInt(actions.size())).run();
      } catch (GptqException | NoSuchElementException expected) {
        Thread.interrupted();
      }
    }
  }

  private static void round(int round, Path output) throws Exception {
    Options options = new Options().maxTokens(4).calibrationSamples(2).calibrationLength(16).overwrite(true);
    Model model = TestModel.load();
    Session session = model.session();
    Session other = model.session();
    Quantizer quantizer = Quantizer.create(TestModel.folder(), output, options);
    AtomicReference<Iterator<Chunk>> chunks = new AtomicReference<>(session.generate("Once", options).iterator());
    AtomicReference<Generation> one = new AtomicReference<>(session.generate(options));
    AtomicReference<Generation> two = new AtomicReference<>(other.generate("Once", options));
    List<Thread> threads = new ArrayList<>();
    List<Throwable> unexpected = Collections.synchronizedList(new ArrayList<>());
    for (int number = 0; number < 5; number++) {
      Random random = new Random(100 * round + number);
      List<Runnable> calls = new ArrayList<>(Arrays.asList(
          () -> session.generate("a\0\uD83D", options).forEach(chunk -> {}), () -> chunks.get().next(),
          () -> chunks.set(session.generate("b", options).iterator()), session::logits,
          () -> one.set(session.generate("d", options)), () -> two.set(other.generate("e", options)),
          () -> Generation.nextAll(Arrays.asList(one.get(), two.get())), () -> one.get().iterator().next(),
          () -> Generation.nextAll(Arrays.asList(two.get(), one.get())), () -> Generation.nextAll(Arrays.asList(one.get(), one.get())),
          () -> session.prefill(Session.Logits.ALL), () -> session.append(new int[] {1, 2, -3}),
          () -> session.append("more"), session::reset, session::cancel, session::clearCancel, session::finishReason,
          () -> session.stat("cache_bytes"), () -> model.detokenize(model.tokenize("x y z")),
          () -> model.session(options).append("z"), () -> options.seed(random.nextInt(9)), options::toJson, options::reset,
          () -> quantizer.iterator().next(), quantizer::report, quantizer::progress,
          () -> quantizer.addCalibrationTokens(new int[] {1, 2, 3}), () -> threads.get(random.nextInt(5)).interrupt()));
      Thread thread = new Thread(() -> {
        storm(random, 40, calls);
        calls.addAll(Arrays.asList(session::close, other::close, model::close, options::close, quantizer::close, System::gc));
        storm(random, 20, calls);
      });
      thread.setUncaughtExceptionHandler((dead, failure) -> unexpected.add(failure));
      threads.add(thread);
    }
    threads.forEach(Thread::start);
    for (Thread thread : threads) {
      thread.join();
    }
    quantizer.close();
    session.close();
    other.close();
    model.close();
    assertTrue(unexpected.toString(), unexpected.isEmpty());
  }

  @Test
  public void anythingByAnybodyIsAnErrorAtMost() throws Exception {
    for (int i = 0; i < 30; i++) {
      round(i, scratch.getRoot().toPath().resolve("output"));
    }
  }
}
