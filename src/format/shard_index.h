// model.safetensors.index.json: which file holds which tensor of a model in several files.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file.h"

namespace gptq {

struct ShardIndex {
  std::vector<std::string> files;                         // plain file names, each once, sorted
  std::vector<std::pair<std::string, uint32_t>> tensors;  // name and its file, sorted by name
  bool has_total_size = false;
  std::optional<uint64_t> total_size;  // empty if it was no natural number
};

/// Faults: format, duplicate, limit (10,000 files, 2^20 tensors), path (a file name that is not a plain one).
ShardIndex parse_shard_index(std::string_view text, std::string_view name);

/// Where file `name` of `folder` is. A link must stay inside the folder, or lead from "snapshots/REVISION/" to
/// "blobs/" of the same repository, which is how Hugging Face's cache stores files: Fault::path otherwise.
fs::path resolve_shard(const fs::path& folder, const std::string& name);

}  // namespace gptq
