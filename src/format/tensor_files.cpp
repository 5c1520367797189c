// Reading tensors out of safetensors files.
#include "format/tensor_files.h"

#include <algorithm>
#include <numeric>

#include "base/checked.h"
#include "base/error.h"
#include "base/text.h"

namespace gptq {

OpenFiles::Slot* OpenFiles::find_slot(size_t index) {
  Slot* oldest_idle = nullptr;
  for (Slot& slot : slots_) {
    if (slot.file && slot.index == index) return &slot;
    if (slot.users == 0 && (oldest_idle == nullptr || slot.last_use < oldest_idle->last_use))
      oldest_idle = &slot;
  }
  return oldest_idle;
}

OpenFiles::Lease OpenFiles::open(size_t index) {
  std::unique_lock lock(mutex_);
  Slot* slot = nullptr;
  slot_free_.wait(lock, [&] { return (slot = find_slot(index)) != nullptr; });
  if (!slot->file || slot->index != index) {
    slot->file.reset();
    slot->file.emplace(paths_[index]);
    slot->index = index;
    auto& identity = identities_[index];
    if (!identity) identity = slot->file->identity();
    if (*identity != slot->file->identity()) {
      slot->file.reset();
      throw Error(Fault::changed, cat(quoted(paths_[index].native(), 400), ": changed while it was in use"));
    }
  }
  ++slot->users;
  slot->last_use = ++uses_;
  return Lease(*this, static_cast<size_t>(slot - slots_));
}

OpenFiles::Lease::~Lease() {
  const std::lock_guard lock(owner_.mutex_);
  if (--owner_.slots_[slot_].users == 0) owner_.slot_free_.notify_all();
}

namespace {

SafetensorsHeader read_header(const File& file, const std::string& name) {
  std::vector<std::byte> start(static_cast<size_t>(std::min<uint64_t>(16, file.size())));
  file.read_at(0, start);
  const uint64_t length = safetensors_header_bytes(start, file.size(), name);
  start.resize(static_cast<size_t>(8 + length));
  file.read_at(0, start);
  return parse_safetensors_header(start, file.size(), name);
}

}  // namespace

TensorFiles::TensorFiles(std::vector<std::string> names, std::vector<fs::path> paths)
    : names_(std::move(names)), files_(std::move(paths)), mappings_(files_.count()) {
  const size_t most = SafetensorsLimits{}.tensors;
  for (size_t f = 0; f < files_.count(); ++f) {
    SafetensorsHeader header = read_header(*files_.open(f), names_[f]);
    if (tensors_.size() + header.entries.size() > most) {
      throw Error(Fault::limit, cat(names_[f], ": more than ", most, " tensors in all files"));
    }
    for (SafetensorsEntry& entry : header.entries) {
      places_.push_back({f, header.data_start + entry.begin});
      tensors_.push_back({.name = std::move(entry.name),
                          .dtype = entry.dtype,
                          .shape = std::move(entry.shape),
                          .bytes = entry.end - entry.begin,
                          .file = names_[f]});
    }
  }
  sort_by_name();
}

void TensorFiles::sort_by_name() {
  std::vector<size_t> order(tensors_.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return tensors_[a].name < tensors_[b].name; });
  std::vector<TensorInfo> tensors;
  std::vector<Place> places;
  tensors.reserve(order.size());
  places.reserve(order.size());
  for (size_t i : order) {
    if (!tensors.empty() && tensors.back().name == tensors_[i].name) {
      throw Error(Fault::duplicate, cat("tensor ", quoted(tensors_[i].name), " is in ", tensors.back().file,
                                        " and in ", tensors_[i].file));
    }
    tensors.push_back(std::move(tensors_[i]));
    places.push_back(places_[i]);
  }
  tensors_ = std::move(tensors);
  places_ = std::move(places);
}

const TensorInfo* TensorFiles::find(std::string_view name) const {
  const auto it =
      std::lower_bound(tensors_.begin(), tensors_.end(), name,
                       [](const TensorInfo& info, std::string_view wanted) { return info.name < wanted; });
  return it != tensors_.end() && it->name == name ? &*it : nullptr;
}

const TensorInfo& TensorFiles::required(std::string_view name) const {
  if (const TensorInfo* info = find(name)) return *info;
  const std::string where =
      names_.size() == 1 ? names_[0] : cat("the ", names_.size(), " files of the model");
  throw Error(Status::not_found, cat(where, ": no tensor ", quoted(name)));
}

Tensor TensorFiles::read(std::string_view name, Access access) const {
  const TensorInfo& info = required(name);
  const Place& place = place_of(info);
  if (access == Access::read) {
    std::byte* bytes = nullptr;
    Tensor tensor = make_tensor(info.dtype, info.shape, &bytes);
    files_.open(place.file)->read_at(place.offset, {bytes, tensor.bytes});
    return tensor;
  }
  const std::shared_ptr<const Mapping> mapped = mapping(place.file);
  return {.dtype = info.dtype,
          .shape = info.shape,
          .data = mapped->data() + place.offset,
          .bytes = static_cast<size_t>(info.bytes),
          .owner = mapped};
}

void TensorFiles::read_part(std::string_view name, uint64_t offset, std::span<std::byte> out) const {
  const TensorInfo& info = required(name);
  const auto end = checked_add(offset, out.size());
  if (!end || *end > info.bytes) {
    throw Error(Status::internal, cat("tensor ", quoted(name), ": ", out.size(), " bytes from byte ", offset,
                                      ", it has ", info.bytes));
  }
  const Place& place = place_of(info);
  files_.open(place.file)->read_at(place.offset + offset, out);
}

std::shared_ptr<const Mapping> TensorFiles::mapping(size_t file) const {
  const std::lock_guard lock(mappings_mutex_);
  if (mappings_[file] == nullptr) mappings_[file] = std::make_shared<const Mapping>(*files_.open(file));
  return mappings_[file];
}

void TensorFiles::check_unchanged() const {
  for (size_t f = 0; f < files_.count(); ++f) files_.open(f)->check_unchanged();
}

std::unique_ptr<Checkpoint> open_safetensors(const fs::path& file) {
  return std::make_unique<TensorFiles>(std::vector<std::string>{file.filename().string()},
                                       std::vector<fs::path>{file});
}

}  // namespace gptq
