#include "model/batch_rows.h"

#include <algorithm>
#include <optional>

#include "model/decoder.h"

namespace gptq {
namespace {

constexpr int64_t kManyRows = 2048;
constexpr uint64_t kMostBytes = uint64_t{1} << 30, kPartOfFree = 64;  // of their activations

uint64_t bytes_of_many(const Spec& spec) {
  return Decoder::workspace_bytes(spec, kManyRows, sizeof(uint16_t));
}

}  // namespace

int64_t rows_at_once(const Spec& spec, const Backend& backend, int64_t decoders) {
  if (!backend.free_memory()) return Decoder::kMaxRows;
  const uint64_t bytes = static_cast<uint64_t>(decoders) * bytes_of_many(spec);
  return bytes <= kMostBytes ? kManyRows : Decoder::kMaxRows;
}

int64_t session_rows(const Spec& spec, const Backend& backend) {
  const std::optional<uint64_t> free = backend.free_memory();
  const bool has_room = free && bytes_of_many(spec) <= *free / kPartOfFree;
  return has_room ? rows_at_once(spec, backend) : Decoder::kMaxRows;
}

int64_t session_rows(const Spec& spec, const LayerSegments& segments) {
  int64_t rows = kManyRows;
  for (const LayerSegment& segment : segments) rows = std::min(rows, session_rows(spec, *segment.backend));
  return rows;
}

}  // namespace gptq
