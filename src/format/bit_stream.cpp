// Streams of small integers.
#include "format/bit_stream.h"

#include "base/error.h"
#include "base/text.h"

namespace gptq {

std::vector<uint32_t> pack_bits(std::span<const uint8_t> values, int bits) {
  std::vector<uint32_t> words(static_cast<size_t>(word_count(static_cast<int64_t>(values.size()), bits)));
  size_t bit = 0;
  for (uint8_t value : values) {
    const uint64_t placed = uint64_t{value} << (bit % 32);
    words[bit / 32] |= static_cast<uint32_t>(placed);
    if (placed >> 32 != 0) words[bit / 32 + 1] |= static_cast<uint32_t>(placed >> 32);
    bit += static_cast<size_t>(bits);
  }
  return words;
}

std::vector<uint8_t> unpack_bits(std::span<const uint32_t> words, int64_t count, int bits) {
  if (static_cast<int64_t>(words.size()) < word_count(count, bits)) {
    throw Error(Status::internal,
                cat(words.size(), " words are too few for ", count, " values of ", bits, " bits"));
  }
  std::vector<uint8_t> values(static_cast<size_t>(count));
  const uint32_t mask = (1u << bits) - 1;
  size_t bit = 0;
  for (uint8_t& value : values) {
    const size_t word = bit / 32, shift = bit % 32;
    uint64_t pair = words[word];
    if (shift + static_cast<size_t>(bits) > 32) pair |= uint64_t{words[word + 1]} << 32;
    value = static_cast<uint8_t>(static_cast<uint32_t>(pair >> shift) & mask);
    bit += static_cast<size_t>(bits);
  }
  return values;
}

}  // namespace gptq
