// Files and staged folders: what the system refuses is reported, and nothing half-done looks finished.
#include "base/file.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/staged_file.h"
#include "support/test_data.h"

namespace gptq {
namespace {

using test::TemporaryFolder;

template <class Call>
Fault fault_of(const Call& call, std::string* message = nullptr) {
  try {
    call();
    return Fault::none;
  } catch (const Error& error) {
    if (message != nullptr) *message = error.what();
    return error.fault();
  }
}

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& it : fs::directory_iterator(folder)) names.push_back(it.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

TEST(File, ReadsByPosition) {
  const TemporaryFolder folder;
  test::write_file(folder / "a", "0123456789");
  const File file(folder / "a");
  EXPECT_EQ(file.size(), 10u);
  char out[4] = {};
  file.read_at(6, std::as_writable_bytes(std::span(out)));
  EXPECT_EQ(std::string_view(out, 4), "6789");
  EXPECT_EQ(fault_of([&] { file.read_at(7, std::as_writable_bytes(std::span(out))); }), Fault::truncated);
  EXPECT_EQ(fault_of([&] { file.read_at(UINT64_MAX, std::as_writable_bytes(std::span(out))); }),
            Fault::truncated);
  EXPECT_NO_THROW(file.read_at(10, {}));
}

TEST(File, RefusesWhatIsNoRegularFile) {
  const TemporaryFolder folder;
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  for (const fs::path& path : {folder.path(), folder / "pipe", fs::path("/dev/null")}) {
    EXPECT_EQ(fault_of([&] { File{path}; }), Fault::io) << path;
    EXPECT_FALSE(file_exists(path));
  }
  try {
    File{folder / "absent"};
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::not_found);
  }
}

TEST(File, MovesAndNoticesChanges) {
  const TemporaryFolder folder;
  test::write_file(folder / "a", "one");
  test::write_file(folder / "b", "other");
  File file(folder / "a");
  File moved(std::move(file));
  moved.check_unchanged();
  moved = File(folder / "b");
  EXPECT_EQ(moved.size(), 5u);
  test::write_file(folder / "b", "longer than before");
  EXPECT_EQ(fault_of([&] { moved.check_unchanged(); }), Fault::changed);
  const File removed(folder / "a");
  fs::remove(folder / "a");
  EXPECT_EQ(fault_of([&] { removed.check_unchanged(); }), Fault::changed);
}

TEST(Mapping, HoldsTheBytes) {
  const TemporaryFolder folder;
  test::write_file(folder / "a", "mapped");
  test::write_file(folder / "empty", "");
  const Mapping mapping{File(folder / "a")};
  EXPECT_EQ(std::memcmp(mapping.data(), "mapped", mapping.size()), 0);
  EXPECT_EQ(Mapping(File(folder / "empty")).size(), 0u);
}

TEST(ReadTextFile, ChecksTheSizeFirst) {
  const TemporaryFolder folder;
  test::write_file(folder / "a", std::string("te\0xt", 5));
  EXPECT_EQ(read_text_file(folder / "a", 5), std::string("te\0xt", 5));
  EXPECT_EQ(fault_of([&] { read_text_file(folder / "a", 4); }), Fault::limit);
  test::write_file(folder / "huge", "");
  fs::resize_file(folder / "huge", uintmax_t{1} << 40);  // sparse
  EXPECT_EQ(fault_of([&] { read_text_file(folder / "huge", size_t{1} << 30); }), Fault::limit);
}

TEST(FileWriter, WritesAtPositions) {
  const TemporaryFolder folder;
  FileWriter writer(folder / "a");
  writer.reserve(6);
  writer.write_at(3, bytes_of("def"));
  writer.write_at(0, bytes_of("abc"));
  writer.finish();
  EXPECT_EQ(test::read_file(folder / "a"), "abcdef");
  EXPECT_EQ(fault_of([&] { FileWriter{folder / "a"}; }), Fault::exists);
  EXPECT_EQ(fault_of([&] { FileWriter{folder / "no/such"}; }), Fault::io);
}

TEST(FileWriter, SaysWhatAFullDiskLacks) {
  const TemporaryFolder folder;
  FileWriter writer(folder / "a");
  std::string message;
  EXPECT_EQ(fault_of([&] { writer.reserve(uint64_t{1} << 60); }, &message), Fault::io);
  EXPECT_NE(message.find("1152921504606846976 bytes"), std::string::npos) << message;
  EXPECT_EQ(fault_of([&] { writer.reserve(UINT64_MAX); }), Fault::io);
  EXPECT_EQ(fault_of([&] { writer.write_at(UINT64_MAX - 1, bytes_of("abc")); }), Fault::io);
  EXPECT_EQ(fs::file_size(folder / "a"), 0u);
}

/// Runs `body` in a child; its exit code, or 1000 plus the signal that ended it.
template <class Body>
int in_child(const Body& body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) return -1;
  return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

TEST(FileWriter, AFileSizeLimitIsAnErrorAndNoSignal) {
  const TemporaryFolder folder;
  const int result = in_child([&] {
    const rlimit limit{1000, 1000};
    setrlimit(RLIMIT_FSIZE, &limit);
    FileWriter writer(folder / "a");
    const std::string large(2000, 'x');
    std::string message;
    const bool reserved = fault_of([&] { writer.reserve(2000); }, &message) == Fault::io;
    const bool written = fault_of([&] { writer.write_at(0, bytes_of(large)); }) == Fault::io;
    const bool named = message.find("RLIMIT_FSIZE") != std::string::npos;
    const bool fits = fault_of([&] { writer.write_at(0, bytes_of(std::string(1000, 'x'))); }) == Fault::none;
    return reserved && written && named && fits ? 0 : 1;
  });
  EXPECT_EQ(result, 0);
}

TEST(StagedFolder, AppearsAtCommit) {
  const TemporaryFolder folder;
  const fs::path target = folder / "out";
  {
    StagedFolder staged(target / "", Overwrite::no);  // trailing slash
    staged.write_file("config.json", "{}");
    staged.copy_file(staged.path() / "config.json", "copy.json");
    EXPECT_FALSE(fs::exists(target));
    struct stat made;
    ASSERT_EQ(stat(staged.path().c_str(), &made), 0);
    EXPECT_EQ(made.st_mode & 0777, 0700u);
    EXPECT_EQ(staged.path().parent_path(), fs::canonical(folder.path()));
    EXPECT_TRUE(staged.path().filename().string().starts_with(".out.partial-"));
    staged.commit();
  }
  EXPECT_EQ(names_in(folder.path()), std::vector<std::string>{"out"});
  EXPECT_EQ(names_in(target), (std::vector<std::string>{"config.json", "copy.json"}));
  struct stat made;
  ASSERT_EQ(stat(target.c_str(), &made), 0);
  const mode_t mask = umask(0);
  umask(mask);
  EXPECT_EQ(made.st_mode & 0777, 0755u & ~mask);
}

TEST(StagedFolder, WithoutCommitNothingStays) {
  const TemporaryFolder folder;
  { StagedFolder(folder / "out", Overwrite::no).write_file("a", "b"); }
  EXPECT_TRUE(names_in(folder.path()).empty());
}

TEST(StagedFolder, ExistingTargets) {
  const TemporaryFolder folder;
  test::write_file(folder / "file", "");
  fs::create_directory(folder / "empty");
  fs::create_directory(folder / "full");
  test::write_file(folder / "full/old", "old");
  fs::create_symlink("nowhere", folder / "dangling");
  for (auto overwrite : {Overwrite::no, Overwrite::yes}) {
    EXPECT_EQ(fault_of([&] { StagedFolder(folder / "file", overwrite); }), Fault::exists);
    EXPECT_EQ(fault_of([&] { StagedFolder(folder / "dangling", overwrite); }), Fault::exists);
    EXPECT_EQ(fault_of([&] { StagedFolder("/", overwrite); }), Fault::exists);
  }
  EXPECT_EQ(fault_of([&] { StagedFolder(folder / "full", Overwrite::no); }), Fault::exists);

  StagedFolder into_empty(folder / "empty", Overwrite::no);
  into_empty.write_file("new", "new");
  into_empty.commit();
  EXPECT_EQ(names_in(folder / "empty"), std::vector<std::string>{"new"});

  {
    StagedFolder replacing(folder / "full", Overwrite::yes);
    replacing.write_file("new", "new");
    EXPECT_EQ(names_in(folder / "full"), std::vector<std::string>{"old"});
  }
  EXPECT_EQ(names_in(folder / "full"), std::vector<std::string>{"old"});
  StagedFolder replacing(folder / "full", Overwrite::yes);
  replacing.write_file("new", "new");
  replacing.commit();
  EXPECT_EQ(names_in(folder / "full"), std::vector<std::string>{"new"});
  EXPECT_EQ(names_in(folder.path()), (std::vector<std::string>{"dangling", "empty", "file", "full"}));
}

TEST(StagedFolder, ATargetFilledMeanwhileIsNotTouched) {
  const TemporaryFolder folder;
  {
    StagedFolder staged(folder / "out", Overwrite::no);
    staged.write_file("mine", "");
    fs::create_directory(folder / "out");
    test::write_file(folder / "out/theirs", "");
    EXPECT_EQ(fault_of([&] { staged.commit(); }), Fault::exists);
  }
  EXPECT_EQ(names_in(folder / "out"), std::vector<std::string>{"theirs"});
  EXPECT_EQ(names_in(folder.path()), std::vector<std::string>{"out"});
}

TEST(StagedFolder, AnotherFolderInItsPlaceIsNeitherRemovedNorPublished) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "theirs");
  test::write_file(folder / "theirs/a", "theirs");
  for (const bool commit : {true, false}) {
    fs::path hidden;
    {
      StagedFolder staged(folder / "out", Overwrite::no);
      hidden = staged.path();
      staged.write_file("mine", "");
      fs::rename(hidden, folder / "moved");
      fs::create_directory_symlink(folder / "theirs", hidden);
      staged.write_file("more", "");
      staged.copy_file(folder / "theirs/a", "copy");
      EXPECT_EQ(names_in(folder / "moved"), (std::vector<std::string>{"copy", "mine", "more"}));
      if (commit) {
        EXPECT_EQ(fault_of([&] { staged.commit(); }), Fault::changed);
      }
    }
    EXPECT_FALSE(fs::exists(folder / "out"));
    EXPECT_TRUE(names_in(folder / "moved").empty());
    EXPECT_EQ(names_in(folder / "theirs"), std::vector<std::string>{"a"});
    fs::remove(hidden);
    fs::remove(folder / "moved");
  }
}

