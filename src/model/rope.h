// Rotation angles of a batch's rows, for every kind of context extension.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "model/spec.h"

namespace gptq {

class Rope {
 public:
  explicit Rope(const RopeSpec& spec);

  /// Fills cos and sin [rows, dim / 2] for `rows`. lengths[i] is the length that row i's sequence has with all the
  /// tokens that were given to it at once: the dynamic kind stretches by it. The result borrows from this object
  /// until the next call. Sines are made anew only where rows or lengths differ from the last call's.
  RopeRows rows(std::span<const Row> rows, std::span<const int64_t> lengths);

  /// Radians per position [dim / 2] in a text of that length; good until the next call.
  const std::vector<float>& frequencies(int64_t length);

 private:
  void make(std::span<const Row> rows, std::span<const int64_t> lengths);

  RopeSpec spec_;
  std::vector<float> fixed_, stretched_;  // radians per position, [dim / 2]
  int64_t stretched_length_ = 0;
  std::vector<int64_t> made_for_;  // position and length of each row
  std::vector<float> cos_, sin_;
};

}  // namespace gptq
