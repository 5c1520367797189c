// See charsmap.h.
#include "text/charsmap.h"

#include "base/error.h"
#include "base/text.h"

namespace gptq {

namespace {

// A unit of the double array. A node: bits 0 to 7 its label, 8 whether a value follows, 9 to 31 the way to its
// children. A value: bits 0 to 30.
bool has_value(uint32_t unit) { return (unit >> 8 & 1) != 0; }
uint32_t value(uint32_t unit) { return unit & 0x7FFFFFFFu; }
uint32_t label(uint32_t unit) { return unit & 0x800000FFu; }
uint32_t offset(uint32_t unit) { return (unit >> 10) << ((unit & 1u << 9) >> 6); }

uint32_t read_u32(std::string_view data, size_t at) {
  uint32_t out = 0;
  for (size_t i = 0; i < 4; ++i)
    out |= static_cast<uint32_t>(static_cast<unsigned char>(data[at + i])) << (8 * i);
  return out;
}

}  // namespace

Charsmap::Charsmap(std::string_view data, const std::string& where) {
  const std::string place = cat(where, ": precompiled_charsmap");
  if (data.size() < 4) throw Error(Fault::truncated, cat(place, " has ", data.size(), " bytes, wanted 4"));
  const size_t trie = read_u32(data, 0);
  data.remove_prefix(4);
  if (trie > data.size())
    throw Error(Fault::truncated, cat(place, " announces a trie of ", trie, " bytes, found ", data.size()));
  if (trie % 4 != 0 || trie == 0)
    throw Error(Fault::format, cat(place, " has a trie of ", trie, " bytes, wanted a multiple of 4"));
  units_.resize(trie / 4);
  for (size_t i = 0; i < units_.size(); ++i) units_[i] = read_u32(data, 4 * i);
  texts_ = data.substr(trie);
  if (!is_utf8(texts_)) throw Error(Fault::format, cat(place, " has texts that are not UTF-8"));
  texts_ += '\0';
}

bool Charsmap::may_begin(unsigned char byte) const {
  if (units_.empty()) return false;
  const size_t node = offset(units_[0]) ^ byte;
  return node < units_.size() && label(units_[node]) == byte;
}

// Ways that leave the array lead nowhere.
template <class Use>
void Charsmap::for_each_prefix(std::string_view text, const Use& use) const {
  if (units_.empty()) return;
  uint32_t node = offset(units_[0]);
  for (size_t i = 0; i < text.size() && text[i] != '\0'; ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    node ^= byte;
    if (node >= units_.size() || label(units_[node]) != byte) return;
    const uint32_t unit = units_[node];
    node ^= offset(unit);
    if (has_value(unit) && node < units_.size() && !use(i + 1, value(units_[node]))) return;
  }
}

// A text that would begin inside a character does not count.
Charsmap::Match Charsmap::match(size_t length, uint32_t offset) const {
  if (offset >= texts_.size() || (static_cast<unsigned char>(texts_[offset]) & 0xC0) == 0x80) return {0, {}};
  return {length, std::string_view(texts_).substr(offset, texts_.find('\0', offset) - offset)};
}

Charsmap::Match Charsmap::longest(std::string_view text) const {
  Match found = {0, {}};
  for_each_prefix(text, [&](size_t length, uint32_t offset) {
    found = match(length, offset);
    return true;
  });
  return found;
}

Charsmap::Match Charsmap::shortest(std::string_view text) const {
  Match found = {0, {}};
  for_each_prefix(text, [&](size_t length, uint32_t offset) {
    found = match(length, offset);
    return false;
  });
  return found;
}

}  // namespace gptq
