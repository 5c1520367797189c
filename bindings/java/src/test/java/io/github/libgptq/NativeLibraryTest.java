// Where the native library is found: each place in a process of its own.
package io.github.libgptq;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertTrue;

import java.io.InputStream;
import java.lang.ref.WeakReference;
import java.lang.reflect.Method;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.Before;
import org.junit.Rule;
import org.junit.Test;
import org.junit.rules.TemporaryFolder;

public class NativeLibraryTest {
  @Rule public TemporaryFolder scratch = new TemporaryFolder();
  private Path cache;
  private final Map<String, String> environment = new HashMap<>();

  /** Prints the library that the process has mapped, or the error. */
  public static final class Main {
    public static void main(String[] arguments) throws Exception {
      for (int i = 0; i < 2; i++) { // a failure stays the same
        try {
          Gptq.version();
        } catch (UnsatisfiedLinkError failure) {
          System.out.println(failure.getMessage());
        }
      }
      Files.readAllLines(Paths.get("/proc/self/maps")).stream()
          .filter(line -> line.contains("libgptq") && line.contains(" 00000000 "))
          .map(line -> line.substring(line.indexOf('/')).replace(" (deleted)", "")) // replaced by an equal one
          .sorted()
          .forEach(System.out::println);
    }
  }

  /** Does what two web applications do, each with a class loader of its own, that are then dropped without a close. */
  public static final class Loaders {
    private static Method method(ClassLoader loader, String type, String name, Class<?>... parameters) throws Exception {
      return Class.forName("io.github.libgptq." + type, true, loader).getMethod(name, parameters);
    }

    private static URLClassLoader loader() throws Exception {
      List<URL> urls = new ArrayList<>();
      for (String entry : System.getProperty("java.class.path").split(":")) {
        urls.add(Paths.get(entry).toUri().toURL());
      }
      URLClassLoader loader =
          new URLClassLoader(urls.toArray(new URL[0]), ClassLoader.getSystemClassLoader().getParent());
      System.out.println(method(loader, "Gptq", "version").invoke(null));
      Object model = method(loader, "Model", "load", Path.class).invoke(null, TestModel.folder());
      System.out.println(method(loader, "Model", "getInt", String.class).invoke(model, "n_layer"));
      return loader;
    }

    private static List<WeakReference<ClassLoader>> two() throws Exception {
      List<ClassLoader> loaders = Arrays.asList(loader(), loader());
      return loaders.stream().map(WeakReference::new).collect(Collectors.toList());
    }

    public static void main(String[] arguments) throws Exception {
      List<WeakReference<ClassLoader>> gone = two();
      long deadline = System.nanoTime() + 20_000_000_000L;
      while (gone.stream().anyMatch(loader -> loader.get() != null) && System.nanoTime() < deadline) {
        System.gc();
        Thread.sleep(20);
      }
      Thread.sleep(200); // for what is unloaded after them
      long mapped = Files.readAllLines(Paths.get("/proc/self/maps")).stream()
          .filter(line -> line.contains("libgptq.so.0") && line.contains(" 00000000 ")).count();
      System.out.println(gone.stream().filter(loader -> loader.get() != null).count() + " left, " + mapped + " mapped");
      loader();
    }
  }

  @Before
  public void environment() {
    cache = scratch.getRoot().toPath().resolve("cache");
    environment.put("XDG_CACHE_HOME", cache.toString());
  }

  private List<Path> cached() throws Exception {
    try (Stream<Path> files = Files.walk(cache)) {
      return files.filter(Files::isRegularFile).sorted().collect(Collectors.toList());
    }
  }

  /** An empty folder for the property stands for its absence, since this process may have it set. */
  private Process start(String... options) throws Exception {
    return start(Main.class, options);
  }

  private Process start(Class<?> main, String... options) throws Exception {
    String kept = System.clearProperty(NativeLibrary.PROPERTY);
    try {
      return Jvm.start(environment, main, options);
    } finally {
      if (kept != null) {
        System.setProperty(NativeLibrary.PROPERTY, kept);
      }
    }
  }

  private String run(String... options) throws Exception {
    return Jvm.output(start(options));
  }

  private Path unpacked() throws Exception {
    Path folder = scratch.newFolder("unpacked").toPath();
    for (String name : new String[] {"libgptq-java.so", "libgptq.so.0"}) {
      try (InputStream in = Gptq.class.getResourceAsStream("native/linux-" + machine() + "/" + name)) {
        Files.copy(in, folder.resolve(name));
      }
    }
    return folder;
  }

  private static String machine() {
    return System.getProperty("os.arch").replace("amd64", "x86_64");
  }

  @Test
  public void theJarsAreTakenOutOnce() throws Exception {
    String output = run();
    List<Path> files = cached();
    assertEquals(files.toString(), 2, files.size());
    assertEquals(files.stream().map(file -> file + "\n").collect(Collectors.joining()), output);
    assertEquals("rwx------", PosixFilePermissions.toString(Files.getPosixFilePermissions(files.get(0).getParent())));
    assertEquals("rw-------", PosixFilePermissions.toString(Files.getPosixFilePermissions(files.get(0))));
    assertTrue(files.get(0).getParent().getFileName().toString().matches(Gptq.version() + "-[0-9a-f]{16}"));
    Object inode = Files.getAttribute(files.get(0), "unix:ino");
    assertEquals(output, run());
    assertEquals(inode, Files.getAttribute(files.get(0), "unix:ino"));
  }

