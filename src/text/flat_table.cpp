// See flat_table.h.
#include "text/flat_table.h"

#include <algorithm>
#include <bit>

#include "base/error.h"

namespace gptq {

namespace {

constexpr int kLongestProbe = 512;

size_t slots_for(size_t count) { return std::bit_ceil(std::max<size_t>(count * 2, 8)); }

void check_probe(int probes) {
  if (probes > kLongestProbe) {
    throw Error(Fault::limit, "tokenizer: its entries collide in the hash table, as if made to");
  }
}

}  // namespace

PairTable::PairTable(size_t count) : slots_(slots_for(count)), mask_(slots_.size() - 1) {}

void PairTable::set(uint32_t left, uint32_t right, Value value) {
  const uint64_t wanted = key(left, right);
  size_t at = mix_bits(wanted) & mask_;
  for (int probes = 0; slots_[at].key != kEmpty && slots_[at].key != wanted; at = (at + 1) & mask_) {
    check_probe(++probes);
  }
  slots_[at] = {wanted, value};
}

TextTable::TextTable(size_t count) : slots_(slots_for(count)), mask_(slots_.size() - 1) {}

bool TextTable::insert(std::string_view text, int32_t id) {
  const uint64_t hash = hash_text(text);
  size_t at = hash & mask_;
  for (int probes = 0; slots_[at].id >= 0; at = (at + 1) & mask_) {
    if (slots_[at].tag == tag(hash) && text == view(slots_[at])) return false;
    check_probe(++probes);
  }
  slots_[at] = {tag(hash), static_cast<uint32_t>(text.size()), texts_.size(), id};
  texts_ += text;
  longest_ = std::max(longest_, text.size());
  return true;
}

}  // namespace gptq
