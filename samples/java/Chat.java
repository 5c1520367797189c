// Goes on with what is typed, line by line: Chat MODEL
//
//   java -cp gptq-0.1.0.jar Chat.java MODEL
import io.github.libgptq.Chunk;
import io.github.libgptq.ErrorCode;
import io.github.libgptq.GptqException;
import io.github.libgptq.Model;
import io.github.libgptq.Options;
import io.github.libgptq.Session;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Paths;

public final class Chat {
  public static void main(String[] arguments) throws IOException {
    if (arguments.length != 1) {
      System.err.println("usage: Chat MODEL");
      System.exit(2);
    }
    PrintStream out = new PrintStream(System.out, false, "UTF-8");
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    try (Model model = Model.load(Paths.get(arguments[0])); Session session = model.session()) {
      Options options = new Options().maxTokens(200);
      System.err.print("> ");
      for (String line; (line = in.readLine()) != null; System.err.print("> ")) {
        try {
          for (Chunk chunk : session.generate(line, options)) {
            out.print(chunk.text());
            out.flush();
          }
          if (session.finishReason().equals("context")) {
            System.err.println("(the context is full; starting anew)");
            session.reset();
          }
        } catch (GptqException failure) {
          if (failure.code() != ErrorCode.CONTEXT_FULL) {
            throw failure;
          }
          System.err.println("(" + failure.getMessage() + "; starting anew)");
          session.reset();
        }
        out.println();
      }
    } catch (GptqException failure) {
      System.err.println(failure.getMessage());
      System.exit(1);
    }
  }
}