  @Test
  public void aFileInTheCacheThatWasChangedIsReplaced() throws Exception {
    String output = run();
    for (Path file : cached()) {
      byte[] bytes = Files.readAllBytes(file);
      Files.write(file, "not a library".getBytes(StandardCharsets.UTF_8));
      assertEquals(output, run());
      assertEquals(bytes.length, Files.size(file));
    }
    Path link = cached().get(0);
    Path elsewhere = scratch.getRoot().toPath().resolve("elsewhere");
    Files.move(link, elsewhere);
    Files.createSymbolicLink(link, elsewhere);
    assertEquals(output, run());
    assertFalse(Files.isSymbolicLink(link));
  }

  @Test
  public void processesMayDoItAtOnce() throws Exception {
    List<Process> processes = new ArrayList<>();
    for (int i = 0; i < 5; i++) {
      processes.add(start());
    }
    List<String> outputs = new ArrayList<>();
    for (Process process : processes) {
      outputs.add(Jvm.output(process));
    }
    assertEquals(outputs.toString(), 1, outputs.stream().distinct().count());
    assertEquals(2, cached().size());
  }

  @Test
  public void aFolderThatOthersMayWriteToIsRefused() throws Exception {
    run();
    Path folder = cached().get(0).getParent();
    Files.setPosixFilePermissions(folder, PosixFilePermissions.fromString("rwxrwxrwx"));
    String output = run();
    assertTrue(output, output.contains(folder + " is another user's, or may be written by others: rwxrwxrwx"));
    assertFalse(output, output.contains("\n/"));
  }

  @Test
  public void aUserWithoutAnEntryHasTheHomeOfTheEnvironment() throws Exception {
    Path home = scratch.getRoot().toPath().resolve("home");
    cache = home.resolve(".cache");
    environment.put("XDG_CACHE_HOME", null);
    environment.put("HOME", home.toString());
    run("-Duser.home=?");
    assertEquals(2, cached().size());
    environment.put("HOME", null);
    String output = run("-Duser.home=?");
    assertTrue(output, output.contains("has no home folder, and XDG_CACHE_HOME names no folder"));
    assertFalse(Files.exists(Paths.get("?")));
  }

  private void classLoadersHaveItEach(String... options) throws Exception {
    String[] lines = Jvm.output(start(Loaders.class, options)).split("\n");
    String text = String.join("\n", lines);
    assertEquals(text, 7, lines.length);
    for (int i : new int[] {2, 5}) {
      assertEquals(text, lines[0], lines[i]);
      assertEquals(text, lines[1], lines[i + 1]);
    }
    assertEquals(text, "0 left, 1 mapped", lines[4]);
  }

  @Test
  public void classLoadersMayEachHaveTheJar() throws Exception {
    classLoadersHaveItEach();
    assertEquals(cached().toString(), 2, cached().size());
  }

  @Test
  public void classLoadersMayEachHaveAFolder() throws Exception {
    Path folder = unpacked();
    Files.setPosixFilePermissions(folder, PosixFilePermissions.fromString("r-xr-xr-x"));
    try {
      classLoadersHaveItEach("-D" + NativeLibrary.PROPERTY + "=" + folder);
    } finally {
      Files.setPosixFilePermissions(folder, PosixFilePermissions.fromString("rwxr-xr-x"));
    }
    assertFalse(Files.exists(cache));
  }

  @Test
  public void thePropertyNamesAFolder() throws Exception {
    Path folder = unpacked();
    String output = run("-D" + NativeLibrary.PROPERTY + "=" + folder);
    assertEquals(folder.resolve("libgptq-java.so") + "\n" + folder.resolve("libgptq.so.0") + "\n", output);
    assertFalse(Files.exists(cache));
  }

  @Test
  public void javaLibraryPathIsSearched() throws Exception {
    environment.put("LD_LIBRARY_PATH", null);
    Path folder = unpacked();
    String output = run("-Djava.library.path=" + folder);
    assertEquals(folder.resolve("libgptq-java.so") + "\n" + folder.resolve("libgptq.so.0") + "\n", output);
    assertFalse(Files.exists(cache));
  }

  @Test
  public void aFailureNamesAllThatWasTried() throws Exception {
    String output = run("-D" + NativeLibrary.PROPERTY + "=/no/such/folder");
    assertTrue(output, output.contains("gptq.library.path = /no/such/folder"));
    assertTrue(output, output.contains("/no/such/folder/libgptq-java.so"));
    Files.write(cache, Collections.singletonList("a file, no folder"));
    output = run("-Djava.library.path=/no/such/path");
    String[] lines = output.split("\n");
    assertEquals(output, 2, lines.length);
    assertEquals(lines[0], lines[1]);
    assertTrue(output, output.contains("gptq.library.path: not set"));
    assertTrue(output, output.contains("no gptq-java in java.library.path: /no/such/path"));
    assertTrue(output, output.contains("can't make the folder " + cache));
  }
}
