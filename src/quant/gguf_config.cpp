#include "quant/gguf_config.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/json_writer.h"
#include "base/text.h"
#include "format/gguf_blocks.h"
#include "quant/gguf_settings.h"

namespace gptq {
namespace {

constexpr int64_t kMost = int64_t{1} << 30;

/// Settings of one architecture by the end of their keys.
class Settings {
 public:
  Settings(const GgufHeader& header, const GgufArch& arch) : header_(header), prefix_(cat(arch.name, ".")) {}

  std::optional<int64_t> maybe_count(std::string_view key) const {
    return header_.integer(cat(prefix_, key), 1, kMost);
  }
  int64_t count(std::string_view key) const {
    const auto value = maybe_count(key);
    if (!value) header_.refuse(Fault::mismatch, cat(prefix_, key), "is missing");
    return *value;
  }
  std::optional<double> number(std::string_view key) const {
    return header_.number(cat(prefix_, key), 0, 1e300);
  }
  std::string text(std::string_view key) const {
    const std::string* value = header_.text(cat(prefix_, key));
    return value != nullptr ? *value : "";
  }
  [[noreturn]] void refuse(std::string_view key, std::string_view what) const {
    header_.refuse(Fault::unsupported, cat(prefix_, key), what);
  }

 private:
  const GgufHeader& header_;
  std::string prefix_;
};

/// The shortest number that is the same in F32, in which the file has it.
void number(JsonWriter& json, std::string_view key, double value) {
  json.key(key);
  json.json(cat(static_cast<float>(value)));
}

/// Llama 3's settings are not in the file, only what they lead to: found again by trying.
std::optional<RopeSpec> find_llama3(const std::vector<float>& factors, double theta, int64_t original) {
  RopeSpec rope{.kind = RopeKind::llama3, .dim = 2 * static_cast<int64_t>(factors.size()), .theta = theta};
  rope.factor = std::round(double{*std::max_element(factors.begin(), factors.end())} * 1e4) / 1e4;
  for (int64_t context : {original, int64_t{8192}}) {
    rope.original_context = context;
    const std::vector<float> made = gguf_rope_factors(rope);
    const bool same = std::equal(made.begin(), made.end(), factors.begin(),
                                 [](float a, float b) { return std::fabs(a - b) <= 1e-4f * std::fabs(b); });
    if (same) return rope;
  }
  return std::nullopt;
}

void add_llama3(JsonWriter& json, const GgufFile& file, const GgufTensor& tensor, const Settings& settings,
                double theta, int64_t context, int64_t head_dim) {
  if (tensor.type != GgufType::f32 || tensor.shape.size() != 1 || tensor.cols() != head_dim / 2) {
    file.header().refuse(Fault::mismatch, tensor.name,
                         cat("wanted one row of F32, half of a head's ", head_dim, " dimensions"));
  }
  std::vector<float> factors(static_cast<size_t>(tensor.cols()));
  unpack_gguf_row(tensor.type, file.read_rows(tensor, 0, 1), factors);
  const auto rope = find_llama3(
      factors, theta, settings.maybe_count("rope.scaling.original_context_length").value_or(context));
  if (!rope)
    file.header().refuse(Fault::unsupported, tensor.name, "no settings of Llama 3's rope give these factors");
  json.member("rope_type", "llama3");
  number(json, "factor", rope->factor);
  number(json, "low_freq_factor", rope->low_freq_factor);
  number(json, "high_freq_factor", rope->high_freq_factor);
  json.member("original_max_position_embeddings", rope->original_context);
}

void add_scaling(JsonWriter& json, const GgufFile& file, const Settings& settings, double theta,
                 int64_t context, int64_t head_dim) {
  const GgufTensor* factors = file.header().find("rope_freqs.weight");
  const std::string type = settings.text("rope.scaling.type");
  const double factor = settings.number("rope.scaling.factor").value_or(1);
  const bool scaled = factor != 0 && factor != 1 && type != "none";
  if (factors == nullptr && !scaled) return;
  json.key("rope_scaling");
  json.begin_object();
  if (factors != nullptr) {
    if (scaled) settings.refuse("rope.scaling.type", "frequencies are both scaled and divided");
    add_llama3(json, file, *factors, settings, theta, context, head_dim);
  } else if (type == "yarn") {
    json.member("rope_type", "yarn");
    number(json, "factor", factor);
    json.member("original_max_position_embeddings",
                settings.maybe_count("rope.scaling.original_context_length").value_or(context));
    if (const auto more = settings.number("rope.scaling.attn_factor"))
      number(json, "attention_factor", *more * (1 + 0.1 * std::log(factor)));
  } else if (type.empty() || type == "linear") {
    json.member("rope_type", "linear");
    number(json, "factor", factor);
  } else {
    settings.refuse("rope.scaling.type", cat(quoted(type), ", wanted none, linear or yarn"));
  }
  json.end_object();
}

void add_gpt2(JsonWriter& json, const Settings& settings) {
  json.member("n_embd", settings.count("embedding_length"));
  json.member("n_layer", settings.count("block_count"));
  json.member("n_head", settings.count("attention.head_count"));
  json.member("n_positions", settings.count("context_length"));
  json.member("n_inner", settings.count("feed_forward_length"));
  json.member("activation_function", "gelu_new");
  number(json, "layer_norm_epsilon", settings.number("attention.layer_norm_epsilon").value_or(1e-5));
}

void add_rotary(JsonWriter& json, const GgufFile& file, const Settings& settings) {
  const int64_t hidden = settings.count("embedding_length"), heads = settings.count("attention.head_count");
  const int64_t context = settings.count("context_length");
  const int64_t head_dim =
      settings.maybe_count("attention.key_length").value_or(std::max<int64_t>(1, hidden / heads));
  if (settings.maybe_count("attention.value_length").value_or(head_dim) != head_dim)
    settings.refuse("attention.value_length", "keys and values of different length");
  if (settings.maybe_count("rope.dimension_count").value_or(head_dim) != head_dim)
    settings.refuse("rope.dimension_count", "only a part of each head rotates");
  if (settings.maybe_count("expert_count")) settings.refuse("expert_count", "experts");
  json.member("hidden_size", hidden);
  json.member("intermediate_size", settings.count("feed_forward_length"));
  json.member("num_hidden_layers", settings.count("block_count"));
  json.member("num_attention_heads", heads);
  json.member("num_key_value_heads", settings.maybe_count("attention.head_count_kv").value_or(heads));
  json.member("head_dim", head_dim);
  json.member("max_position_embeddings", context);
  json.member("hidden_act", "silu");
  const auto eps = settings.number("attention.layer_norm_rms_epsilon");
  number(json, "rms_norm_eps", eps.value_or(1e-6));
  const double theta = settings.number("rope.freq_base").value_or(10000);
  number(json, "rope_theta", theta);
  add_scaling(json, file, settings, theta, context, head_dim);
  const GgufHeader& header = file.header();
  json.member("attention_bias", header.find("blk.0.attn_output.bias") != nullptr);
  json.member("mlp_bias", header.find("blk.0.ffn_down.bias") != nullptr);
}

void add_ids(JsonWriter& json, const GgufHeader& header) {
  const auto id = [&](const char* key) { return header.integer(cat("tokenizer.ggml.", key), 0, INT32_MAX); };
  if (const auto bos = id("bos_token_id")) json.member("bos_token_id", *bos);
  std::vector<int64_t> ends;
  for (const char* key : {"eos_token_id", "eot_token_id", "eom_token_id"}) {
    if (const auto end = id(key); end && std::find(ends.begin(), ends.end(), *end) == ends.end())
      ends.push_back(*end);
  }
  if (ends.empty()) return;
  json.key("eos_token_id");
  if (ends.size() == 1) {
    json.value(ends[0]);
    return;
  }
  json.begin_array();
  for (int64_t end : ends) json.value(end);
  json.end_array();
}

}  // namespace

std::string gguf_config(const GgufFile& file, const GgufArch& arch, DType dtype) {
  const GgufHeader& header = file.header();
  const Settings settings(header, arch);
  const GgufTensor* embedding = header.find("token_embd.weight");
  if (embedding == nullptr) header.refuse(Fault::mismatch, "token_embd.weight", "is missing");
  JsonWriter json(JsonLayout::indented);
  json.begin_object();
  json.key("architectures");
  json.begin_array();
  json.value(arch.model_class);
  json.end_array();
  json.member("model_type", arch.family);
  json.member("vocab_size", embedding->rows());
  if (arch.name == "gpt2") {
    add_gpt2(json, settings);
  } else {
    add_rotary(json, file, settings);
  }
  json.member("tie_word_embeddings", header.find("output.weight") == nullptr);
  add_ids(json, header);
  json.member("dtype", dtype == DType::f32 ? "float32" : dtype == DType::f16 ? "float16" : "bfloat16");
  json.end_object();
  return json.take();
}

}  // namespace gptq
