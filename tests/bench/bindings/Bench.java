// The loop that a Java program writes: Bench MODEL TOKENS, as bench.c
import io.github.libgptq.*;
import java.nio.file.Paths;
import java.util.Locale;

public class Bench {
  static int generate(Session session, long tokens) {
    session.reset();
    int characters = 0;
    for (Chunk chunk : session.generate("Once upon a time", new Options().ignoreEos(true).maxTokens(tokens)))
      characters += chunk.text().length();
    if (characters == 0) throw new IllegalStateException("no text");
    return characters;
  }

  public static void main(String[] args) {
    long tokens = Long.parseLong(args[1]);
    try (Model model = Model.load(Paths.get(args[0]), new Options().threads(1)); Session session = model.session()) {
      generate(session, tokens);
      long start = System.nanoTime();
      generate(session, tokens);
      double seconds = (System.nanoTime() - start) * 1e-9;
      double inside = session.stat("prefill_seconds") + session.stat("decode_seconds");
      System.out.printf(Locale.ROOT, "%.2f %.3f%n", tokens / seconds, 100 * (1 - inside / seconds));
    }
  }
}
