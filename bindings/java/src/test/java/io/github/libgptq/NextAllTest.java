// Several generations at once: each writes what it would write alone, and ends or fails alone.
package io.github.libgptq;

import static io.github.libgptq.TestModel.PROMPT;
import static io.github.libgptq.TestModel.assertFails;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Iterator;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import org.junit.After;
import org.junit.AfterClass;
import org.junit.BeforeClass;
import org.junit.Test;

public class NextAllTest {
  private static final String[] PROMPTS = {PROMPT, "The dog", "One day, Tom and his friend Lily went to the park", "A"};
  private static Model model;

  private final List<Session> sessions = new ArrayList<>();

  /** Sums are rounded in another order when sessions go together: in fp32 that changes no token. */
  private static Model loadExact() {
    return Model.load(TestModel.folder(), new Options().compute("exact"));
  }

  @BeforeClass
  public static void load() {
    model = loadExact();
  }

  @AfterClass
  public static void close() {
    model.close();
  }

  @After
  public void closeSessions() {
    Thread.interrupted();
    sessions.forEach(Session::close);
    sessions.clear();
  }

  /** Past the end of the text. */
  private static Options exactly(int tokens) {
    return new Options().maxTokens(tokens).ignoreEos(true);
  }

  private Session session() {
    Session session = model.session();
    sessions.add(session);
    return session;
  }

  /** A generation for each prompt, of as many tokens, in sessions of their own. */
  private List<Generation> begin(int... tokens) {
    List<Generation> generations = new ArrayList<>();
    for (int i = 0; i < PROMPTS.length; i++) {
      generations.add(session().generate(PROMPTS[i], exactly(tokens[i % tokens.length])));
    }
    return generations;
  }

  private static String alone(int which, int tokens) {
    try (Session session = model.session()) {
      return session.generate(PROMPTS[which], exactly(tokens)).stream().map(Chunk::text).collect(Collectors.joining());
    }
  }

  private static String text(Generation generation) {
    return generation.chunk().map(Chunk::text).orElse("");
  }

  private static ErrorCode failure(Generation generation) {
    return generation.failure().map(GptqException::code).orElse(null);
  }

  @Test
  public void eachWritesWhatItWritesAlone() {
    int[] tokens = {10, 20, 30, 40};
    List<Generation> generations = begin(tokens);
    String[] texts = {"", "", "", ""};
    int rounds = 0;
    for (; Generation.nextAll(generations); rounds++) {
      for (int i = 0; i < texts.length; i++) {
        assertEquals("generation " + i + " in round " + rounds, rounds < tokens[i], generations.get(i).chunk().isPresent());
        texts[i] += text(generations.get(i));
      }
    }
    assertEquals(40, rounds);
    for (int i = 0; i < texts.length; i++) {
      assertEquals(alone(i, tokens[i]), texts[i]);
      assertEquals(null, failure(generations.get(i)));
      assertEquals("length", sessions.get(i).finishReason());
      assertEquals(tokens[i], sessions.get(i).stat("decode_tokens"), 0);
    }
    assertFalse(Generation.nextAll(generations));
    assertFalse(Generation.nextAll(Collections.emptyList()));
  }

  @Test
  public void someOfThemAndAloneInBetween() {
    List<Generation> generations = begin(9);
    String[] texts = {"", "", "", ""};
    List<Iterator<Chunk>> alone = generations.stream().map(Generation::iterator).collect(Collectors.toList());
    int[][] rounds = {{0, 1}, {3, 1, 0}, {2, 0}};
    for (int round = 0; round < 3; round++) {
      for (int[] some : rounds) {
        assertTrue(Generation.nextAll(Arrays.stream(some).mapToObj(generations::get).collect(Collectors.toList())));
        Arrays.stream(some).forEach(i -> texts[i] += text(generations.get(i)));
        if (alone.get(2).hasNext()) { // pulls one ahead, which is handed out later
          texts[2] += round % 2 == 0 ? alone.get(2).next() : "";
        }
      }
    }
    while (Generation.nextAll(generations)) {
      for (int i = 0; i < texts.length; i++) {
        texts[i] += text(generations.get(i));
      }
    }
    for (int i = 0; i < texts.length; i++) {
      assertEquals(alone(i, 9), texts[i]);
      assertFalse(alone.get(i).hasNext());
    }
  }

  @Test
  public void theContextEndsOneAlone() {
    try (Session small = model.session(new Options().contextLength(16))) {
      Generation first = small.generate(PROMPT, exactly(0));
      Generation second = session().generate(PROMPT, exactly(30));
      String text = "";
      while (Generation.nextAll(Arrays.asList(first, second))) {
        text += text(second);
      }
      assertEquals(alone(0, 30), text);
      assertEquals("context", small.finishReason());
      assertEquals(null, failure(first));
    }
  }

