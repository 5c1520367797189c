// Cancel: by the session, by an interrupt, by close; soon, in prompts too; never lost, and never for the wrong generation.
package io.github.libgptq;

import static io.github.libgptq.TestModel.PROMPT;
import static io.github.libgptq.TestModel.assertFails;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertTrue;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.BiConsumer;
import org.junit.After;
import org.junit.AfterClass;
import org.junit.BeforeClass;
import org.junit.Test;

public class CancelTest {
  private static final long LIMIT_MS = 100;
  private static Model model;

  @BeforeClass
  public static void load() {
    model = TestModel.load();
  }

  @AfterClass
  public static void close() {
    model.close();
  }

  @After
  public void clear() {
    Thread.interrupted();
  }

  /** Runs `work` on a thread, `cancel` on this one 200 ms after it began; the work has to end as cancelled, in time. */
  private static void endsSoon(
      Session session, BiConsumer<Session, CountDownLatch> work, BiConsumer<Session, Thread> cancel) throws Exception {
    long best = Long.MAX_VALUE;
    for (int attempt = 0; attempt < 6 && best > LIMIT_MS; attempt++) { // the machine may be busy with other things
      CountDownLatch begun = new CountDownLatch(1);
      AtomicReference<GptqException> failure = new AtomicReference<>();
      long[] ended = new long[1];
      Thread thread = new Thread(() -> {
        try {
          work.accept(session, begun);
        } catch (GptqException thrown) {
          ended[0] = System.nanoTime();
          failure.set(thrown);
        }
      });
      thread.start();
      begun.await();
      Thread.sleep(200);
      assertTrue("the work ended before the cancel", thread.isAlive());
      long sent = System.nanoTime();
      cancel.accept(session, thread);
      thread.join();
      assertTrue("the work ended without a failure", failure.get() != null);
      assertEquals(failure.get().getMessage(), ErrorCode.CANCELLED, failure.get().code());
      best = Math.min(best, (ended[0] - sent) / 1_000_000);
    }
    assertTrue(best + " ms", best <= LIMIT_MS);
  }

  private static void generate(Session session, CountDownLatch begun) {
    session.reset();
    for (Chunk chunk : session.generate(PROMPT, new Options().ignoreEos(true))) {
      begun.countDown();
    }
  }

  private static void longPrompt(Session session, CountDownLatch begun) {
    session.reset();
    session.append(TestModel.longPrompt());
    begun.countDown();
    session.generate();
  }

  @Test
  public void sessionCancelEndsAGeneration() throws Exception {
    try (Session session = TestModel.longSession(model)) {
      endsSoon(session, CancelTest::generate, (s, thread) -> s.cancel());
      assertEquals("cancelled", session.finishReason());
    }
  }

  @Test
  public void sessionCancelEndsAPrompt() throws Exception {
    try (Session session = TestModel.longSession(model)) {
      endsSoon(session, CancelTest::longPrompt, (s, thread) -> s.cancel());
    }
  }

  @Test
  public void interruptEndsAGeneration() throws Exception {
    try (Session session = TestModel.longSession(model)) {
      endsSoon(session, CancelTest::generate, (s, thread) -> thread.interrupt());
    }
  }

  @Test
  public void interruptEndsAPrompt() throws Exception {
    try (Session session = TestModel.longSession(model)) {
      endsSoon(session, CancelTest::longPrompt, (s, thread) -> thread.interrupt());
    }
  }

  @Test
  public void closeEndsAPrompt() throws Exception {
    Session[] session = new Session[1];
    endsSoon(null, (none, begun) -> {
      session[0] = TestModel.longSession(model);
      longPrompt(session[0], begun);
    }, (none, thread) -> session[0].close());
    assertFails(ErrorCode.BAD_STATE, "closed", session[0]::tokenCount);
  }

  @Test
  public void aCancelBeforeTheBeginIsKept() throws Exception {
    try (Session session = model.session(); Session fresh = model.session()) {
      session.cancel();
      assertFails(ErrorCode.CANCELLED, "", () -> session.generate(PROMPT));
      session.reset();
      assertEquals(TestModel.text(fresh, 10), TestModel.text(session, 10));
      session.cancel();
      session.clearCancel();
      session.generate(new Options().maxTokens(1)).forEach(chunk -> {});
    }
  }

  @Test
  public void aThreadInterruptedBeforeIsCancelledAndStaysInterrupted() throws Exception {
    try (Session session = model.session(); Session fresh = model.session()) {
      Thread.currentThread().interrupt();
      assertFails(ErrorCode.CANCELLED, "", () -> session.generate(PROMPT));
      assertTrue(Thread.interrupted());
      session.reset();
      assertEquals(TestModel.text(fresh, 10), TestModel.text(session, 10));
    }
  }

  @Test
  public void aLateInterruptDoesNotHitTheNextGeneration() throws Exception {
    try (Session session = model.session(); Session fresh = model.session()) {
      String wanted = TestModel.text(fresh, 4);
      long start = System.nanoTime();
      TestModel.text(session, 4);
      long spread = System.nanoTime() - start;
      Thread generating = Thread.currentThread();
      int cancelled = 0;
      int rounds = 300;
      for (int round = 0; round < rounds; round++) {
        AtomicBoolean begun = new AtomicBoolean();
        long delay = spread * (round % 30) / 20; // nanoseconds, from 0 to 1.5 times a generation
        Thread late = new Thread(() -> {
          begun.set(true);
          for (long end = System.nanoTime() + delay; System.nanoTime() < end; ) {
            Thread.yield();
          }
          generating.interrupt();
        });
        late.start();
        while (!begun.get()) {
          Thread.yield();
        }
        session.reset();
        try {
          TestModel.text(session, 4);
        } catch (GptqException failure) {
          assertEquals(ErrorCode.CANCELLED, failure.code());
          cancelled++;
        }
        while (late.isAlive()) {
          Thread.yield();
        }
        assertTrue(Thread.interrupted());
        session.reset();
        assertEquals("round " + round, wanted, TestModel.text(session, 4));
      }
      assertTrue(cancelled + " of " + rounds + " were cancelled", cancelled > 0 && cancelled < rounds);
    }
  }
}
