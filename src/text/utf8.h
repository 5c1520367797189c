// UTF-8: reading code points of valid text, and turning any bytes into valid text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace gptq {

/// Bytes of the sequence that starts with `lead`, the first byte of valid UTF-8.
inline size_t utf8_sequence_length(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

/// The code point at `position` of valid UTF-8; moves `position` behind it.
char32_t next_code_point(std::string_view text, size_t& position);

/// The code point that ends just before `end` (> 0) of valid UTF-8; moves `end` in front of it.
char32_t previous_code_point(std::string_view text, size_t& end);

void append_utf8(std::string& out, char32_t code_point);

/// Makes valid UTF-8 of a stream of bytes: each ill-formed part, as long as it could have begun a character,
/// becomes one U+FFFD (the practice of WHATWG and of Rust).
class Utf8Repairer {
 public:
  /// Appends to `out` what is complete.
  void push(std::string_view bytes, std::string& out);
  /// Appends U+FFFD if an incomplete sequence is left.
  void finish(std::string& out);

 private:
  std::string pending_;  // the start of a sequence, at most 3 bytes
};

std::string repaired_utf8(std::string_view bytes);

}  // namespace gptq
