// Texts that end a generation, found in a text that comes piece by piece.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gptq {

class StopStrings {
 public:
  /// None.
  StopStrings() = default;
  /// Each valid UTF-8 and not empty.
  explicit StopStrings(std::vector<std::string> strings) : strings_(std::move(strings)) {}

  enum class More : uint8_t { may_come, ends };
  struct Seen {
    std::string text;    // that is known not to be part of a stop string
    std::string held{};  // that may be the beginning of one
    /// One came: text is what was before it, and the rest of no use. Of several, that which was complete first, and of those
    /// the longest: however the text is cut.
    bool stopped = false;
  };
  /// What is there, with what was held before, once `piece` has come; where no more does, nothing is held.
  Seen look(std::string_view piece, More more) const;
  void keep(Seen&& seen) noexcept { held_ = std::move(seen.held); }

 private:
  std::vector<std::string> strings_;
  std::string held_;
};

}  // namespace gptq
