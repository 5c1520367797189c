// The index of a model in several files, and where those files may be.
#include "format/shard_index.h"

#include <algorithm>

#include "base/error.h"
#include "base/folder.h"
#include "base/system_text.h"
#include "base/text.h"
#include "format/json_events.h"
#include "format/safetensors.h"

namespace gptq {
namespace {

constexpr size_t kMostShards = 10'000;
constexpr size_t kMostBytes = 256u << 20;

bool is_plain_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

class IndexReader final : public JsonEventReader {
 public:
  explicit IndexReader(std::string_view file) : file_(file) {}

  ShardIndex take() {
    if (!has_map_) throw Error(Fault::format, cat(file_, ": has no 'weight_map'"));
    // files_ is in the order of first appearance
    std::vector<uint32_t> order(files_.size()), rank(files_.size());
    for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return files_[a] < files_[b]; });
    for (uint32_t i = 0; i < order.size(); ++i) {
      rank[order[i]] = i;
      index_.files.push_back(std::move(files_[order[i]]));
    }
    for (auto& [name, file] : index_.tensors) file = rank[file];
    std::sort(index_.tensors.begin(), index_.tensors.end());
    return std::move(index_);
  }

 private:
  enum class Member : uint8_t { other, weight_map, metadata };

  void on(const JsonEvent& event, int depth) override {
    if (depth == 0) {
      if (event.kind != EventKind::start_object && event.kind != EventKind::end_object) {
        refuse(Fault::format, cat(file_, ": not a JSON object"));
      }
    } else if (depth == 1) {
      on_member(event);
    } else if (member_ == Member::weight_map) {
      on_tensor(event);
    } else if (member_ == Member::metadata && depth == 2) {
      on_metadata(event);
    }
  }

  void on_member(const JsonEvent& event) {
    if (event.kind == EventKind::key) {
      member_ = *event.text == "weight_map" ? Member::weight_map
                : *event.text == "metadata" ? Member::metadata
                                            : Member::other;
    } else if (member_ == Member::weight_map && event.kind != EventKind::end_object) {
      if (event.kind != EventKind::start_object) {
        return refuse(Fault::format, cat(file_, ": 'weight_map' is not a JSON object"));
      }
      has_map_ = true;
    }
  }

  void on_metadata(const JsonEvent& event) {
    if (event.kind == EventKind::key) {
      at_total_size_ = *event.text == "total_size";
    } else if (at_total_size_) {
      index_.has_total_size = true;
      if (event.kind == EventKind::natural) index_.total_size = event.natural;
    }
  }

  void on_tensor(const JsonEvent& event) {
    if (event.kind == EventKind::key) {
      if (index_.tensors.size() == SafetensorsLimits{}.tensors) {
        return refuse(Fault::limit, cat(file_, ": more than ", SafetensorsLimits{}.tensors, " tensors"));
      }
      index_.tensors.emplace_back(std::move(*event.text), 0);
    } else if (event.kind != EventKind::string) {
      refuse(Fault::format, cat(file_, ": weight_map: the file of ", quoted(index_.tensors.back().first),
                                " is not a string"));
    } else if (!is_plain_name(*event.text)) {
      refuse(Fault::path, cat(file_, ": weight_map: ", quoted(index_.tensors.back().first), " is in ",
                              quoted(*event.text), ", wanted the name of a file in the same folder"));
    } else {
      const auto [it, added] = ids_.emplace(*event.text, static_cast<uint32_t>(files_.size()));
      if (added) files_.push_back(*event.text);
      if (files_.size() > kMostShards) {
        return refuse(Fault::limit, cat(file_, ": names more than ", kMostShards, " files"));
      }
      index_.tensors.back().second = it->second;
    }
  }

  std::string_view file_;
  ShardIndex index_;
  std::map<std::string, uint32_t, std::less<>> ids_;
  std::vector<std::string> files_;
  Member member_ = Member::other;
  bool has_map_ = false, at_total_size_ = false;
};

/// .../REPOSITORY/snapshots/REVISION -> .../REPOSITORY/blobs; empty for any other folder.
fs::path blobs_beside(const fs::path& folder) {
  const fs::path snapshots = folder.parent_path();
  return snapshots.filename() == "snapshots" ? join(snapshots.parent_path(), "blobs") : fs::path();
}

}  // namespace

ShardIndex parse_shard_index(std::string_view text, std::string_view name) {
  IndexReader reader(name);
  reader.parse(text, name, {.max_bytes = kMostBytes});
  return reader.take();
}

fs::path resolve_shard(const fs::path& folder, const std::string& name) {
  const fs::path path = join(folder, name);
  const fs::path home = real_path(folder);
  const fs::path real = home.empty() ? fs::path() : real_path(path);
  if (real.empty()) {
    throw Error(Fault::io, cat(quoted(path.native(), 400),
                               ": the index names this file, but it is not there: ", system_text(errno)));
  }
  std::error_code failed;
  const fs::file_status itself = fs::symlink_status(path, failed);
  if (!fs::is_symlink(itself)) return path;
  const fs::path blobs = blobs_beside(home);
  if (real.parent_path() == home || (!blobs.empty() && real.parent_path() == blobs)) return real;
  throw Error(Fault::path, cat(quoted(path.native(), 400), ": is a link out of its folder, to ",
                               quoted(real.native(), 400)));
}

}  // namespace gptq
