// Where tests find what they read, and where they may write.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace gptq::test {

namespace fs = std::filesystem;

/// The root of the source tree: samples/model and committed fixtures are below it.
fs::path source_dir();

/// A file or folder of the extra test data ($GPTQ_TEST_DATA, else ../shared/data); empty when it is not there.
std::optional<fs::path> extra_data(std::string_view relative);

/// A new folder that is removed when the object goes.
class TemporaryFolder {
 public:
  TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder();
  const fs::path& path() const { return path_; }
  fs::path operator/(std::string_view name) const { return path_ / name; }

 private:
  fs::path path_;
};

void write_file(const fs::path& path, std::string_view contents);
std::string read_file(const fs::path& path);

}  // namespace gptq::test

/// Skips the test, saying which data it lacks; otherwise declares `name` as its path.
#define GPTQ_EXTRA_DATA(name, relative)                                                  \
  const auto name##_found = ::gptq::test::extra_data(relative);                          \
  if (!name##_found) GTEST_SKIP() << "needs " << (relative) << " below $GPTQ_TEST_DATA"; \
  const ::gptq::test::fs::path name = *name##_found