TEST(StagedFolder, ParentsAndNames) {
  const TemporaryFolder folder;
  std::string message;
  EXPECT_EQ(fault_of([&] { StagedFolder(folder / "absent/out", Overwrite::no); }, &message), Fault::io);
  EXPECT_NE(message.find("absent'"), std::string::npos) << message;
  test::write_file(folder / "file", "");
  EXPECT_EQ(fault_of([&] { StagedFolder(folder / "file/out", Overwrite::no); }), Fault::io);
  EXPECT_EQ(fault_of([&] { StagedFolder("/proc/out", Overwrite::no); }), Fault::io);
  StagedFolder staged(folder / std::string(255, 'n'), Overwrite::no);
  for (std::string_view name : {"../x", "a/b", "", ".", "..", "/x"}) {
    EXPECT_EQ(fault_of([&] { staged.write_file(name, ""); }), Fault::path) << name;
  }
  EXPECT_NO_THROW(staged.commit());
}

TEST(StagedFolder, RelativeTargetsSurviveAChangeOfFolder) {
  const TemporaryFolder folder;
  const int result = in_child([&] {
    if (chdir(folder.path().c_str()) != 0) return 1;
    StagedFolder staged("out", Overwrite::no);
    if (chdir("/") != 0) return 2;
    staged.write_file("a", "b");
    staged.commit();
    return 0;
  });
  EXPECT_EQ(result, 0);
  EXPECT_EQ(names_in(folder / "out"), std::vector<std::string>{"a"});
}

