// A loaded folder: weights on a backend, tokenizer, and what they are. Immutable; shared by threads and sessions.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "backend/backend.h"
#include "base/error.h"
#include "format/quant_config.h"
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

struct ModelOptions {
  std::string device = "cpu";
  BackendOptions backend;
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
  const Segments& segments() const;
  const Backend& backend() const { return *backend_; }
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
  void load_weights(const Loader& loader, const ModelOptions& options, const Progress& progress);

  fs::path folder_;
  std::optional<Spec> spec_;
  std::optional<Error> no_spec_;  // why not
  std::optional<QuantConfig> quantization_;
  std::shared_ptr<const Backend> backend_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::shared_ptr<const ChatTemplates> chat_templates_;
  std::optional<int32_t> end_of_turn_;
  std::string sampling_defaults_;
  std::optional<Weights> weights_;
  Segments segments_;
  int64_t parameters_ = 0;
  uint64_t weight_bytes_ = 0, weight_bytes_per_token_ = 0;
};

}  // namespace gptq
