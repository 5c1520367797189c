// Logits from a session, and into a file.
#include "logits.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

namespace cli {

static_assert(std::endian::native == std::endian::little, "safetensors data is little-endian");

int64_t slice_rows(int64_t vocab) {
  constexpr int64_t kBytes = 64'000'000;
  return std::max<int64_t>(1, kBytes / (std::max<int64_t>(1, vocab) * static_cast<int64_t>(sizeof(float))));
}

Buffer append_and_score(const Session& session, std::span<const int32_t> ids) {
  check(gptq_session_append_tokens(session.get(), ids.data(), static_cast<int64_t>(ids.size())));
  check(gptq_session_prefill(session.get(), GPTQ_LOGITS_ALL));
  return make<Buffer>(gptq_session_logits, static_cast<const gptq_session*>(session.get()));
}

LogitsFile::LogitsFile(std::string path, int64_t rows, int64_t vocab)
    : path_(std::move(path)), temporary_(path_ + ".tmp-" + std::to_string(getpid())) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path_, ignored)) throw Failure(path_ + ": is a folder, wanted a file");
  file_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (file_ < 0) fail("can't create it");
  const nlohmann::ordered_json header = {
      {"logits", {{"dtype", "F32"}, {"shape", {rows, vocab}}, {"data_offsets", {0, rows * vocab * 4}}}}};
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  write(&length, sizeof length);
  write(text.data(), text.size());
}

LogitsFile::~LogitsFile() {
  if (file_ < 0) return;
  close(file_);
  unlink(temporary_.c_str());
}

void LogitsFile::append(std::span<const float> values) { write(values.data(), values.size_bytes()); }

void LogitsFile::finish() {
  if (fsync(file_) != 0 && errno != EINVAL) fail("can't write");
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) fail("can't rename " + temporary_ + " to it");
  close(file_);
  file_ = -1;
}

void LogitsFile::write(const void* data, size_t size) {
  const auto* at = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t written = ::write(file_, at, size);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("can't write");
    at += written;
    size -= static_cast<size_t>(written);
  }
}

void LogitsFile::fail(const std::string& what) const {
  throw Failure(path_ + ": " + what + ": " + std::strerror(errno));
}

}  // namespace cli