TEST(StagedFolder, AKilledRunLeavesNothingFinishedAndIsCleanedUp) {
  const TemporaryFolder folder;
  EXPECT_EQ(in_child([&] {
              StagedFolder staged(folder / "out", Overwrite::no);
              staged.write_file("config.json", "{}");
              kill(getpid(), SIGKILL);
              return 0;
            }),
            1000 + SIGKILL);
  ASSERT_EQ(names_in(folder.path()).size(), 1u);
  const std::string left = names_in(folder.path())[0];
  EXPECT_TRUE(left.starts_with(".out.partial-")) << left;
  fs::create_directory(folder / (left + "x"));                 // not our pattern
  fs::create_directory(folder / ".other.partial-1-00000000");  // not our target
  StagedFolder living(folder / "out", Overwrite::no);
  EXPECT_FALSE(fs::exists(folder / left));
  { StagedFolder second(folder / "out", Overwrite::no); }
  EXPECT_TRUE(fs::exists(living.path()));  // its maker lives
  EXPECT_EQ(names_in(folder.path()).size(), 3u);
}

TEST(StagedFile, AppearsAtCommit) {
  const TemporaryFolder folder;
  {
    StagedFile staged(folder / "out", Overwrite::no);
    staged.writer().write_at(0, bytes_of("new"));
    EXPECT_FALSE(fs::exists(folder / "out"));
    staged.commit();
  }
  EXPECT_EQ(test::read_file(folder / "out"), "new");
  { StagedFile(folder / "other", Overwrite::no).writer().write_at(0, bytes_of("x")); }
  EXPECT_EQ(names_in(folder.path()), std::vector<std::string>{"out"});
}

