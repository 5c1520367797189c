#include "quant/job_work.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/folder.h"
#include "base/log.h"
#include "base/text.h"

namespace gptq {
namespace {

constexpr const char *kManifest = "job.json", *kCalibration = "calibration";
constexpr size_t kMostManifestBytes = size_t{64} << 20, kMostCalibrationBytes = size_t{1} << 32;

constexpr std::string_view kLayerFile = "layer-";

std::string layer_file(int64_t index) { return cat(kLayerFile, index); }

std::span<const std::byte> bytes_of(const std::vector<int32_t>& ids) { return std::as_bytes(std::span(ids)); }

/// i32: how many sequences, the length of each, and the ids of all.
std::vector<int32_t> flattened(const Sequences& sequences) {
  std::vector<int32_t> flat{static_cast<int32_t>(sequences.size())};
  for (const auto& sequence : sequences) flat.push_back(static_cast<int32_t>(sequence.size()));
  for (const auto& sequence : sequences) flat.insert(flat.end(), sequence.begin(), sequence.end());
  return flat;
}

/// Empty where it is none that the model could have written.
std::optional<Sequences> unflattened(std::span<const int32_t> flat, const Spec& spec) {
  if (flat.empty() || flat[0] < 1 || static_cast<size_t>(flat[0]) > flat.size() - 1) return std::nullopt;
  const auto count = static_cast<size_t>(flat[0]);
  const auto lengths = flat.subspan(1, count);
  auto ids = flat.subspan(1 + count);
  Sequences sequences;
  for (int32_t length : lengths) {
    if (length < 1 || length > spec.context || static_cast<size_t>(length) > ids.size()) return std::nullopt;
    const auto sequence = ids.first(static_cast<size_t>(length));
    for (int32_t id : sequence) {
      if (id < 0 || id >= spec.vocab) return std::nullopt;
    }
    sequences.emplace_back(sequence.begin(), sequence.end());
    ids = ids.subspan(sequence.size());
  }
  if (!ids.empty()) return std::nullopt;
  return sequences;
}

CalibrationRecord record_of(const std::string& source, const Sequences& sequences) {
  CalibrationRecord record;
  record.source = source;
  record.sequences = static_cast<int64_t>(sequences.size());
  for (const auto& sequence : sequences) record.tokens += static_cast<int64_t>(sequence.size());
  Hash64 hash;
  hash.add(bytes_of(flattened(sequences)));
  record.hash = hash.text();
  return record;
}

std::string to_text(const CalibrationRecord& record) {
  return cat(record.source, ", ", record.sequences, " sequences, ", record.tokens, " tokens, hash ",
             record.hash);
}

std::string config_identity(const Loader& source) {
  Hash64 hash;
  hash.add(read_text_file(join(source.folder(), "config.json"), kMaxConfigBytes));
  return hash.text();
}

/// config.json, then the files of weights.
std::vector<ModelFile> files_of(const Loader& source) {
  std::map<std::string, std::pair<uint64_t, Hash64>> weights;
  for (const TensorInfo& tensor : source.checkpoint().tensors()) {
    auto& [bytes, hash] = weights[tensor.file];
    bytes += tensor.bytes;
    hash.add(cat(tensor.name, "\n", dtype_name(tensor.dtype), shape_text(tensor.shape), "\n"));
  }
  std::vector<ModelFile> files{{"config.json", config_identity(source)}};
  for (const auto& [name, file] : weights) {
    files.push_back({name, cat(file.first, " bytes, header ", file.second.text())});
  }
  return files;
}

/// Of names and bytes of the tensors that `wanted` takes. `check` is called piece by piece.
template <class Wanted>
std::string tensor_hash(
    const Checkpoint& checkpoint, const Wanted& wanted, const std::function<void()>& check = [] {}) {
  Hash64 hash;
  for (const TensorInfo& info : checkpoint.tensors()) {
    if (!wanted(info.name)) continue;
    hash.add(info.name);
    stream_tensor(checkpoint, info, [&](uint64_t, std::span<const std::byte> part) {
      check();
      hash.add(part);
    });
  }
  return hash.text();
}

}  // namespace

JobWork::JobWork(const Loader& source, const fs::path& target, const QuantOptions& options)
    : source_(source), resume_(options.resume), folder_(target, options.overwrite) {
  if (keeps()) {
    manifest_.model = files_of(source);
    manifest_.options = options.named;
  }
  const std::optional<File> file = folder_.open_file(kManifest);
  if (!file) return;
  folder_.keep();
  discards_ = options.resume != Resume::automatic;
  if (discards_) return;
  const Manifest found = read_manifest(read_text_file(*file, kMostManifestBytes), file->path().native());
  check_same_job(found, manifest_, folder_.path());
  if (found.layers.size() > static_cast<size_t>(source.spec().layers)) {
    throw Error(Fault::range, cat(quoted(file->path().native(), 400), ": 'layers' has ", found.layers.size(),
                                  ", the model ", source.spec().layers));
  }
  manifest_ = found;
  earlier_ = true;
  finished_ = static_cast<int64_t>(manifest_.layers.size());
}

std::optional<Sequences> JobWork::written_calibration() const {
  if (!earlier_ || manifest_.calibration.source != kWrittenByModel) return std::nullopt;
  const std::optional<File> file = folder_.open_file(kCalibration);
  if (!file || file->size() > kMostCalibrationBytes || file->size() % sizeof(int32_t) != 0 ||
      hash_of(*file) != manifest_.calibration.hash) {
    return std::nullopt;
  }
  std::vector<int32_t> flat(static_cast<size_t>(file->size() / sizeof(int32_t)));
  file->read_at(0, std::as_writable_bytes(std::span(flat)));
  return unflattened(flat, source_.spec());
}

/// The manifest goes first: what it does not name is nobody's.
void JobWork::discard_earlier() {
  folder_.remove_file(kManifest);
  for (const std::string& name : list_folder(folder_.descriptor(), folder_.path())) {
    if (name == kCalibration || name.starts_with(kLayerFile)) folder_.remove_file(name);
  }
  folder_.remove();
}

void JobWork::set_calibration(const std::string& source, const Sequences& sequences) {
  if (discards_) discard_earlier();
  if (!keeps()) return;
  const std::string layers = source_.layers_prefix();
  const std::string outer =
      tensor_hash(source_.checkpoint(), [&](const std::string& name) { return !name.starts_with(layers); });
  const CalibrationRecord record = record_of(source, sequences);
  if (earlier_) {
    const CalibrationRecord& found = manifest_.calibration;
    if (found.source != record.source || found.hash != record.hash) {
      refuse_other_job(folder_.path(), "calibration", to_text(found), to_text(record));
    }
    if (manifest_.outer_weights != outer) {
      refuse_other_job(folder_.path(), "hash of the tensors outside the layers", manifest_.outer_weights,
                       outer);
    }
    return;
  }
  manifest_.calibration = record;
  manifest_.outer_weights = outer;
  if (source != kWrittenByModel) return;
  // a model takes long to write it, and the next run shall not have to
  FileWriter writer = folder_.create_file(kCalibration);
  writer.write_at(0, bytes_of(flattened(sequences)));
  writer.finish();
  write_manifest_file();
}

std::string JobWork::weights_of(int64_t index, const std::function<void()>& check) const {
  if (!keeps()) return {};
  const std::string prefix = source_.layer_prefix(index);
  return tensor_hash(
      source_.checkpoint(), [&](const std::string& name) { return name.starts_with(prefix); }, check);
}

void JobWork::write_manifest_file() {
  folder_.replace_file(kManifest, write_manifest(manifest_));
  earlier_ = true;
  folder_.keep();
}

void JobWork::forget_from(int64_t index) {
  log(LogLevel::warning, cat(quoted(join(folder_.path(), layer_file(index)).native(), 400),
                             ": is damaged: layers from ", index + 1, " on are quantized again"));
  manifest_.layers.resize(static_cast<size_t>(index));
  finished_ = index;
}

bool JobWork::check_layer(int64_t index, const std::vector<PlannedMatrix>& planned) {
  const FinishedLayer& layer = manifest_.layers[static_cast<size_t>(index)];
  const auto is_planned = [](const FinishedModule& found, const PlannedMatrix& wanted) {
    return found.report.name == wanted.name && found.shape == wanted.shape;
  };
  const std::optional<File> file = folder_.open_file(layer_file(index));
  uint64_t bytes = 0;
  for (const FinishedModule& module : layer.modules) bytes += stored_bytes(module.shape, module.report.name);
  const bool whole =
      file && file->size() == bytes && bytes == layer.bytes &&
      std::equal(layer.modules.begin(), layer.modules.end(), planned.begin(), planned.end(), is_planned) &&
      hash_of(*file) == layer.hash;
  if (!whole) {
    forget_from(index);
    return false;
  }
  if (const std::string now = weights_of(index); now != layer.weights) {
    refuse_other_job(folder_.path(), cat("hash of the weights of layer ", index + 1), layer.weights, now);
  }
  return true;
}

std::optional<QTensor> JobWork::read_module(int64_t index, std::string_view name) const {
  const std::string file = layer_file(index);
  uint64_t offset = 0;
  for (const FinishedModule& module : layer(index).modules) {
    if (module.report.name == name) {
      const File stored(folder_.descriptor(), file, join(folder_.path(), file));
      return read_matrix(stored, offset, module.shape, name);
    }
    offset += stored_bytes(module.shape, name);
  }
  return std::nullopt;
}

void JobWork::begin_layer(int64_t index, std::string weights) {
  if (!keeps()) return;
  current_ = {};
  current_.weights = weights.empty() ? weights_of(index) : std::move(weights);
  writer_.reset();
  writer_.emplace(folder_.create_file(layer_file(index)));
}

void JobWork::add_module(const ModuleReport& report, const QTensor& q) {
  if (writer_) current_.modules.push_back({.shape = writer_->append(q), .report = report});
}

void JobWork::end_layer(double seconds) {
  if (!writer_) return;
  writer_->finish();
  current_.bytes = writer_->bytes();
  current_.hash = writer_->hash();
  writer_.reset();
  manifest_.layers.push_back(std::move(current_));
  manifest_.seconds = seconds;
  write_manifest_file();
}

}  // namespace gptq
