// Rows of activations, one for each calibration token, kept from one pass over the tokens to another: in the host's memory, in
// the backend's, as its elements, or in a file where memory shall go to other things. What comes back is, to the bit, what
// was put in.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/file.h"
#include "base/temporary_file.h"

namespace gptq {

class StateStore {
 public:
  /// In memory, of so many floats.
  explicit StateStore(int64_t floats);
  /// In the stream's memory, of so many elements; Status::out_of_memory where there is none.
  StateStore(int64_t elements, Stream& stream);
  /// In a TemporaryFile.
  StateStore(int64_t floats, const WorkFolder& folder, const std::string& name);

  // Rows lie one after another, each as wide as the matrix: one width at a time. Status::internal beyond the end.
  void put(Stream& stream, Matrix rows, int64_t first);
  void get(Stream& stream, int64_t first, Matrix rows);

 private:
  size_t offset(int64_t first, Matrix rows) const;
  /// Where the backend has them.
  Matrix on_device(size_t at, Matrix rows, const Stream& stream) const;

  size_t floats_;
  std::unique_ptr<Memory> device_;
  std::unique_ptr<float[]> memory_;
  std::optional<TemporaryFile> file_;
  std::vector<float> part_;  // on its way to the file or from it
};

}  // namespace gptq
