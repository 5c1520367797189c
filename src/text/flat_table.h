// Hash tables without pointers: a number to a number, and a short text to an id.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace gptq {

inline uint64_t mix_bits(uint64_t x) {
  x ^= x >> 32;
  x *= 0xD6E8FEB86659FD93u;
  x ^= x >> 32;
  x *= 0xD6E8FEB86659FD93u;
  return x ^ (x >> 32);
}

inline uint64_t hash_text(std::string_view text) {
  const char* p = text.data();
  size_t n = text.size();
  uint64_t hash = 0x9E3779B97F4A7C15u ^ n;
  uint64_t word = 0;
  for (; n >= 8; p += 8, n -= 8) {
    std::memcpy(&word, p, 8);
    hash = mix_bits(hash ^ word);
  }
  word = 0;
  if (n >= 4) {
    uint32_t low, high;
    std::memcpy(&low, p, 4);
    std::memcpy(&high, p + n - 4, 4);
    word = low | static_cast<uint64_t>(high) << 32;
  } else if (n > 0) {
    const auto byte = [&](size_t i) { return static_cast<uint64_t>(static_cast<unsigned char>(p[i])); };
    word = byte(0) | byte(n / 2) << 8 | byte(n - 1) << 16;
  }
  return mix_bits(hash ^ word);
}

/// Two numbers below 2^31 to two numbers below 2^32.
/// Colliding on purpose does not make it slow: a probe longer than chance would ever need is Fault::limit.
class PairTable {
 public:
  struct Value {
    uint32_t rank;
    uint32_t result;
  };

  /// Room for `count` pairs.
  explicit PairTable(size_t count);

  /// The last value set for a pair counts.
  void set(uint32_t left, uint32_t right, Value value);

  /// nullptr when absent.
  const Value* find(uint32_t left, uint32_t right) const {
    const uint64_t wanted = key(left, right);
    for (size_t at = mix_bits(wanted) & mask_;; at = (at + 1) & mask_) {
      if (slots_[at].key == wanted) return &slots_[at].value;
      if (slots_[at].key == kEmpty) return nullptr;
    }
  }

 private:
  static constexpr uint64_t kEmpty = ~uint64_t{0};
  struct Slot {
    uint64_t key = kEmpty;
    Value value{};
  };
  static uint64_t key(uint32_t left, uint32_t right) { return static_cast<uint64_t>(left) << 32 | right; }

  std::vector<Slot> slots_;
  size_t mask_ = 0;
};

/// Texts to ids (>= 0). Owns copies of the texts.
class TextTable {
 public:
  /// Room for `count` texts. Fault::limit if texts collide more than chance would make them.
  explicit TextTable(size_t count = 0);

  /// False, and no change, if the text is already there.
  bool insert(std::string_view text, int32_t id);

  /// -1 when absent.
  int32_t find(std::string_view text) const {
    if (text.size() > longest_) return -1;
    const uint64_t hash = hash_text(text);
    for (size_t at = hash & mask_;; at = (at + 1) & mask_) {
      const Slot& slot = slots_[at];
      if (slot.id < 0) return -1;
      if (slot.tag == tag(hash) && text == view(slot)) return slot.id;
    }
  }

  size_t longest() const { return longest_; }

 private:
  struct Slot {
    uint32_t tag = 0;
    uint32_t length = 0;
    uint64_t offset = 0;
    int32_t id = -1;
  };
  static uint32_t tag(uint64_t hash) { return static_cast<uint32_t>(hash >> 32); }
  std::string_view view(const Slot& slot) const { return {texts_.data() + slot.offset, slot.length}; }

  std::vector<Slot> slots_;
  std::string texts_;
  size_t mask_ = 0;
  size_t longest_ = 0;
};

}  // namespace gptq
