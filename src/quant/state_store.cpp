#include "quant/state_store.h"

#include <span>

#include "base/error.h"
#include "base/text.h"

namespace gptq {

StateStore::StateStore(int64_t floats)
    : floats_(static_cast<size_t>(floats)), memory_(std::make_unique_for_overwrite<float[]>(floats_)) {}

StateStore::StateStore(int64_t elements, Stream& stream)
    : floats_(static_cast<size_t>(elements)), device_(stream.allocate(floats_ * stream.element_bytes())) {}

StateStore::StateStore(int64_t floats, const WorkFolder& folder, const std::string& name)
    : floats_(static_cast<size_t>(floats)) {
  file_.emplace(folder, name, uint64_t{floats_} * sizeof(float));
}

size_t StateStore::offset(int64_t first, Matrix rows) const {
  const int64_t begin = first * rows.cols, count = rows.rows * rows.cols;
  if (begin < 0 || count < 0 || begin + count > static_cast<int64_t>(floats_)) {
    throw Error(Status::internal,
                cat("states ", begin, " to ", begin + count, ", of ", floats_, " that are kept"));
  }
  return static_cast<size_t>(begin);
}

Matrix StateStore::on_device(size_t at, Matrix rows, const Stream& stream) const {
  return {.data = device_->data() + at * stream.element_bytes(), .rows = rows.rows, .cols = rows.cols};
}

void StateStore::put(Stream& stream, Matrix rows, int64_t first) {
  const size_t at = offset(first, rows);
  if (device_) return stream.copy(rows, on_device(at, rows, stream));
  if (!file_) return stream.download(rows, memory_.get() + at);
  part_.resize(static_cast<size_t>(rows.rows * rows.cols));
  stream.download(rows, part_.data());
  file_->write_at(at * sizeof(float), std::as_bytes(std::span(part_)));
}

void StateStore::get(Stream& stream, int64_t first, Matrix rows) {
  const size_t at = offset(first, rows);
  if (device_) return stream.copy(on_device(at, rows, stream), rows);
  if (!file_) return stream.upload(memory_.get() + at, rows);
  part_.resize(static_cast<size_t>(rows.rows * rows.cols));
  file_->read_at(at * sizeof(float), std::as_writable_bytes(std::span(part_)));
  stream.upload(part_.data(), rows);
}

}  // namespace gptq
