// Files without a name: what is written comes back, and nothing stays in the folder.
#include "base/temporary_file.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <string>

#include "base/error.h"
#include "support/test_data.h"

namespace gptq {
namespace {

using test::TemporaryFolder;

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string read(const TemporaryFile& file, uint64_t offset, size_t bytes) {
  std::string text(bytes, '?');
  file.read_at(offset, std::as_writable_bytes(std::span(text)));
  return text;
}

TEST(TemporaryFile, GivesBackWhatWasWrittenAndLeavesNoName) {
  const TemporaryFolder folder;
  const WorkFolder work(folder / "out", Overwrite::no);
  TemporaryFile file(work, "part", 100);
  EXPECT_FALSE(fs::exists(work.path() / "part"));
  EXPECT_EQ(file.size(), 100u);
  EXPECT_EQ(read(file, 90, 10), std::string(10, '\0'));
  file.write_at(95, bytes_of("12345"));
  file.write_at(0, bytes_of("67"));
  EXPECT_EQ(read(file, 93, 7), std::string("\0\0", 2) + "12345");
  EXPECT_EQ(read(file, 0, 3), std::string("67\0", 3));
}

TEST(TemporaryFile, TakesThePlaceOfOneLeftThere) {
  const TemporaryFolder folder;
  const WorkFolder work(folder / "out", Overwrite::no);
  test::write_file(work.path() / "part", "left by a process that was killed");
  const TemporaryFile file(work, "part", 4);
  EXPECT_FALSE(fs::exists(work.path() / "part"));
  EXPECT_EQ(read(file, 0, 4), std::string(4, '\0'));
  const TemporaryFile another(work, "part", 4);  // while the first is in use
}

TEST(TemporaryFile, RefusesWhatLiesBeyondItsEnd) {
  const TemporaryFolder folder;
  const WorkFolder work(folder / "out", Overwrite::no);
  TemporaryFile file(work, "part", 8);
  EXPECT_THROW(read(file, 5, 4), Error);
  EXPECT_THROW(read(file, UINT64_MAX, 4), Error);
  EXPECT_THROW(file.write_at(8, bytes_of("1")), Error);
  EXPECT_EQ(read(file, 0, 8), std::string(8, '\0'));
}

TEST(TemporaryFile, IsMadeInTheOpenFolderWhateverHasItsName) {
  const TemporaryFolder folder;
  const WorkFolder work(folder / "out", Overwrite::no);
  fs::rename(work.path(), folder / "moved");
  fs::create_directory(work.path());
  test::write_file(work.path() / "part", "of somebody else");
  const TemporaryFile file(work, "part", 4);
  EXPECT_EQ(test::read_file(work.path() / "part"), "of somebody else");
}

TEST(TemporaryFile, SaysWhatTheSystemRefuses) {
  const TemporaryFolder folder;
  const WorkFolder work(folder / "out", Overwrite::no);
  const auto message_of = [&](uint64_t bytes) -> std::string {
    try {
      TemporaryFile(work, "part", bytes);
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::io);
      return error.what();
    }
    return "";
  };
  const std::string full = message_of(uint64_t{1} << 60);
  EXPECT_NE(full.find(std::to_string(uint64_t{1} << 60)), std::string::npos) << full;
  EXPECT_NE(full.find("part'"), std::string::npos) << full;
  EXPECT_FALSE(fs::exists(work.path() / "part"));
  fs::remove_all(work.path());
  EXPECT_NE(message_of(8).find(".out.unfinished/part': cannot create"), std::string::npos) << message_of(8);
}

}  // namespace
}  // namespace gptq
