// What the plan of attention and its kernels agree on.
#pragma once

#include <cstdint>

#include "cuda/kernels.h"

namespace gptq::cuda {

/// Queries of a block: rows times the heads that share a head of keys.
constexpr int kNarrowQueries = 16, kWideQueries = 64;

/// Positions that a row sees.
struct Seen {
  int32_t begin, end;
};
GPTQ_BOTH inline Seen seen_by(const AttentionView& params, int32_t position) {
  int64_t first = params.window > 0 && position >= params.window ? position - params.window + 1 : 0;
  if (params.chunk > 0 && first < position / params.chunk * params.chunk)
    first = position / params.chunk * params.chunk;
  return {static_cast<int32_t>(first), position + 1};
}

/// Of a launch. No more than this is begun as one, since a cancel waits for it: rows times the positions that the last sees.
struct AttentionLimits {
  int64_t seen = int64_t{1} << 26;
  int64_t least_rows = 512;  // that go together, whatever they see; a multiple of 8
};
/// Rows that go together.
int64_t rows_of_attention(std::span<const Row> rows, const AttentionView& params,
                          const AttentionLimits& limits);

}  // namespace gptq::cuda
