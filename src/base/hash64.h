// XXH64 (github.com/Cyan4973/xxHash, seed 0): tells whether bytes are still the ones they were. No defence against
// somebody who makes them so.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace gptq {

class Hash64 {
 public:
  void add(std::span<const std::byte> bytes);
  void add(std::string_view text) { add(std::as_bytes(std::span(text))); }
  /// Of all that was added so far.
  uint64_t value() const;
  /// The same as 16 hexadecimal digits.
  std::string text() const;

 private:
  static constexpr size_t kBlock = 32;
  void block(const std::byte* bytes);

  std::array<uint64_t, 4> lanes_{0x60EA27EEADC0B5D6, 0xC2B2AE3D27D4EB4F, 0, 0x61C8864E7A143579};
  std::array<std::byte, kBlock> held_{};  // what fills no block yet
  uint64_t bytes_ = 0;
};

}  // namespace gptq
