#include "quant/layer_file.h"

#include <algorithm>

#include "base/checked.h"
#include "base/error.h"
#include "base/text.h"
#include "format/bit_stream.h"

namespace gptq {
namespace {

struct PartBytes {
  uint64_t codes, scales, zeros, groups;
};

PartBytes part_bytes(const MatrixShape& shape, std::string_view what) {
  const int64_t sides[] = {shape.rows, shape.cols, shape.bits};
  const int64_t ranges[] = {shape.groups, shape.rows, 4};
  const auto bits = checked_product(sides), scales = checked_product(ranges);
  if (!bits || !scales || *bits > UINT64_MAX - 31) {
    throw Error(Fault::range, cat(what, ": a matrix of ", shape.rows, " x ", shape.cols, " in ", shape.groups,
                                  " groups has no size in bytes"));
  }
  return {.codes = (*bits + 31) / 32 * 4,
          .scales = *scales,
          .zeros = *scales / 2,
          .groups = static_cast<uint64_t>(shape.cols) * 4};
}

template <class T>
std::vector<T> read_values(const File& file, uint64_t& offset, uint64_t bytes) {
  std::vector<T> values(static_cast<size_t>(bytes / sizeof(T)));
  file.read_at(offset, std::as_writable_bytes(std::span(values)));
  offset += bytes;
  return values;
}

}  // namespace

uint64_t stored_bytes(const MatrixShape& shape, std::string_view what) {
  const PartBytes parts = part_bytes(shape, what);
  const auto ranges = checked_add(parts.scales, parts.zeros);
  const auto codes = checked_add(parts.codes, parts.groups);
  const auto all = ranges && codes ? checked_add(*ranges, *codes) : std::nullopt;
  if (!all) throw Error(Fault::range, cat(what, ": has no size in bytes"));
  return *all;
}

template <class T>
void LayerFileWriter::put(const std::vector<T>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  writer_.write_at(bytes_, bytes);
  hash_.add(bytes);
  bytes_ += bytes.size();
}

MatrixShape LayerFileWriter::append(const QTensor& q) {
  put(pack_bits(q.codes, q.bits));
  put(q.scales);
  put(q.zeros);
  put(q.group_of);
  return {.bits = q.bits, .rows = q.rows, .cols = q.cols, .groups = q.groups};
}

QTensor read_matrix(const File& file, uint64_t offset, const MatrixShape& shape, std::string_view what) {
  const auto end = checked_add(offset, stored_bytes(shape, what));
  if (!end || *end > file.size()) {
    throw Error(Fault::truncated, cat(quoted(file.path().native(), 400), ": ", what, " is not all in it"));
  }
  const PartBytes parts = part_bytes(shape, what);
  QTensor q{.bits = shape.bits, .rows = shape.rows, .cols = shape.cols, .groups = shape.groups};
  q.codes =
      unpack_bits(read_values<uint32_t>(file, offset, parts.codes), shape.rows * shape.cols, shape.bits);
  q.scales = read_values<float>(file, offset, parts.scales);
  q.zeros = read_values<uint16_t>(file, offset, parts.zeros);
  q.group_of = read_values<int32_t>(file, offset, parts.groups);
  validate(q, what);
  return q;
}

std::string hash_of(const File& file) {
  Hash64 hash;
  std::vector<std::byte> buffer(static_cast<size_t>(std::min<uint64_t>(file.size(), uint64_t{1} << 20)));
  for (uint64_t at = 0; at < file.size(); at += buffer.size()) {
    const auto part =
        std::span(buffer).first(static_cast<size_t>(std::min<uint64_t>(buffer.size(), file.size() - at)));
    file.read_at(at, part);
    hash.add(part);
  }
  return hash.text();
}

}  // namespace gptq
