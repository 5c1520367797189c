// A loaded folder: weights on one backend or several, tokenizer, and what they are. Immutable; shared by threads and sessions.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "backend/backend.h"
#include "base/error.h"
#include "format/quant_config.h"
#include "model/layer_split.h"
#include "model/loader.h"
#include "model/segment.h"
#include "model/spec.h"
#include "model/weights.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace gptq {

/// Called between units of work; throws to stop.
using Progress = std::function<void(int64_t done, int64_t total, const std::string& stage)>;

enum class LoadWeights : uint8_t { no, yes };

/// What is known of a model's sessions when it is loaded.
struct PlannedSessions {
  KvElements elements = KvElements::automatic;  // devices with layers that don't have them are refused
  int64_t context = 0;                          // 0: not known
};

struct ModelOptions {
  std::string device = "cpu";  // or several: "cuda:0,cpu"
  LayerSplit layer_split{};    // layers of each; empty: as plan_split() has them
  PlannedSessions sessions{};
  BackendOptions backend{};
  LoadWeights weights = LoadWeights::yes;
  Access access = Access::map;
  int head_bits = 0;  // of a head that is stored in 16 or 32; 0: as it is
};

class Model {
 public:
  static std::shared_ptr<const Model> load(const fs::path& folder, const ModelOptions& options,
                                           const Progress& progress);

  const fs::path& folder() const { return folder_; }
  /// Without weights all that config.json would say may be missing, or not be supported: Status::not_found, or what
  /// load_spec() said, when it is needed.
  const Spec& spec() const;
  bool has_spec() const { return spec_.has_value(); }
  const Weights& weights() const;
  /// Where they are. As weights(), not without them.
  const LayerSegments& segments() const;
  /// "cuda:0 (NVIDIA H200, compute capability 9.0, bf16) + cpu (avx512)", for people; one alone as its backend says it.
  const std::string& device() const { return device_; }
  /// Layers of each: "20,12". Empty without weights.
  std::string layer_split() const;
  /// Rows of a session's largest batch: the same of all sessions.
  int64_t session_rows() const { return session_rows_; }
  /// Threads of the host that compute at a time.
  int threads() const;
  const std::optional<QuantConfig>& quantization() const { return quantization_; }

  /// Status::not_found when the folder has no tokenizer.
  const std::shared_ptr<const Tokenizer>& tokenizer() const;
  const ChatTemplates& chat_templates() const { return *chat_templates_; }
  /// As generation_defaults().
  const std::string& sampling_defaults() const { return sampling_defaults_; }
  bool has_tokenizer() const { return tokenizer_ != nullptr; }

  int64_t vocab_size() const;
  /// The ids of generation_config.json or config.json, and the token that the chat template ends an answer with.
  bool ends_text(int32_t id) const;
  std::optional<int32_t> bos() const;
  std::optional<int32_t> eos() const;  // the first of them

  int64_t parameters() const { return parameters_; }
  uint64_t weight_bytes() const { return weight_bytes_; }
  uint64_t weight_bytes_per_token() const { return weight_bytes_per_token_; }

 private:
  Model() = default;
  void read_config();
  void open_devices(const ModelOptions& options);
  void place_layers(const Loader& loader, const ModelOptions& options);
  void load_weights(const Loader& loader, const ModelOptions& options, const Progress& progress);

  fs::path folder_;
  std::optional<Spec> spec_;
  std::optional<Error> no_spec_;  // why not
  std::optional<QuantConfig> quantization_;
  std::vector<ListedDevice> devices_;  // without a backend once it is known to have no layers
  std::string device_;
  LayerSplit layer_split_;  // [device]
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::shared_ptr<const ChatTemplates> chat_templates_;
  std::optional<int32_t> end_of_turn_;
  std::string sampling_defaults_;
  std::optional<Weights> weights_;
  LayerSegments segments_;
  int64_t session_rows_ = 0;  // with weights
  int64_t parameters_ = 0;
  uint64_t weight_bytes_ = 0, weight_bytes_per_token_ = 0;
};

}  // namespace gptq
