#include "support/test_data.h"

#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace gptq::test {

fs::path source_dir() {
  const char* const moved = std::getenv("GPTQ_SOURCE_DIR");
  return moved != nullptr ? moved : GPTQ_SOURCE_DIR;
}

std::optional<fs::path> extra_data(std::string_view relative) {
  const char* root = std::getenv("GPTQ_TEST_DATA");
  const fs::path path = (root != nullptr ? fs::path(root) : source_dir() / "../shared/data") / relative;
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return std::nullopt;
  return path;
}

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (fs::temp_directory_path() / "gptq-test-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp " + pattern);
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

void write_file(const fs::path& path, std::string_view contents) {
  std::ofstream out(path, std::ios::binary);
  out.write(contents.data(), static_cast<std::streamsize>(contents.size()));
  if (!out.flush()) throw std::runtime_error("can't write " + path.string());
}

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("can't read " + path.string());
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace gptq::test