  @Test
  public void aCancelOrACloseEndsOneAlone() {
    for (int which : new int[] {0, 2}) {
      for (boolean closes : new boolean[] {false, true}) {
        closeSessions();
        List<Generation> generations = begin(8);
        Session session = sessions.get(which);
        String[] texts = {"", "", "", ""};
        for (int round = 0; round < 8; round++) {
          if (round == 3) {
            Runnable end = closes ? session::close : session::cancel;
            end.run();
          }
          assertTrue(Generation.nextAll(generations));
          for (int i = 0; i < texts.length; i++) {
            assertEquals(i != which || round < 3, generations.get(i).chunk().isPresent());
            texts[i] += text(generations.get(i));
          }
        }
        assertEquals(closes ? ErrorCode.BAD_STATE : ErrorCode.CANCELLED, failure(generations.get(which)));
        for (int i = 0; i < texts.length; i++) {
          if (i != which) {
            assertEquals(null, failure(generations.get(i)));
          } else if (!closes) {
            assertEquals("cancelled", generations.get(i).failure().get().getMessage());
            texts[i] += session.generate(exactly(5)).stream().map(Chunk::text).collect(Collectors.joining());
          }
          if (i != which || !closes) {
            assertEquals(alone(i, 8), texts[i]);
          }
        }
      }
    }
  }

  @Test
  public void anInterruptEndsAll() throws Exception {
    long best = Long.MAX_VALUE;
    for (int attempt = 0; attempt < 6 && best > 100; attempt++) { // the machine may be busy with other things
      List<Generation> generations = begin(0);
      Thread generating = Thread.currentThread();
      long[] sent = new long[1];
      Thread interrupting = new Thread(() -> {
        try {
          Thread.sleep(50);
        } catch (InterruptedException never) {
          throw new AssertionError(never);
        }
        sent[0] = System.nanoTime();
        generating.interrupt();
      });
      interrupting.start();
      while (Generation.nextAll(generations)) {}
      long ended = System.nanoTime();
      assertTrue(Thread.interrupted());
      interrupting.join();
      generations.forEach(generation -> assertEquals(ErrorCode.CANCELLED, failure(generation)));
      best = Math.min(best, (ended - sent[0]) / 1_000_000);
      sessions.forEach(session -> assertEquals(3, session.generate(exactly(3)).stream().count()));
      closeSessions();
    }
    assertTrue(best + " ms", best <= 100);
  }

  @Test
  public void aLateInterruptSparesWhatComesNext() throws Exception {
    int cancelled = 0;
    long delay = 1_000_000; // nanoseconds; goes to and fro about the end, however long that takes here
    for (int round = 0; round < 100; round++) {
      List<Generation> generations = begin(2);
      Thread generating = Thread.currentThread();
      CountDownLatch begun = new CountDownLatch(1);
      long wait = delay;
      Thread late = new Thread(() -> {
        begun.countDown();
        for (long end = System.nanoTime() + wait; System.nanoTime() < end; ) {
          Thread.yield();
        }
        generating.interrupt();
      });
      late.start();
      try {
        begun.await();
      } catch (InterruptedException early) {
        generating.interrupt();
      }
      while (Generation.nextAll(generations)) {}
      boolean hit = false;
      for (Generation generation : generations) {
        assertTrue(failure(generation) == null || failure(generation) == ErrorCode.CANCELLED);
        hit |= failure(generation) != null;
      }
      cancelled += hit ? 1 : 0;
      delay = hit ? delay + delay / 4 + 1 : delay - delay / 5;
      while (late.isAlive()) {
        Thread.yield();
      }
      assertTrue(Thread.interrupted());
      sessions.forEach(session -> assertEquals(2, session.generate(exactly(2)).stream().count()));
      closeSessions();
    }
    assertTrue(cancelled + " were cancelled", cancelled > 0 && cancelled < 100);
  }

  @Test
  public void twoOfOneSessionTakeNoStep() throws Exception {
    List<Generation> generations = begin(3);
    long before = sessions.get(1).tokenCount();
    assertFails(ErrorCode.INVALID_ARGUMENT, "generations 1 and 3 are of one session", () -> Generation.nextAll(
        Arrays.asList(generations.get(0), generations.get(1), generations.get(2), generations.get(1))));
    assertEquals(before, sessions.get(1).tokenCount());
    while (Generation.nextAll(generations)) {} // none was harmed
    generations.forEach(generation -> assertEquals(null, failure(generation)));
    assertEquals(before + 3, sessions.get(1).tokenCount());
    // one that has ended does not count
    Generation more = sessions.get(1).generate(exactly(1));
    assertTrue(Generation.nextAll(Arrays.asList(generations.get(1), more, generations.get(1))));
  }

