// Generation: what the C sample writes, chunk by chunk, in every form of iteration, from several threads.
package io.github.libgptq;

import static io.github.libgptq.TestModel.PROMPT;
import static io.github.libgptq.TestModel.assertFails;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertTrue;
import static org.junit.Assume.assumeTrue;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.Test;

public class GenerationTest {
  @Test
  public void textIsThatOfTheSampleInC() throws Exception {
    String file = System.getenv("GPTQ_TEST_EXPECTED");
    assumeTrue("GPTQ_TEST_EXPECTED is not set", file != null);
    String expected = new String(Files.readAllBytes(Paths.get(file)), StandardCharsets.UTF_8);
    try (Model model = TestModel.load(); Session session = model.session()) {
      assertEquals(expected, TestModel.text(session, 200) + "\n");
    }
  }

  @Test
  public void aTextStopsIt() throws Exception {
    try (Model model = TestModel.load(); Session session = model.session(); Session again = model.session()) {
      String whole = TestModel.text(session, 40);
      String stop = whole.substring(whole.length() / 2, whole.length() / 2 + 5);
      StringBuilder text = new StringBuilder();
      try (Options options = new Options().maxTokens(40).stop("no such text", stop)) {
        again.generate(PROMPT, options).forEach(text::append);
        String json = options.toJson();
        assertFails(ErrorCode.INVALID_ARGUMENT, "stop", () -> options.stop("a", ""));
        assertFails(ErrorCode.INVALID_ARGUMENT, "bits", () -> options.setList("bits", "a"));
        assertFails(ErrorCode.INVALID_ARGUMENT, "device", () -> options.setList("device"));
        assertFails(ErrorCode.INVALID_ARGUMENT, "", () -> options.stop((String[]) null));
        assertEquals(json, options.toJson());
        assertEquals("[]", new Options().stop().toJson().replaceAll(".*:\"|\"}", ""));
      }
      assertEquals(whole.substring(0, whole.indexOf(stop)), text.toString());
      assertEquals("stop", again.finishReason());
    }
  }

  @Test
  public void chunksTellTheTokensOfTheWhole() {
    try (Model model = TestModel.load(); Session session = model.session()) {
      StringBuilder text = new StringBuilder();
      List<Integer> tokens = new ArrayList<>();
      for (Chunk chunk : session.generate(PROMPT, new Options().maxTokens(40))) {
        text.append(chunk);
        if (chunk.token() >= 0) {
          tokens.add(chunk.token());
        }
      }
      assertEquals(40, tokens.size());
      assertEquals("length", session.finishReason());
      assertEquals(model.detokenize(tokens.stream().mapToInt(i -> i).toArray()).trim(), text.toString().trim());
      assertEquals(1.0 * tokens.size(), session.stat("decode_tokens"), 0);
      assertEquals(1, session.logits().length);
      assertEquals(model.getInt("vocab_size"), session.logits()[0].length);
    }
  }

  @Test
  public void logitsAreARowForEachTokenOfThePrompt() {
    try (Model model = TestModel.load(); Session session = model.session()) {
      int[] ids = model.tokenize(PROMPT, Model.Tokenize.ADD_SPECIAL);
      session.append(ids);
      session.prefill(Session.Logits.ALL);
      float[][] all = session.logits();
      assertEquals(ids.length, all.length);
      session.reset();
      session.append(ids);
      session.prefill(Session.Logits.LAST);
      float[] last = session.logits()[0];
      int best = 0;
      for (int id = 0; id < last.length; id++) {
        assertEquals(last[id], all[ids.length - 1][id], 1e-3);
        best = last[id] > last[best] ? id : best;
      }
      assertEquals(best, session.generate().iterator().next().token());
    }
  }

  @Test
  public void streamIsLazyAndStopsWhenClosed() {
    try (Model model = TestModel.load(); Session session = model.session()) {
      long before;
      try (Stream<Chunk> stream = session.generate(PROMPT).stream()) {
        before = session.tokenCount();
        assertEquals(3, stream.limit(3).count());
      }
      assertTrue("pulled " + (session.tokenCount() - before), session.tokenCount() - before <= 4);
      Stream<Chunk> closed = session.generate().stream();
      Iterator<Chunk> rest = closed.iterator();
      rest.next();
      closed.close();
      assertFalse(rest.hasNext());
    }
  }

  @Test
  public void aGenerationThatWasDroppedLetsTheNextGoOn() {
    try (Model model = TestModel.load(); Session one = model.session(); Session two = model.session()) {
      StringBuilder text = new StringBuilder();
      Iterator<Chunk> first = one.generate(PROMPT).iterator();
      for (int i = 0; i < 10; i++) {
        text.append(first.next());
      }
      one.generate(new Options().maxTokens(10)).forEach(text::append);
      assertEquals(TestModel.text(two, 20), text.toString());
    }
  }

  @Test
  public void aGenerationIsWalkedOnceAndNotPastAnother() throws Exception {
    try (Model model = TestModel.load(); Session session = model.session()) {
      Generation first = session.generate(PROMPT, new Options().maxTokens(5));
      Iterator<Chunk> old = first.iterator();
      assertFails(ErrorCode.BAD_STATE, "once", first::iterator);
      session.generate(new Options().maxTokens(2)).forEach(chunk -> {});
      assertFails(ErrorCode.BAD_STATE, "another", old::hasNext);
      assertFalse(old.hasNext());
      try {
        old.next();
        throw new AssertionError("next() after the end gave a chunk");
      } catch (NoSuchElementException wanted) {
        assertTrue(wanted.getMessage().contains("ended"));
      }
    }
  }

  @Test
  public void fourThreadsOnOneModelGiveOneText() throws Exception {
    ExecutorService threads = Executors.newFixedThreadPool(4);
    try (Model model = TestModel.load(); Options options = new Options().maxTokens(60)) {
      List<Future<String>> texts = new ArrayList<>();
      for (int i = 0; i < 4; i++) {
        texts.add(threads.submit(() -> {
          try (Session session = model.session(options)) {
            return session.generate(PROMPT, options).stream().map(Chunk::text).collect(Collectors.joining());
          }
        }));
      }
      try (Session session = model.session()) {
        String wanted = TestModel.text(session, 60);
        for (Future<String> text : texts) {
          assertEquals(wanted, text.get());
        }
      }
    } finally {
      threads.shutdown();
    }
  }
}
