// The native libraries in the jar, taken out to a folder of the user's own: $XDG_CACHE_HOME (or ~/.cache)
// /gptq/VERSION-HASH. Each file is checked against the jar's list before every use, and replaced by a rename, so that any
// number of processes may do this at once.
package io.github.libgptq;

import java.io.BufferedReader;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.DigestInputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.stream.Collectors;

final class NativeCache {
  private NativeCache() {}

  /** The folder, with every file in it as in the jar. */
  static Path extract() throws IOException {
    String source = "native/" + platform() + "/";
    List<String> list; // lines of sha256sum: hash, two spaces, name
    try (InputStream in = open(source + "natives.sha256")) {
      list = new BufferedReader(new InputStreamReader(in, StandardCharsets.UTF_8)).lines().collect(Collectors.toList());
    }
    Path folder = folder(hex(sha256().digest(Utf8.bytes(String.join("\n", list)))));
    for (String line : list) {
      String hash = line.substring(0, 64);
      String name = line.substring(66);
      if (!isIntact(folder.resolve(name), hash)) {
        replace(folder.resolve(name), hash, source + name);
      }
    }
    return folder;
  }

  private static String platform() {
    String arch = System.getProperty("os.arch");
    return System.getProperty("os.name").toLowerCase(Locale.ROOT) + "-"
        + (arch.equals("amd64") ? "x86_64" : arch);
  }

  private static InputStream open(String name) throws IOException {
    InputStream in = NativeCache.class.getResourceAsStream(name);
    if (in == null) {
      throw new FileNotFoundException("there is no /io/github/libgptq/" + name);
    }
    return in;
  }

  private static Path cache() throws IOException {
    String given = System.getenv("XDG_CACHE_HOME");
    if (given != null && given.startsWith("/")) {
      return Paths.get(given);
    }
    // the property is "?" for a user that the system has no entry of, as in containers
    for (String home : new String[] {System.getProperty("user.home"), System.getenv("HOME")}) {
      if (home != null && home.startsWith("/")) {
        return Paths.get(home, ".cache");
      }
    }
    throw new IOException("the user has no home folder, and XDG_CACHE_HOME names no folder instead");
  }

  /** Made if it is not there; refused where another user could write to it. */
  private static Path folder(String hash) throws IOException {
    Path own = cache().resolve("gptq");
    Path folder = own.resolve(GptqApiConstants.GPTQ_VERSION_MAJOR + "." + GptqApiConstants.GPTQ_VERSION_MINOR + "."
        + GptqApiConstants.GPTQ_VERSION_PATCH + "-" + hash.substring(0, 16));
    try {
      Files.createDirectories(folder,
          PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
    } catch (IOException failure) {
      throw new IOException("can't make the folder " + folder + ": " + failure + " (XDG_CACHE_HOME names another place)",
          failure);
    }
    for (Path path : new Path[] {own, folder}) {
      if (!isPrivate(path)) {
        throw new IOException(path + " is another user's, or may be written by others: "
            + PosixFilePermissions.toString(Files.getPosixFilePermissions(path, LinkOption.NOFOLLOW_LINKS)));
      }
    }
    return folder;
  }

  /** Of this process' user, written by nobody else, and no link. */
  private static boolean isPrivate(Path path) throws IOException {
    Set<PosixFilePermission> permissions = Files.getPosixFilePermissions(path, LinkOption.NOFOLLOW_LINKS);
    return !Files.isSymbolicLink(path)
        && Files.getAttribute(path, "unix:uid", LinkOption.NOFOLLOW_LINKS)
            .equals(Files.getAttribute(Paths.get("/proc/self"), "unix:uid"))
        && !permissions.contains(PosixFilePermission.GROUP_WRITE)
        && !permissions.contains(PosixFilePermission.OTHERS_WRITE);
  }

  private static boolean isIntact(Path file, String hash) throws IOException {
    if (!Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS) || !isPrivate(file)) {
      return false;
    }
    MessageDigest digest = sha256();
    digest.update(Files.readAllBytes(file));
    return hex(digest.digest()).equals(hash);
  }

  private static void replace(Path file, String hash, String resource) throws IOException {
    Path temporary = Files.createTempFile(file.getParent(), file.getFileName().toString(), ".tmp");
    try {
      MessageDigest digest = sha256();
      try (InputStream in = new DigestInputStream(open(resource), digest);
          OutputStream out = Files.newOutputStream(temporary)) {
        byte[] part = new byte[1 << 16];
        for (int count; (count = in.read(part)) > 0; ) {
          out.write(part, 0, count);
        }
      }
      String found = hex(digest.digest());
      if (!found.equals(hash)) {
        throw new IOException(resource + " in the jar has SHA-256 " + found + ", wanted " + hash);
      }
      Files.move(temporary, file, StandardCopyOption.ATOMIC_MOVE);
    } finally {
      Files.deleteIfExists(temporary);
    }
  }

  private static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException absent) {
      throw new UncheckedIOException(new IOException("this Java has no SHA-256", absent));
    }
  }

  private static String hex(byte[] bytes) {
    StringBuilder text = new StringBuilder();
    for (byte value : bytes) {
      text.append(String.format("%02x", value));
    }
    return text.toString();
  }
}
