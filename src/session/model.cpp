#include "session/model.h"

#include <algorithm>

#include "base/error.h"
#include "base/folder.h"
#include "base/log.h"
#include "base/text.h"
#include "format/gguf_tokenizer.h"
#include "model/batch_rows.h"
#include "session/generation_config.h"
#include "text/sentencepiece.h"
#include "text/tokenizer_json.h"

namespace gptq {
namespace {

/// That of a GGUF file, by way of the files of a folder that would hold it.
std::shared_ptr<const Tokenizer> load_gguf_tokenizer(const fs::path& path) {
  const auto files = gguf_tokenizer_files(GgufFile(path).header());
  const std::string name = path.filename().string();
  if (files.empty()) throw Error(Status::not_found, cat(name, " has no tokenizer"));
  const auto& [kind, text] = files[0];
  const TokenizerConfig config = parse_tokenizer_config(files[1].second, name);
  return kind == "tokenizer.json" ? load_tokenizer_json(text, name, config)
                                  : load_sentencepiece(text, name, config);
}

std::shared_ptr<const Tokenizer> load_tokenizer(const fs::path& folder) {
  if (is_gguf(folder)) return load_gguf_tokenizer(folder);
  if (!file_exists(join(folder, "tokenizer.json")) && !file_exists(join(folder, "tokenizer.model")))
    return nullptr;
  return Tokenizer::load(folder);
}

/// Positions of a session whose context is not known that layers are planned with.
constexpr int64_t kPlannedPositions = 4096;

/// Refuses what a device with layers does not have, before there are weights on it.
void check_sessions(const LayerSegments& segments, const PlannedSessions& sessions) {
  if (sessions.elements == KvElements::automatic) return;
  for (const LayerSegment& segment : segments) {
    static_cast<void>(
        segment.backend->create_cache({.layers = {}, .sequences = 1, .elements = sessions.elements}));
  }
}

/// A description that begins with what a list calls the device: "cuda:1 (NVIDIA H200, ...)".
std::string description_as(const std::string& device, const Backend& backend) {
  const std::string text = backend.description();
  return cat(device, text.substr(std::min(text.find(' '), text.size())));
}

std::string range_text(const LayerRange& layers) {
  return layers.count == 1 ? cat("layer ", layers.first)
                           : cat("layers ", layers.first, " to ", layers.end() - 1);
}

/// Of several devices: which of them it was that had no memory, or failed.
template <class Call>
auto naming(const std::string& device, const Call& call) {
  try {
    return call();
  } catch (const Error& error) {
    if (device.empty() || (error.status() != Status::out_of_memory && error.status() != Status::device))
      throw;
    throw Error(error.status(), cat(device, ": ", error.what()));
  }
}

}  // namespace

std::shared_ptr<const Model> Model::load(const fs::path& folder, const ModelOptions& options,
                                         const Progress& progress) {
  check_devices(options.layer_split, device_count(options.device));
  const bool gguf_vocabulary = options.weights == LoadWeights::no && is_gguf(folder);
  if (!gguf_vocabulary) check_model_folder(folder);
  std::shared_ptr<Model> model(new Model);
  model->folder_ = folder;
  model->open_devices(options);
  model->tokenizer_ = load_tokenizer(folder);
  model->chat_templates_ = ChatTemplates::load(folder);
  if (!model->chat_templates_->empty() && model->tokenizer_)
    model->end_of_turn_ = model->chat_templates_->end_of_turn(*model->tokenizer_);
  model->sampling_defaults_ = generation_defaults(folder);
  if (options.weights == LoadWeights::yes) {
    const Loader loader(folder);
    model->spec_ = loader.spec();
    model->quantization_ = loader.quantization();
    model->place_layers(loader, options);
    check_sessions(model->segments_, options.sessions);
    model->load_weights(loader, options, progress);
  } else if (file_exists(join(folder, "config.json"))) {
    model->read_config();
  } else if (model->tokenizer_ == nullptr && model->chat_templates_->empty()) {
    throw Error(Status::not_found, cat("neither config.json nor a tokenizer nor a chat template in ",
                                       quoted(folder.string(), 400)));
  }
  return model;
}

/// A tokenizer and templates are of use without a family that is known.
void Model::read_config() {
  try {
    spec_ = load_spec(folder_);
    quantization_ = read_quant_config(folder_);
  } catch (const Error& error) {
    if (error.fault() != Fault::unsupported || (tokenizer_ == nullptr && chat_templates_->empty())) throw;
    spec_.reset();
    no_spec_ = error;
  }
}

void Model::open_devices(const ModelOptions& options) {
  devices_ = create_backends(options.device, options.backend);
  if (devices_.size() == 1) {
    device_ = devices_.front().backend->description();
    return;
  }
  for (const auto& [name, backend] : devices_)
    device_ += cat(device_.empty() ? "" : " + ", description_as(name, *backend));
}

void Model::place_layers(const Loader& loader, const ModelOptions& options) {
  const int64_t context = options.sessions.context > 0
                              ? std::min(options.sessions.context, spec_->context_limit())
                              : std::min(spec_->context, kPlannedPositions);
  layer_split_ = split_layers(options.layer_split, loader, devices_,
                              {.positions = context, .head_bits = options.head_bits});
  segments_ = make_segments(layer_split_, devices_);
  for (size_t i = 0; i < devices_.size(); ++i) {
    if (layer_split_[i] == 0) devices_[i].backend.reset();
  }
  if (devices_.size() == 1) return;
  for (const LayerSegment& segment : segments_) {
    log(LogLevel::info,
        cat(range_text(segment.layers), " on ", description_as(segment.device, *segment.backend)));
  }
}

void Model::load_weights(const Loader& loader, const ModelOptions& options, const Progress& progress) {
  const Spec& spec = *spec_;
  progress(0, spec.layers + 1, "load");
  const OuterBackends outer(*segments_.front().backend, *segments_.back().backend);
  const bool several = devices_.size() > 1;
  const std::string& first = segments_.front().device;
  const std::string& last = segments_.back().device;
  const std::string ends = first == last ? first : cat(first, " (embedding) or ", last, " (output head)");
  Weights weights = naming(several ? ends : "",
                           [&] { return loader.load_outer(outer, options.access, options.head_bits); });
  progress(1, spec.layers + 1, "load");
  parameters_ = spec.vocab * spec.hidden * (loader.tied() ? 1 : 2);
  weight_bytes_ = weights.embed->bytes() + (weights.head == weights.embed ? 0 : weights.head->bytes());
  weight_bytes_per_token_ = weights.head->bytes();
  const auto load_layer = [&](const Backend& backend, int64_t i) {
    weights.layers.push_back(loader.load_layer(backend, i, options.access));
    const Layer& layer = weights.layers.back();
    const auto count = [&](const auto& linears, uint64_t used, uint64_t of) {
      for (const auto& linear : linears) {
        if (!linear) continue;
        parameters_ += linear->in_features() * linear->out_features();
        weight_bytes_ += linear->bytes();
        weight_bytes_per_token_ += linear->bytes() * used / of;
      }
    };
    count(layer.linears, 1, 1);
    for (const auto& expert : layer.experts)
      count(expert, static_cast<uint64_t>(spec.router.chosen), layer.experts.size());
    progress(i + 2, spec.layers + 1, "load");
  };
  for (const LayerSegment& segment : segments_) {
    const std::string name = several ? cat(segment.device, ", ", range_text(segment.layers)) : "";
    naming(name, [&] {
      for (int64_t i = segment.layers.first; i < segment.layers.end(); ++i) load_layer(*segment.backend, i);
    });
  }
  weights_ = std::move(weights);
  session_rows_ = gptq::session_rows(spec, segments_);
}

const Spec& Model::spec() const {
  if (no_spec_) throw Error(*no_spec_);
  if (!spec_) throw Error(Status::not_found, cat("no config.json in ", quoted(folder_.string(), 400)));
  return *spec_;
}

const Weights& Model::weights() const {
  if (!weights_)
    throw Error(Status::bad_state, "the model was loaded without its weights (load_weights = 0)");
  return *weights_;
}

const LayerSegments& Model::segments() const {
  static_cast<void>(weights());
  return segments_;
}

std::string Model::layer_split() const {
  std::string all;
  for (const int64_t layers : layer_split_) all += cat(all.empty() ? "" : ",", layers);
  return all;
}

int Model::threads() const {
  int most = 0;  // one device computes at a time
  for (const ListedDevice& device : devices_) {
    if (device.backend) most = std::max(most, device.backend->threads());
  }
  return most;
}

const std::shared_ptr<const Tokenizer>& Model::tokenizer() const {
  if (tokenizer_ == nullptr) {
    throw Error(Status::not_found,
                cat("no tokenizer.json or tokenizer.model in ", quoted(folder_.string(), 400)));
  }
  return tokenizer_;
}

int64_t Model::vocab_size() const { return spec_ ? spec_->vocab : tokenizer()->vocab_size(); }

bool Model::ends_text(int32_t id) const {
  if (end_of_turn_ == id) return true;
  if (spec_ && !spec_->eos.empty())
    return std::find(spec_->eos.begin(), spec_->eos.end(), id) != spec_->eos.end();
  return tokenizer_ != nullptr && tokenizer_->eos_id() == id;
}

std::optional<int32_t> Model::bos() const {
  if (spec_ && spec_->bos) return spec_->bos;
  return tokenizer_ ? tokenizer_->bos_id() : std::nullopt;
}

std::optional<int32_t> Model::eos() const {
  if (spec_ && !spec_->eos.empty()) return spec_->eos.front();
  return tokenizer_ ? tokenizer_->eos_id() : std::nullopt;
}

}  // namespace gptq
