// See byte_token.h.
#include "text/byte_token.h"

#include "base/error.h"
#include "base/text.h"

namespace gptq {

namespace {

constexpr size_t kLongestLookalike = 7;  // "<0x100>"

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

bool is_upper_hex(char c) { return hex_value(c) >= 0 && !(c >= 'a' && c <= 'f'); }

}  // namespace

int byte_of_token(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  const int high = hex_value(token[3]), low = hex_value(token[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

std::array<int32_t, 256> find_byte_tokens(const Vocabulary& vocabulary) {
  std::array<int32_t, 256> ids;
  ids.fill(-1);
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    const std::string_view token = vocabulary.text(id);
    if (token.size() > kLongestLookalike || !token.starts_with("<0x") || !token.ends_with('>')) continue;
    const int byte = byte_of_token(token);
    if (byte < 0) {
      throw Error(Fault::format, cat(vocabulary.name(), ": token ", quoted(token),
                                     " looks like a byte, wanted <0x00> to <0xFF>"));
    }
    if (is_upper_hex(token[3]) && is_upper_hex(token[4])) ids[static_cast<size_t>(byte)] = id;
  }
  return ids;
}

}  // namespace gptq
