// The one Checkpoint there is: tensors by name in one or more safetensors files.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "format/checkpoint.h"
#include "format/safetensors.h"

namespace gptq {

/// Files opened when needed, never more than eight at once however many threads read.
class OpenFiles {
 public:
  static constexpr size_t kMost = 8;

  explicit OpenFiles(std::vector<fs::path> paths) : paths_(std::move(paths)), identities_(paths_.size()) {}

  /// A file in use: it stays open while this lives.
  class Lease {
   public:
    Lease(OpenFiles& owner, size_t slot) : owner_(owner), slot_(slot) {}
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ~Lease();
    const File& operator*() const { return *owner_.slots_[slot_].file; }
    const File* operator->() const { return &**this; }

   private:
    OpenFiles& owner_;
    size_t slot_;
  };

  /// Waits while all files that may be open are in use. Fault::changed if the file is another one than before.
  Lease open(size_t index);
  size_t count() const { return paths_.size(); }

 private:
  struct Slot {
    size_t index = SIZE_MAX;
    std::optional<File> file;
    int users = 0;
    uint64_t last_use = 0;
  };

  Slot* find_slot(size_t index);

  std::vector<fs::path> paths_;
  std::vector<std::optional<FileIdentity>> identities_;  // from the first time it was opened
  std::mutex mutex_;
  std::condition_variable slot_free_;
  Slot slots_[kMost];
  uint64_t uses_ = 0;
};

class TensorFiles final : public Checkpoint {
 public:
  /// `names` are the files' names in messages, `paths` where they are. Every header is read here.
  /// Fault::duplicate if two files hold a tensor of the same name.
  TensorFiles(std::vector<std::string> names, std::vector<fs::path> paths);

  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const TensorInfo* find(std::string_view name) const override;
  Tensor read(std::string_view name, Access access) const override;
  void read_part(std::string_view name, uint64_t offset, std::span<std::byte> out) const override;
  void check_unchanged() const override;

  /// Index of the file that holds tensors()[i].
  size_t file_of(size_t i) const { return places_[i].file; }

 private:
  struct Place {
    size_t file;
    uint64_t offset;  // from the start of the file
  };
  void sort_by_name();
  const TensorInfo& required(std::string_view name) const;
  const Place& place_of(const TensorInfo& info) const {
    return places_[static_cast<size_t>(&info - tensors_.data())];
  }
  std::shared_ptr<const Mapping> mapping(size_t file) const;

  std::vector<std::string> names_;
  std::vector<TensorInfo> tensors_;  // by name
  std::vector<Place> places_;        // of tensors_
  mutable OpenFiles files_;
  mutable std::mutex mappings_mutex_;
  mutable std::vector<std::shared_ptr<const Mapping>> mappings_;
};

}  // namespace gptq
