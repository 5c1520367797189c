// Runs all tests without a build tool; prints "ok NAME", "FAIL NAME" or "skip NAME" for each, with an optional prefix.
package io.github.libgptq;

import java.util.HashSet;
import java.util.Set;
import org.junit.runner.Description;
import org.junit.runner.JUnitCore;
import org.junit.runner.notification.Failure;
import org.junit.runner.notification.RunListener;

public final class TestLines extends RunListener {
  private final String prefix;
  private final Set<Description> told = new HashSet<>();

  private TestLines(String prefix) {
    this.prefix = prefix;
  }

  private void tell(String word, Description test) {
    told.add(test);
    System.out.println(word + " " + prefix + test.getTestClass().getSimpleName() + "." + test.getMethodName());
  }

  @Override
  public void testFailure(Failure failure) {
    tell("FAIL", failure.getDescription());
    System.out.println(failure.getTrimmedTrace().replaceAll("(?m)^", "     "));
  }

  @Override
  public void testAssumptionFailure(Failure failure) {
    tell("skip", failure.getDescription());
  }

  @Override
  public void testFinished(Description test) {
    if (!told.contains(test)) {
      tell("ok  ", test);
    }
  }

  public static void main(String[] arguments) {
    JUnitCore core = new JUnitCore();
    core.addListener(new TestLines(arguments.length > 0 ? arguments[0] : ""));
    boolean passed = core.run(GenerationTest.class, NextAllTest.class, TextTest.class, ErrorTest.class, CancelTest.class,
        LifetimeTest.class, StormTest.class, QuantizerTest.class, NativeLibraryTest.class).wasSuccessful();
    System.exit(passed ? 0 : 1);
  }
}
