// Which tensor goes into which file of a folder, and the index that says so.
#include "format/folder_writer.h"

#include <algorithm>

#include "base/checked.h"
#include "base/error.h"
#include "base/folder.h"
#include "base/json_writer.h"
#include "base/text.h"

namespace gptq {
namespace {

using Shards = std::vector<std::vector<TensorInfo>>;

/// A file is closed by the first tensor that would make it larger than allowed.
Shards cut(std::vector<TensorInfo> tensors, uint64_t max_bytes) {
  Shards shards(1);
  uint64_t held = 0;
  for (TensorInfo& tensor : tensors) {
    tensor.bytes = tensor_bytes(tensor);
    if (!shards.back().empty() && (tensor.bytes > max_bytes || held > max_bytes - tensor.bytes)) {
      shards.emplace_back();
      held = 0;
    }
    held += tensor.bytes;
    shards.back().push_back(std::move(tensor));
  }
  if (shards.size() > kMostShards) {
    throw Error(Status::invalid_argument, cat("max_shard_size is ", max_bytes, ", which makes ",
                                              shards.size(), " files, wanted at most ", kMostShards));
  }
  return shards;
}

std::string five_digits(size_t number) {
  const std::string digits = cat(number);
  return std::string(5 - std::min<size_t>(5, digits.size()), '0') + digits;
}

std::string shard_name(size_t shard, size_t shards) {
  if (shards == 1) return "model.safetensors";
  return cat("model-", five_digits(shard + 1), "-of-", five_digits(shards), ".safetensors");
}

/// {"metadata": {"total_size": bytes of all tensors}, "weight_map": {tensor: file}}, sorted by name.
std::string index_text(const Shards& shards) {
  uint64_t total = 0;
  std::vector<std::pair<std::string_view, size_t>> places;
  for (size_t i = 0; i < shards.size(); ++i) {
    for (const TensorInfo& tensor : shards[i]) {
      const auto sum = checked_add(total, tensor.bytes);
      if (!sum) throw Error(Fault::range, "the tensors together have no size in bytes");
      total = *sum;
      places.emplace_back(tensor.name, i);
    }
  }
  std::sort(places.begin(), places.end());
  JsonWriter json(JsonLayout::indented);
  json.begin_object();
  json.key("metadata");
  json.begin_object();
  json.member("total_size", total);
  json.end_object();
  json.key("weight_map");
  json.begin_object();
  for (const auto& [name, shard] : places) json.member(name, shard_name(shard, shards.size()));
  json.end_object();
  json.end_object();
  return json.take() + "\n";
}

void write_index(FileWriter writer, std::string_view text) {
  writer.reserve(text.size());
  writer.write_at(0, std::as_bytes(std::span(text)));
  writer.finish();
}

}  // namespace

FolderWriter::FolderWriter(const Descriptor& folder, const fs::path& path, std::vector<TensorInfo> tensors,
                           uint64_t max_shard_bytes) {
  Shards shards = cut(std::move(tensors), max_shard_bytes);
  if (shards.size() > 1) {
    const std::string name = "model.safetensors.index.json";
    write_index(FileWriter(folder, name, join(path, name)), index_text(shards));
  }
  for (size_t i = 0; i < shards.size(); ++i) {
    for (const TensorInfo& tensor : shards[i]) {
      bytes_ += tensor.bytes;
      if (shard_of_.emplace(tensor.name, i).second) continue;
      throw Error(Fault::duplicate, cat("tensor ", quoted(tensor.name), " is to be written twice"));
    }
    shards_.push_back(std::make_unique<SafetensorsWriter>(
        folder, join(path, shard_name(i, shards.size())), std::move(shards[i]),
        std::vector<std::pair<std::string, std::string>>{{"format", "pt"}}));
  }
}

SafetensorsWriter& FolderWriter::shard_of(std::string_view name) {
  const auto shard = shard_of_.find(std::string(name));
  if (shard == shard_of_.end()) {
    throw Error(Status::internal, cat("tensor ", quoted(name), " was not announced"));
  }
  return *shards_[shard->second];
}

void FolderWriter::write(std::string_view name, std::span<const std::byte> bytes) {
  shard_of(name).write(name, bytes);
}

void FolderWriter::write_part(std::string_view name, uint64_t offset, std::span<const std::byte> bytes) {
  shard_of(name).write_part(name, offset, bytes);
}

void FolderWriter::finish() {
  for (const auto& shard : shards_) shard->finish();
}

void copy_tensor(const Checkpoint& from, const TensorInfo& tensor, FolderWriter& to) {
  if (tensor.bytes == 0) return to.write(tensor.name, {});
  stream_tensor(from, tensor, [&](uint64_t offset, std::span<const std::byte> part) {
    to.write_part(tensor.name, offset, part);
  });
}

}  // namespace gptq
