#include "base/hash64.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace gptq {
namespace {

constexpr uint64_t kPrime1 = 0x9E3779B185EBCA87, kPrime2 = 0xC2B2AE3D27D4EB4F, kPrime3 = 0x165667B19E3779F9,
                   kPrime4 = 0x85EBCA77C2B2AE63, kPrime5 = 0x27D4EB2F165667C5;

template <class Word>
uint64_t little_endian(const std::byte* bytes) {
  uint64_t word = 0;
  for (size_t i = 0; i < sizeof(Word); ++i) word |= std::to_integer<uint64_t>(bytes[i]) << (8 * i);
  return word;
}

uint64_t mix(uint64_t lane, uint64_t word) { return std::rotl(lane + word * kPrime2, 31) * kPrime1; }

}  // namespace

void Hash64::block(const std::byte* bytes) {
  for (size_t i = 0; i < lanes_.size(); ++i)
    lanes_[i] = mix(lanes_[i], little_endian<uint64_t>(bytes + 8 * i));
}

void Hash64::add(std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  const auto held = static_cast<size_t>(bytes_ % kBlock);
  bytes_ += bytes.size();
  if (held != 0) {
    const size_t part = std::min(bytes.size(), kBlock - held);
    std::memcpy(held_.data() + held, bytes.data(), part);
    bytes = bytes.subspan(part);
    if (held + part < kBlock) return;
    block(held_.data());
  }
  for (; bytes.size() >= kBlock; bytes = bytes.subspan(kBlock)) block(bytes.data());
  if (!bytes.empty()) std::memcpy(held_.data(), bytes.data(), bytes.size());
}

uint64_t Hash64::value() const {
  uint64_t h = kPrime5;
  if (bytes_ >= kBlock) {
    h = std::rotl(lanes_[0], 1) + std::rotl(lanes_[1], 7) + std::rotl(lanes_[2], 12) +
        std::rotl(lanes_[3], 18);
    for (uint64_t lane : lanes_) h = (h ^ mix(0, lane)) * kPrime1 + kPrime4;
  }
  h += bytes_;
  const std::byte* at = held_.data();
  auto left = static_cast<size_t>(bytes_ % kBlock);
  for (; left >= 8; left -= 8, at += 8) {
    h = std::rotl(h ^ mix(0, little_endian<uint64_t>(at)), 27) * kPrime1 + kPrime4;
  }
  if (left >= 4) {
    h = std::rotl(h ^ little_endian<uint32_t>(at) * kPrime1, 23) * kPrime2 + kPrime3;
    left -= 4;
    at += 4;
  }
  for (; left > 0; --left, ++at) h = std::rotl(h ^ std::to_integer<uint64_t>(*at) * kPrime5, 11) * kPrime1;
  h = (h ^ h >> 33) * kPrime2;
  h = (h ^ h >> 29) * kPrime3;
  return h ^ h >> 32;
}

std::string Hash64::text() const {
  static constexpr char kDigits[] = "0123456789abcdef";
  const uint64_t all = value();
  std::string out;
  for (int shift = 60; shift >= 0; shift -= 4) out += kDigits[all >> shift & 15];
  return out;
}

}  // namespace gptq
