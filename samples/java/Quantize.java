// Quantizes a model folder to 4 bits: Quantize MODEL OUT [CALIBRATION.txt]
//
//   java -cp gptq-0.1.0.jar Quantize.java MODEL OUT
import io.github.libgptq.GptqException;
import io.github.libgptq.Options;
import io.github.libgptq.Progress;
import io.github.libgptq.Quantizer;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;

public final class Quantize {
  public static void main(String[] arguments) throws IOException {
    if (arguments.length < 2 || arguments.length > 3) {
      System.err.println("usage: Quantize MODEL OUT [CALIBRATION.txt]");
      System.exit(2);
    }
    Path model = Paths.get(arguments[0]);
    Path output = Paths.get(arguments[1]);
    Options options = new Options().bits(4).calibrationSamples(32).calibrationLength(256);
    try (Quantizer quantizer = Quantizer.create(model, output, options)) {
      if (arguments.length == 3) { // without a text the model writes its own
        quantizer.addCalibrationText(new String(Files.readAllBytes(Paths.get(arguments[2])), StandardCharsets.UTF_8));
      }
      for (Progress progress : quantizer) {
        show(progress);
      }
      System.err.println();
    } catch (GptqException failure) {
      System.err.println(failure.getMessage());
      System.exit(1);
    }
  }

  private static void show(Progress progress) {
    StringBuilder bar = new StringBuilder();
    for (int column = 0; column < 40; column++) {
      bar.append(column < 40 * progress.fraction() ? '#' : '.');
    }
    System.err.printf("\r[%s] %3.0f %%  layer %d of %d  %.0f s left ", bar, 100 * progress.fraction(),
        progress.layer(), progress.layers(), Math.max(0, progress.secondsLeft()));
  }
}
