// Finds and loads the native half of the binding, once.
package io.github.libgptq;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.List;

/**
 * Where it looks, in this order: the folder that the system property gptq.library.path names, and then nowhere else;
 * java.library.path; the jar.
 */
final class NativeLibrary {
  static final String PROPERTY = "gptq.library.path";

  private static volatile boolean loaded;

  private NativeLibrary() {}

  static void load() {
    if (!loaded) {
      loadOnce();
    }
  }

  private static synchronized void loadOnce() {
    if (loaded) {
      return;
    }
    List<String> tried = new ArrayList<>();
    String folder = System.getProperty(PROPERTY);
    boolean interrupted = Thread.interrupted(); // it would close the files
    try {
      loaded = folder != null ? fromFolder(folder, tried) : fromLibraryPath(tried) || fromJar(tried);
    } finally {
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
    if (!loaded) {
      throw new UnsatisfiedLinkError("the native library of gptq was not found. Tried: " + String.join("; ", tried));
    }
  }

  private static boolean fromFolder(String folder, List<String> tried) {
    try {
      loadFrom(Paths.get(folder).toAbsolutePath());
      return true;
    } catch (IOException | RuntimeException | UnsatisfiedLinkError failure) {
      tried.add("the system property " + PROPERTY + " = " + folder + ": " + failure);
      return false;
    }
  }

  private static boolean fromLibraryPath(List<String> tried) {
    try {
      System.loadLibrary("gptq-java");
      return true;
    } catch (UnsatisfiedLinkError failure) {
      tried.add("the system property " + PROPERTY + ": not set");
      tried.add(failure.getMessage());
      return false;
    }
  }

  private static boolean fromJar(List<String> tried) {
    try {
      loadFrom(NativeCache.extract());
      return true;
    } catch (IOException | RuntimeException | UnsatisfiedLinkError failure) {
      tried.add("the libraries in the jar: " + failure);
      return false;
    }
  }

  private static void loadFrom(Path folder) throws IOException {
    Path library = folder.resolve("libgptq.so.0");
    if (Files.exists(library)) {
      loadUnlessTaken(library); // before LD_LIBRARY_PATH can name another
    }
    Path glue = folder.resolve("libgptq-java.so");
    if (!loadUnlessTaken(glue)) {
      loadCopy(glue);
    }
  }

  /** False when another class loader of this process has the file: the JVM gives each to one of them. */
  private static boolean loadUnlessTaken(Path file) {
    try {
      System.load(file.toString());
      return true;
    } catch (UnsatisfiedLinkError failure) {
      if (String.valueOf(failure.getMessage()).contains("already loaded in another classloader")) {
        return false;
      }
      throw failure;
    }
  }

  /** Loads the file under a name of its own, which is gone afterwards. What it needs is in the process already. */
  private static void loadCopy(Path file) throws IOException {
    Path folder = file.getParent();
    Path copy = Files.isWritable(folder) ? Files.createTempFile(folder, "libgptq-java", ".so")
        : Files.createTempFile("libgptq-java", ".so");
    try {
      Files.write(copy, Files.readAllBytes(file));
      System.load(copy.toString());
    } finally {
      Files.delete(copy);
    }
  }
}
