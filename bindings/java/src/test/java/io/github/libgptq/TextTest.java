// Text goes both ways unharmed: characters of four bytes, NUL, and chunks that never split a character.
package io.github.libgptq;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertTrue;

import java.util.OptionalInt;
import org.junit.AfterClass;
import org.junit.BeforeClass;
import org.junit.Test;

public class TextTest {
  private static Model model;

  @BeforeClass
  public static void load() {
    model = Model.load(TestModel.folder());
  }

  @AfterClass
  public static void close() {
    model.close();
  }

  private static String there(String text) {
    return model.detokenize(model.tokenize(text));
  }

  @Test
  public void textComesBackAsItWent() {
    for (String text : new String[] {"", "a", "Grüße", "\uD83D\uDE00 and \uD83D\uDC69\u200D\uD83D\uDCBB", "\uD834\uDD1E",
        "a\0b", "日本語", "\0"}) {
      assertEquals(text, there(text));
    }
  }

  @Test
  public void aLoneSurrogateIsReplaced() {
    for (String lone : new String[] {"\uD83D", "\uDE00"}) {
      assertEquals("a\uFFFDb", there("a" + lone + "b"));
      assertEquals("\uFFFD", there(lone));
      assertEquals("\uFFFD\uD83D\uDE00", there(lone + "\uD83D\uDE00"));
    }
  }

  @Test
  public void chunksDoNotSplitCharacters() {
    // at a high temperature, tokens of single bytes come up often
    String whole;
    StringBuilder joined = new StringBuilder();
    try (Session session = model.session()) {
      session.append("\uD83D\uDE00\uD83D\uDE00\uD83D\uDE00");
      for (Chunk chunk : session.generate(new Options().temperature(50).maxTokens(300).ignoreEos(true).seed(7))) {
        String text = chunk.text();
        for (int i = 0; i < text.length(); i++) {
          assertFalse(Character.isLowSurrogate(text.charAt(i))
              && (i == 0 || !Character.isHighSurrogate(text.charAt(i - 1))));
          assertFalse(Character.isHighSurrogate(text.charAt(i)) && i + 1 == text.length());
        }
        joined.append(text);
      }
      whole = joined.toString();
    }
    assertFalse(whole.isEmpty());
    assertEquals(whole, Utf8.read(Utf8.bytes(whole)));
  }

  @Test
  public void specialTokensAreKnown() throws Exception {
    OptionalInt eos = model.specialToken("eos");
    assertTrue(eos.isPresent());
    assertEquals(model.getInt("eos_token_id"), eos.getAsInt());
    assertTrue(model.isEndOfGeneration(eos.getAsInt()));
    assertFalse(model.isEndOfGeneration(100));
    assertFalse(model.specialToken("<|no such token|>").isPresent());
    String spelling = model.tokenText(eos.getAsInt());
    assertArrayEquals(new int[] {eos.getAsInt()}, model.tokenize(spelling, Model.Tokenize.PARSE_SPECIAL));
    assertTrue(model.tokenize(spelling).length > 1);
    assertEquals("", model.detokenize(new int[] {eos.getAsInt()}, Model.Detokenize.SKIP_SPECIAL));
  }

  @Test
  public void aChatBecomesTextAndTokens() throws Exception {
    int id = model.specialToken("bos").getAsInt();
    String bos = model.tokenText(id);
    String chat =
        "{\"messages\": [{\"role\": \"user\", \"content\": \"\u00e9 " + bos + "\"}], \"bos_token\": \"" + bos
            + "\", \"chat_template\": \"{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}\"}";
    assertEquals(bos + "[user] \u00e9 " + bos, model.applyChatTemplate(chat));
    int[] parsed = model.tokenizeChat(chat, Model.Tokenize.PARSE_SPECIAL);
    int[] plain = model.tokenizeChat(chat);
    assertEquals(id, parsed[0]);
    assertEquals(id, parsed[parsed.length - 1]);
    assertEquals(id, plain[0]);
    assertTrue(plain.length > parsed.length);
    TestModel.assertFails(ErrorCode.NOT_FOUND, "chat template", () -> model.applyChatTemplate("[]"));
    assertTrue(model.samplingDefaults().startsWith("{"));
  }

  @Test
  public void theModelTellsAboutItself() throws Exception {
    assertEquals("llama", model.getString("family"));
    assertEquals("", model.getString("quantization"));
    assertTrue(model.getInt("vocab_size") > 100);
    assertTrue(model.metadata().contains("\"vocab_size\""));
    TestModel.assertFails(ErrorCode.NOT_FOUND, "vocab_size", () -> model.getInt("vocab_siz"));
    assertTrue(Gptq.version().matches("\\d+\\.\\d+\\.\\d+"));
    assertTrue(Gptq.versionNumber() >= 1000);
    assertTrue(Gptq.hasFeature("quantize"));
    assertFalse(Gptq.hasFeature("magic"));
    Gptq.checkDevice("cpu");
    TestModel.assertFails(ErrorCode.INVALID_ARGUMENT, "abacus", () -> Gptq.checkDevice("abacus"));
    assertTrue(Gptq.buildInfo().contains(Gptq.version()));
  }
}
