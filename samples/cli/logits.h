// Logits of a whole sequence, in slices that bound the memory.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "handles.h"

namespace cli {

/// Rows of logits per slice: 64 MB of them, at least one.
int64_t slice_rows(int64_t vocab);

/// Processes `ids` after what the session holds, and returns their logits, float [ids][vocab].
Buffer append_and_score(const Session& session, std::span<const int32_t> ids);

/// A safetensors file with the one tensor "logits", f32 [rows][vocab]. It appears under its name when complete.
class LogitsFile {
 public:
  LogitsFile(std::string path, int64_t rows, int64_t vocab);
  LogitsFile(const LogitsFile&) = delete;
  LogitsFile& operator=(const LogitsFile&) = delete;
  ~LogitsFile();
  void append(std::span<const float> values);
  void finish();

 private:
  void write(const void* data, size_t size);
  [[noreturn]] void fail(const std::string& what) const;
  std::string path_;
  std::string temporary_;
  int file_ = -1;
};

}  // namespace cli
