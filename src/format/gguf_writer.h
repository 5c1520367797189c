// Writing GGUF files: settings first, then tensors in any order.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "format/gguf.h"

namespace gptq {

/// Settings in their order, as bytes of the file.
class GgufSettings {
 public:
  void integer(std::string_view key, uint32_t value);
  void number(std::string_view key, float value);
  void boolean(std::string_view key, bool value);
  void text(std::string_view key, std::string_view value);
  void texts(std::string_view key, std::span<const std::string> values);
  void integers(std::string_view key, std::span<const int32_t> values);
  void numbers(std::string_view key, std::span<const float> values);

  uint64_t count() const { return count_; }
  const std::string& bytes() const { return bytes_; }

 private:
  void begin(std::string_view key, uint32_t type);
  void begin_array(std::string_view key, uint32_t type, size_t count);

  std::string bytes_;
  uint64_t count_ = 0;
};

/// Fixes the place of every tensor, in the order given, and reserves the file at full size.
class GgufWriter {
 public:
  GgufWriter(FileWriter& file, const GgufSettings& settings, std::vector<GgufTensor> tensors);

  /// Rows of a tensor, from row `begin` on; `bytes` are whole rows. Status::internal for what was not announced.
  void write_rows(std::string_view name, int64_t begin, std::span<const std::byte> bytes);
  /// Fails unless every tensor was written as a whole.
  void check_complete() const;

 private:
  struct Place {
    uint64_t offset, bytes, row_bytes, written;
  };
  FileWriter& file_;
  std::unordered_map<std::string, Place> places_;
};

}  // namespace gptq
