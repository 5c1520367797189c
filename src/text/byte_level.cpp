// See byte_level.h.
#include "text/byte_level.h"

#include <array>

#include "text/utf8.h"

namespace gptq {

namespace {

// Printable Latin-1 stands for itself; the other 68 bytes are, in order, U+0100 and following.
constexpr bool stands_for_itself(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct Alphabet {
  std::array<uint16_t, 256> chars{};
  std::array<int16_t, 256 + 68> bytes{};

  constexpr Alphabet() {
    for (auto& b : bytes) b = -1;
    int next = 256;
    for (int i = 0; i < 256; ++i) {
      const int c = stands_for_itself(i) ? i : next++;
      chars[static_cast<size_t>(i)] = static_cast<uint16_t>(c);
      bytes[static_cast<size_t>(c)] = static_cast<int16_t>(i);
    }
  }
};

constexpr Alphabet kAlphabet;

}  // namespace

char32_t byte_level_char(uint8_t byte) { return kAlphabet.chars[byte]; }

int byte_level_byte(char32_t c) { return c < kAlphabet.bytes.size() ? kAlphabet.bytes[c] : -1; }

void append_byte_level(std::string& out, std::string_view bytes) {
  for (char c : bytes) append_utf8(out, byte_level_char(static_cast<uint8_t>(c)));
}

bool from_byte_level(std::string_view text, std::string& bytes) {
  for (size_t at = 0; at < text.size();) {
    const int byte = byte_level_byte(next_code_point(text, at));
    if (byte < 0) return false;
    bytes += static_cast<char>(byte);
  }
  return true;
}

}  // namespace gptq
