// The quantized matrices of one finished layer on disk, as they are in memory, so that a job can go on from them
// whatever the format of its output is.
//
// For each matrix, one behind the other, little-endian, without gaps:
//   codes   u32 [ceil(rows * cols * bits / 32)]  one stream of bits, row after row
//   scales  f32 [groups, rows]
//   zeros   u16 [groups, rows]
//   groups  i32 [cols]
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/file.h"
#include "base/hash64.h"
#include "base/qtensor.h"

namespace gptq {

/// What the file itself does not say about a matrix.
struct MatrixShape {
  int bits = 4;
  int64_t rows = 0, cols = 0, groups = 0;

  bool operator==(const MatrixShape&) const = default;
};

/// Bytes that a matrix takes; Fault::range naming `what` where it has no size.
uint64_t stored_bytes(const MatrixShape& shape, std::string_view what);

class LayerFileWriter {
 public:
  explicit LayerFileWriter(FileWriter file) : writer_(std::move(file)) {}

  MatrixShape append(const QTensor& q);
  void finish() { writer_.finish(); }  // on disk
  uint64_t bytes() const { return bytes_; }
  std::string hash() const { return hash_.text(); }

 private:
  template <class T>
  void put(const std::vector<T>& values);

  FileWriter writer_;
  uint64_t bytes_ = 0;
  Hash64 hash_;
};

/// Checked as validate() does; `what` is for messages.
QTensor read_matrix(const File& file, uint64_t offset, const MatrixShape& shape, std::string_view what);

/// Of a whole file.
std::string hash_of(const File& file);

}  // namespace gptq
