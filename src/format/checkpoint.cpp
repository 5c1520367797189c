// Which files make up the model of a folder.
#include "format/checkpoint.h"

#include <algorithm>

#include "base/checked.h"
#include "base/error.h"
#include "base/folder.h"
#include "base/log.h"
#include "base/text.h"
#include "format/shard_index.h"
#include "format/tensor_files.h"

namespace gptq {
namespace {

constexpr std::string_view kSingle = "model.safetensors";
constexpr std::string_view kIndex = "model.safetensors.index.json";
constexpr size_t kMostIndexBytes = 256u << 20;

struct FolderFiles {
  std::vector<std::string> indices, weights, pickles;  // file names, sorted
};

FolderFiles list_files(const fs::path& folder) {
  FolderFiles files;
  for (const std::string& name : list_folder(folder)) {
    if (name.ends_with(".safetensors.index.json")) files.indices.push_back(name);
    if (name.ends_with(".safetensors")) files.weights.push_back(name);
    if (name.ends_with(".bin") || name.ends_with(".pt") || name.ends_with(".pth"))
      files.pickles.push_back(name);
  }
  return files;
}

bool contains(const std::vector<std::string>& sorted, std::string_view name) {
  return std::binary_search(sorted.begin(), sorted.end(), name, std::less<>());
}

/// The tensors that the index names are those the files hold, each in the file that it names.
void check_index(const ShardIndex& index, const TensorFiles& files, const std::string& index_name) {
  const auto& held = files.tensors();
  size_t i = 0, h = 0;
  while (i < index.tensors.size() || h < held.size()) {
    const int order = i == index.tensors.size() ? 1
                      : h == held.size()        ? -1
                                                : index.tensors[i].first.compare(held[h].name);
    if (order < 0) {
      throw Error(Fault::mismatch,
                  cat(index_name, ": says that tensor ", quoted(index.tensors[i].first), " is in ",
                      quoted(index.files[index.tensors[i].second]), ", but no file holds it"));
    }
    if (order > 0) {
      throw Error(Fault::mismatch, cat(held[h].file, ": holds tensor ", quoted(held[h].name), ", which ",
                                       index_name, " does not name"));
    }
    if (index.tensors[i].second != files.file_of(h)) {
      throw Error(Fault::mismatch,
                  cat(index_name, ": says that tensor ", quoted(held[h].name), " is in ",
                      quoted(index.files[index.tensors[i].second]), ", but it is in ", quoted(held[h].file)));
    }
    ++i;
    ++h;
  }
}

void compare_total_size(const ShardIndex& index, const TensorFiles& files, const std::string& index_name) {
  if (!index.has_total_size) return;
  uint64_t total = 0;
  for (const TensorInfo& info : files.tensors()) total += info.bytes;  // each lies in a file: no wrap
  if (index.total_size == total) return;
  log(LogLevel::warning,
      cat(index_name, ": metadata.total_size is not ", total, ", the size of the tensors; ignored"));
}

std::unique_ptr<Checkpoint> open_sharded(const fs::path& folder, const std::string& index_name,
                                         ShardIndex index) {
  std::vector<fs::path> paths;
  for (const std::string& name : index.files) paths.push_back(resolve_shard(folder, name));
  auto files = std::make_unique<TensorFiles>(index.files, std::move(paths));
  check_index(index, *files, index_name);
  compare_total_size(index, *files, index_name);
  return files;
}

[[noreturn]] void nothing_found(const fs::path& folder, const FolderFiles& files) {
  std::string found = "no *.safetensors file";
  if (!files.weights.empty()) {
    found = cat("several *.safetensors files (", quoted(files.weights[0]), ", ", quoted(files.weights[1]),
                "), no ", kSingle, " and no ", kIndex);
  } else if (!files.pickles.empty()) {
    found += cat("; ", quoted(files.pickles[0]), " is a pickle, which this library does not read");
  }
  throw Error(Status::not_found, cat(quoted(folder.native(), 400), ": ", found));
}

ShardIndex read_index(const fs::path& folder, const std::string& name) {
  return parse_shard_index(read_text_file(join(folder, name), kMostIndexBytes), name);
}

}  // namespace

void stream_tensor(const Checkpoint& checkpoint, const TensorInfo& tensor,
                   const std::function<void(uint64_t offset, std::span<const std::byte> part)>& visit) {
  constexpr uint64_t kPart = uint64_t{1} << 20;
  std::vector<std::byte> buffer(static_cast<size_t>(std::min(tensor.bytes, kPart)));
  for (uint64_t at = 0; at < tensor.bytes; at += buffer.size()) {
    const auto part = std::span(buffer).first(static_cast<size_t>(std::min(kPart, tensor.bytes - at)));
    checkpoint.read_part(tensor.name, at, part);
    visit(at, part);
  }
}

std::unique_ptr<Checkpoint> open_checkpoint(const fs::path& folder, std::span<const std::string> preferred) {
  const FolderFiles files = list_files(folder);
  for (const std::string& name : preferred) {
    const std::string file = name + ".safetensors", index = file + ".index.json";
    if (file == kSingle) continue;  // as without preference
    if (contains(files.indices, index)) return open_sharded(folder, index, read_index(folder, index));
    if (contains(files.weights, file)) return open_safetensors(join(folder, file));
  }
  const bool single = contains(files.weights, kSingle);
  std::string index_name;
  if (contains(files.indices, kIndex)) {
    index_name = kIndex;
  } else if (!single && files.indices.size() == 1) {
    index_name = files.indices[0];
  }
  if (!index_name.empty()) {
    ShardIndex index = read_index(folder, index_name);
    const bool complete = std::all_of(index.files.begin(), index.files.end(), [&](const std::string& name) {
      std::error_code failed;
      return fs::exists(fs::symlink_status(join(folder, name), failed));
    });
    if (!single || complete) {
      if (single)
        log(LogLevel::warning, cat(kSingle, " and ", kIndex, " are both there; reading the index's files"));
      return open_sharded(folder, index_name, std::move(index));
    }
    log(LogLevel::warning, cat(kIndex, " names files that are not there; reading ", kSingle));
  }
  if (single) return open_safetensors(join(folder, kSingle));
  if (files.weights.size() == 1) return open_safetensors(join(folder, files.weights[0]));
  nothing_found(folder, files);
}

const fs::path& check_model_folder(const fs::path& folder) {
  const PathKind kind = path_kind(folder);
  if (kind == PathKind::folder) return folder;
  const std::string shown = quoted(folder.native(), 400);
  throw Error(Status::not_found, kind != PathKind::absent
                                     ? cat(shown, " is not a folder, wanted one with config.json and weights")
                                     : cat("no model folder at ", shown));
}

}  // namespace gptq