TEST(StagedFile, ExistingTargets) {
  const TemporaryFolder folder;
  test::write_file(folder / "file", "old");
  fs::create_directory(folder / "folder");
  EXPECT_EQ(fault_of([&] { StagedFile(folder / "file", Overwrite::no); }), Fault::exists);
  for (auto overwrite : {Overwrite::no, Overwrite::yes}) {
    EXPECT_EQ(fault_of([&] { StagedFile(folder / "folder", overwrite); }), Fault::exists);
    EXPECT_EQ(fault_of([&] { StagedFile(folder / "none/out", overwrite); }), Fault::io);
  }
  StagedFile staged(folder / "file", Overwrite::yes);
  staged.writer().write_at(0, bytes_of("new"));
  EXPECT_EQ(test::read_file(folder / "file"), "old");
  staged.commit();
  EXPECT_EQ(test::read_file(folder / "file"), "new");

  StagedFile late(folder / "late", Overwrite::no);
  test::write_file(folder / "late", "somebody else's");
  EXPECT_EQ(fault_of([&] { late.commit(); }), Fault::exists);
  EXPECT_EQ(test::read_file(folder / "late"), "somebody else's");
}

TEST(StagedFile, AKilledRunIsCleanedUp) {
  const TemporaryFolder folder;
  EXPECT_EQ(in_child([&] {
              StagedFile staged(folder / "out", Overwrite::no);
              kill(getpid(), SIGKILL);
              return 0;
            }),
            1000 + SIGKILL);
  ASSERT_EQ(names_in(folder.path()).size(), 1u);
  const StagedFile living(folder / "out", Overwrite::no);
  { StagedFile second(folder / "out", Overwrite::no); }
  EXPECT_EQ(names_in(folder.path()).size(), 1u);  // its maker lives
}

}  // namespace
}  // namespace gptq
