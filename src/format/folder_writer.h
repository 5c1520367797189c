// Writes the tensors of a model folder: one safetensors file, or several with an index.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/file.h"
#include "format/checkpoint.h"

namespace gptq {

/// Bytes of tensors that a file holds at most, unless one tensor alone is larger: as transformers cuts models.
inline constexpr uint64_t kDefaultShardBytes = uint64_t{4} << 30;
/// Most files of one model that are written: each is open, with its space reserved, until the end.
inline constexpr size_t kMostShards = 500;

/// All files are made and reserved at full size by the constructor; tensors then arrive in any order. Those that
/// fit into `max_shard_bytes` together go into model.safetensors, others into model-00001-of-00003.safetensors and
/// so on, in the order given, with model.safetensors.index.json.
class FolderWriter {
 public:
  /// In an open folder; `path` is for messages. Status::invalid_argument if that makes more than kMostShards files.
  FolderWriter(const Descriptor& folder, const fs::path& path, std::vector<TensorInfo> tensors,
               uint64_t max_shard_bytes);

  // As those of SafetensorsWriter.
  void write(std::string_view name, std::span<const std::byte> bytes);
  void write_part(std::string_view name, uint64_t offset, std::span<const std::byte> bytes);
  /// Of all tensors.
  uint64_t bytes() const { return bytes_; }
  /// Fails unless every tensor was written; fsyncs all files.
  void finish();

 private:
  SafetensorsWriter& shard_of(std::string_view name);

  uint64_t bytes_ = 0;
  std::vector<std::unique_ptr<SafetensorsWriter>> shards_;
  std::unordered_map<std::string, size_t> shard_of_;  // by name of tensor
};

/// Piece by piece.
void copy_tensor(const Checkpoint& from, const TensorInfo& tensor, FolderWriter& to);

}  // namespace gptq
