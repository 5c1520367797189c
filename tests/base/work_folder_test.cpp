// The hidden folder beside an output: what stays in it, what does not, and who may use it.
#include "base/work_folder.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "base/error.h"
#include "base/folder.h"
#include "support/test_data.h"

namespace gptq {
namespace {

using test::TemporaryFolder;

fs::path work_of(const TemporaryFolder& folder) { return folder / ".out.unfinished"; }

TEST(WorkFolder, StaysOnlyIfKept) {
  const TemporaryFolder folder;
  {
    WorkFolder work(folder / "out", Overwrite::no);
    EXPECT_EQ(work.path(), fs::canonical(work_of(folder)));
    work.replace_file("a", "1");
    EXPECT_EQ(test::read_file(work.path() / "process"), std::to_string(getpid()) + "\n");
    struct stat made;
    ASSERT_EQ(stat(work.path().c_str(), &made), 0);
    EXPECT_EQ(made.st_mode & 0777, 0700u);
  }
  EXPECT_TRUE(list_folder(folder.path()).empty());
  {
    WorkFolder work(folder / "out", Overwrite::no);
    work.replace_file("a", "1");
    work.replace_file("a", "two");
    work.keep();
  }
  EXPECT_EQ(list_folder(work_of(folder)), std::vector<std::string>{"a"});
  {
    WorkFolder work(folder / "out", Overwrite::no);
    EXPECT_EQ(test::read_file(work.path() / "a"), "two");
    work.keep();
  }
  fs::create_directories(work_of(folder) / "b/c");
  WorkFolder next(folder / "out", Overwrite::no);
  next.remove_file("a");
  next.remove_file("b");  // a folder, with all in it
  next.remove_file("none");
  EXPECT_EQ(list_folder(next.path()), std::vector<std::string>{"process"});
}

TEST(WorkFolder, FilesAreThoseOfTheOpenFolderWhateverHasItsName) {
  const TemporaryFolder folder;
  WorkFolder work(folder / "out", Overwrite::no);
  work.replace_file("a", "mine");
  fs::rename(work.path(), folder / "moved");
  fs::create_directory(work.path());
  test::write_file(work.path() / "a", "theirs");
  test::write_file(work.path() / "b", "theirs");
  EXPECT_EQ(read_text_file(*work.open_file("a"), 100), "mine");
  EXPECT_FALSE(work.open_file("b"));
  work.replace_file("a", "new");
  EXPECT_EQ(test::read_file(work.path() / "a"), "theirs");
  EXPECT_EQ(read_text_file(*work.open_file("a"), 3), "new");
}

TEST(WorkFolder, OneAtATime) {
  const TemporaryFolder folder;
  const WorkFolder first(folder / "out", Overwrite::no);
  const WorkFolder other(folder / "other", Overwrite::no);
  try {
    const WorkFolder second(folder / "out", Overwrite::no);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::busy);
    EXPECT_NE(std::string(error.what()).find(std::to_string(getpid())), std::string::npos) << error.what();
  }
  EXPECT_TRUE(fs::exists(first.path() / "process"));
}

TEST(WorkFolder, TheLockOfAKilledProcessHoldsNobodyUp) {
  const TemporaryFolder folder;
  const pid_t child = fork();
  if (child == 0) {
    WorkFolder work(folder / "out", Overwrite::no);
    work.replace_file("a", "1");
    kill(getpid(), SIGKILL);
  }
  waitpid(child, nullptr, 0);
  ASSERT_EQ(test::read_file(work_of(folder) / "process"), std::to_string(child) + "\n");
  const WorkFolder next(folder / "out", Overwrite::no);
  EXPECT_EQ(test::read_file(next.path() / "a"), "1");
}

TEST(WorkFolder, WhatCanNotBeOne) {
  const TemporaryFolder folder;
  const auto refused = [&] {
    try {
      const WorkFolder work(folder / "out", Overwrite::no);
      return Fault::none;
    } catch (const Error& error) {
      return error.fault();
    }
  };
  test::write_file(work_of(folder), "a file");
  EXPECT_EQ(refused(), Fault::io);
  fs::remove(work_of(folder));
  fs::create_directory(folder / "elsewhere");
  fs::create_directory_symlink(folder / "elsewhere", work_of(folder));
  EXPECT_EQ(refused(), Fault::io);
  fs::remove(work_of(folder));
  fs::create_directory(folder / "out");
  test::write_file(folder / "out/there", "");
  EXPECT_EQ(refused(), Fault::exists);
  if (geteuid() != 0) return;
  fs::remove_all(folder / "out");
  fs::create_directory(work_of(folder));
  ASSERT_EQ(chown(work_of(folder).c_str(), 65534, 65534), 0);
  EXPECT_EQ(refused(), Fault::exists);  // of another user
}

TEST(WorkFolder, AnotherFolderInItsPlaceIsNotTouched) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "theirs/output/deep");
  for (const char* name : {"a", "a.new", "process", "output/deep/b"})
    test::write_file(folder / "theirs" / name, "theirs");
  for (const bool link : {true, false}) {
    {
      WorkFolder work(folder / "out", Overwrite::no);
      StagedFolder staged(folder / "out", Overwrite::no, work);
      staged.write_file("b", "mine");
      work.replace_file("a", "mine");
      fs::rename(work_of(folder), folder / "moved");
      if (link) fs::create_directory_symlink(folder / "theirs", work_of(folder));
      if (!link) fs::rename(folder / "theirs", work_of(folder));
      work.replace_file("a", "again");
      work.create_file("c").finish();
      work.remove_file("output");
      EXPECT_EQ(list_folder(folder / "moved"), (std::vector<std::string>{"a", "c", "process"}));
      EXPECT_EQ(test::read_file(folder / "moved/a"), "again");
    }
    EXPECT_TRUE(list_folder(folder / "moved").empty());
    fs::remove(folder / "moved");
    if (link) fs::remove(work_of(folder));
    if (!link) fs::rename(work_of(folder), folder / "theirs");
    EXPECT_EQ(list_folder(folder / "theirs"), (std::vector<std::string>{"a", "a.new", "output", "process"}));
    for (const char* name : {"a", "a.new", "process", "output/deep/b"})
      EXPECT_EQ(test::read_file(folder / "theirs" / name), "theirs");
  }
}

}  // namespace
}  // namespace gptq