  @Test
  public void ofSeveralModelsNoneTakesAStep() throws Exception {
    try (Model other = loadExact(); Session session = other.session()) {
      List<Generation> both = Arrays.asList(session().generate(PROMPT, exactly(3)), session.generate(PROMPT, exactly(3)));
      long before = session.tokenCount();
      assertFails(ErrorCode.INVALID_ARGUMENT, "session 1 is of another model than session 0", () -> Generation.nextAll(both));
      assertEquals(before, session.tokenCount());
      for (Generation generation : both) {
        assertEquals(alone(0, 3), generation.stream().map(Chunk::text).collect(Collectors.joining()));
      }
    }
  }

  @Test
  public void oneThatIsOverOrBusyFailsAlone() throws Exception {
    List<Generation> generations = begin(5);
    Generation more = sessions.get(1).generate(exactly(5));
    try (Session busy = TestModel.longSession(model)) {
      Generation waiting = busy.generate(PROMPT);
      busy.append(Arrays.copyOf(TestModel.longPrompt(), TestModel.LONG_PROMPT));
      Thread prefill = new Thread(() -> {
        for (ErrorCode code = ErrorCode.BUSY; code == ErrorCode.BUSY; ) { // for the one that asks below
          try {
            busy.prefill(Session.Logits.NONE);
            code = null;
          } catch (GptqException failure) {
            code = failure.code();
          }
        }
      });
      prefill.start();
      for (ErrorCode code = null; code != ErrorCode.BUSY; ) { // until it is inside
        assertTrue(prefill.isAlive());
        Thread.sleep(1);
        try {
          busy.tokenCount();
        } catch (GptqException failure) {
          code = failure.code();
        }
      }
      assertTrue(Generation.nextAll(Arrays.asList(generations.get(0), generations.get(1), waiting)));
      assertEquals(ErrorCode.BUSY, failure(waiting));
      busy.cancel();
      prefill.join();
    }
    assertEquals(ErrorCode.BAD_STATE, failure(generations.get(1)));
    String text = text(generations.get(0));
    while (Generation.nextAll(Arrays.asList(generations.get(0), more))) {
      text += text(generations.get(0));
    }
    assertEquals(alone(0, 5), text);
  }

  @Test
  public void aCloseMeanwhileEndsItsOwn() throws Exception {
    for (int round = 0; round < 20; round++) {
      closeSessions();
      List<Generation> generations = begin(0);
      List<Session> order = new ArrayList<>(sessions);
      Collections.shuffle(order, new Random(round));
      Thread closing = new Thread(() -> order.forEach(session -> {
        try {
          Thread.sleep(2);
        } catch (InterruptedException never) {
          throw new AssertionError(never);
        }
        session.close();
      }));
      closing.start();
      while (Generation.nextAll(generations)) {}
      closing.join();
      for (Generation generation : generations) {
        assertTrue(failure(generation) == ErrorCode.CANCELLED || failure(generation) == ErrorCode.BAD_STATE);
      }
    }
  }

  /** Threads with the same generations in several orders: who comes second gets BUSY, and nobody waits. */
  @Test(timeout = 60_000)
  public void listsThatOverlapEndAsBusyAtWorst() throws Exception {
    AtomicInteger chunks = new AtomicInteger();
    List<Throwable> unexpected = Collections.synchronizedList(new ArrayList<>());
    for (int round = 0; round < 30; round++) {
      closeSessions();
      List<Generation> generations = begin(40);
      List<Thread> threads = new ArrayList<>();
      for (int number = 0; number < 4; number++) {
        List<Generation> mine = new ArrayList<>(generations);
        Collections.shuffle(mine, new Random(10 * round + number));
        Thread thread = new Thread(() -> {
          while (Generation.nextAll(mine)) {
            chunks.incrementAndGet();
          }
        });
        thread.setUncaughtExceptionHandler((dead, failure) -> unexpected.add(failure));
        threads.add(thread);
      }
      threads.forEach(Thread::start);
      for (Thread thread : threads) {
        thread.join();
      }
      for (Generation generation : generations) {
        assertTrue("" + failure(generation), failure(generation) == null || failure(generation) == ErrorCode.BUSY);
      }
    }
    assertTrue(unexpected.toString(), unexpected.isEmpty());
    assertTrue(chunks.get() > 0);
  }
}
