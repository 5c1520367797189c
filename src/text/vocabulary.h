// The tokens of a tokenizer: spelling to id and back.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/flat_table.h"

namespace gptq {

/// Whether a spelling that is already there may be added, to have its first id.
enum class Respelling : uint8_t { refused, keeps_first };

class Vocabulary {
 public:
  /// Room for `count` tokens; `name` is the file to name in errors.
  Vocabulary(size_t count, std::string name);

  /// Fault::duplicate for a spelling that is already there, Fault::range for an id that is negative, taken or so
  /// large that nearly all ids below it would have no token.
  void add(std::string_view text, int64_t id, Respelling respelling = Respelling::refused);

  const std::string& name() const { return name_; }
  /// One more than the largest id.
  int32_t size() const { return static_cast<int32_t>(spans_.size()); }
  bool has(int64_t id) const {
    return id >= 0 && id < size() && spans_[static_cast<size_t>(id)].offset != kNone;
  }
  /// Empty for an id without a token.
  std::string_view text(int32_t id) const;
  std::optional<int32_t> find(std::string_view text) const {
    const int32_t id = table_.find(text);
    return id < 0 ? std::nullopt : std::optional(id);
  }

 private:
  static constexpr uint32_t kNone = ~uint32_t{0};
  struct Span {
    uint32_t offset = kNone;
    uint32_t length = 0;
  };

  std::string name_;
  size_t largest_size_;
  TextTable table_;
  std::string texts_;
  std::vector<Span> spans_;  // by id
};

}  // namespace gptq
