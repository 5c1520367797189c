// Options by key -> the structures that the layers below take.
#include <algorithm>

#include "api/guard.h"
#include "api/options.h"
#include "base/json.h"
#include "base/text.h"

namespace gptq::api {
namespace {

Resume resume_of(std::string_view text) {
  return text == "restart" ? Resume::restart : text == "never" ? Resume::never : Resume::automatic;
}

std::string value_text(const gptq_options& options, const OptionRow& row) {
  switch (row.type) {
    case OptionType::integer: return cat(options.integer(row.key));
    case OptionType::real: return cat(options.real(row.key));
    case OptionType::text: return options.text(row.key);
  }
  return "";
}

/// All of the scope but what has no influence on the quantized layers.
NamedOptions named_options(const gptq_options& options) {
  NamedOptions named;
  for (const OptionRow& row : option_table()) {
    if (row.scope.find("quantizer") == std::string_view::npos) continue;
    if (row.key == GPTQ_KEY_OVERWRITE || row.key == GPTQ_KEY_RESUME || row.key == GPTQ_KEY_REPORT ||
        row.key == GPTQ_KEY_MAX_SHARD_SIZE || row.key == GPTQ_KEY_MEMORY_LIMIT) {
      continue;
    }
    // no seed is not the seed 0
    const bool absent = row.key == GPTQ_KEY_SEED && !options.has(row.key);
    named.emplace_back(row.key, absent ? "none" : value_text(options, row));
  }
  return named;
}

}  // namespace

ModelOptions model_options(const gptq_options* given) {
  const gptq_options none;
  const gptq_options& o = given != nullptr ? *given : none;
  ModelOptions options;
  options.device = o.text(GPTQ_KEY_DEVICE);
  options.layer_split = parse_layer_split(o.text(GPTQ_KEY_LAYER_SPLIT));
  options.sessions = {.elements = kv_elements(given), .context = context_length(given)};
  options.backend.threads = static_cast<int>(o.integer(GPTQ_KEY_THREADS));
  options.backend.executor = {o.executor, o.executor_data};
  options.backend.compute = o.text(GPTQ_KEY_COMPUTE) == "exact" ? Compute::exact : Compute::fast;
  options.weights = o.integer(GPTQ_KEY_LOAD_WEIGHTS) != 0 ? LoadWeights::yes : LoadWeights::no;
  options.access = o.integer(GPTQ_KEY_MMAP) != 0 ? Access::map : Access::read;
  options.head_bits = static_cast<int>(o.integer(GPTQ_KEY_HEAD_BITS));
  if (options.head_bits != 0 && options.head_bits != 4 && options.head_bits != 8) {
    throw Error(Status::invalid_argument,
                cat("option '" GPTQ_KEY_HEAD_BITS "' is ", options.head_bits, ", wanted 0, 4 or 8"));
  }
  return options;
}

int64_t context_length(const gptq_options* given) {
  return given != nullptr ? given->integer(GPTQ_KEY_CONTEXT_LENGTH) : 0;
}

KvElements kv_elements(const gptq_options* given) {
  const bool int8 = given != nullptr && given->text(GPTQ_KEY_KV_CACHE) == "int8";
  return int8 ? KvElements::int8 : KvElements::automatic;
}

GenerationOptions generation_options(const gptq_options* given) {
  const gptq_options none;
  const gptq_options& o = given != nullptr ? *given : none;
  return {.sampler = {.temperature = o.real(GPTQ_KEY_TEMPERATURE),
                      .top_k = o.integer(GPTQ_KEY_TOP_K),
                      .top_p = o.real(GPTQ_KEY_TOP_P),
                      .min_p = o.real(GPTQ_KEY_MIN_P),
                      .repetition_penalty = o.real(GPTQ_KEY_REPETITION_PENALTY),
                      .seed = static_cast<uint64_t>(o.integer(GPTQ_KEY_SEED))},
          .max_tokens = o.integer(GPTQ_KEY_MAX_TOKENS),
          .ignore_eos = o.integer(GPTQ_KEY_IGNORE_EOS) != 0 ? IgnoreEos::yes : IgnoreEos::no,
          .stop = parse_list(GPTQ_KEY_STOP, o.text(GPTQ_KEY_STOP))};
}

std::vector<std::string> parse_list(std::string_view key, std::string_view text) {
  constexpr size_t kMostTexts = 64, kMostBytes = 4096;
  const std::string what = cat("option '", key, "'");
  std::vector<std::string> texts;
  if (text.empty()) return texts;
  if (!text.starts_with('['))
    throw Error(Fault::format,
                cat(what, " is ", quoted(text), ", wanted a JSON array of texts, as [\"a\", \"b\"]"));
  const JsonDocument json = parse_json(text, what);
  if (json->size() > kMostTexts)
    throw Error(Fault::limit, cat(what, " has ", json->size(), " texts, wanted at most ", kMostTexts));
  for (const Json& value : *json) {
    if (!value.is_string())
      throw Error(Fault::format, cat(what, "[", texts.size(), "] is ", value.type_name(), ", wanted a text"));
    texts.push_back(value.get<std::string>());
    if (texts.back().empty() || texts.back().size() > kMostBytes) {
      throw Error(Fault::limit, cat(what, "[", texts.size() - 1, "] has ", texts.back().size(),
                                    " bytes, wanted 1 to ", kMostBytes));
    }
  }
  return texts;
}

ModuleOverrides parse_dynamic(std::string_view text) {
  if (text.empty()) return {};
  return parse_module_overrides(text, "option 'dynamic'", {}, OverrideUse::quantize);
}

namespace {

/// What is done beyond plain GPTQ. Under a compat the defaults are those of the other package.
void set_accuracy(const gptq_options& o, SolverOptions& solver) {
  if (o.text(GPTQ_KEY_COMPAT) == "gptqmodel") solver.compat = Compat::gptqmodel;
  const auto reads = [&](std::string_view key) { return solver.compat == Compat::none || o.has(key); };
  if (reads(GPTQ_KEY_RANGE)) {
    const std::string range = o.text(GPTQ_KEY_RANGE);
    solver.range = range == "hessian" ? RangeSearch::hessian
                   : range == "mse"   ? RangeSearch::mse
                                      : RangeSearch::minmax;
  }
  solver.mse_norm = o.real(GPTQ_KEY_MSE_NORM);
  if (reads(GPTQ_KEY_TARGET)) {
    const std::string target = o.text(GPTQ_KEY_TARGET);
    solver.target = target == "exact"   ? Target::exact
                    : target == "gptaq" ? Target::gptaq
                                        : Target::sequential;
  }
  solver.target_alpha = o.real(GPTQ_KEY_TARGET_ALPHA);
  solver.residual_alpha = reads(GPTQ_KEY_RESIDUAL_ALPHA) ? o.real(GPTQ_KEY_RESIDUAL_ALPHA) : 0;
  if (reads(GPTQ_KEY_SWEEPS)) solver.sweeps = static_cast<int>(o.integer(GPTQ_KEY_SWEEPS));
  if (reads(GPTQ_KEY_REFIT)) solver.refits = static_cast<int>(o.integer(GPTQ_KEY_REFIT));
  if (!o.has(GPTQ_KEY_REFIT)) solver.refits = std::min(solver.refits, solver.sweeps);
  if (solver.refits > solver.sweeps) {
    throw Error(Status::invalid_argument, cat("option 'refit' is ", solver.refits,
                                              ", wanted at most option 'sweeps', which is ", solver.sweeps));
  }
}

/// Empty where none is given, and for "dense".
std::optional<QuantFormat> output_format(const gptq_options& o) {
  const std::string format = o.text(GPTQ_KEY_FORMAT);
  if (format == "gptq") return QuantFormat::gptq;
  if (format == "gptq_v2") return QuantFormat::gptq_v2;
  if (format == "compressed_tensors") return QuantFormat::compressed_tensors;
  return std::nullopt;
}

/// Empty for "auto".
std::optional<GgufType> gguf_type(const std::string& name) {
  if (name == "q4_0") return GgufType::q4_0;
  if (name == "q4_1") return GgufType::q4_1;
  if (name == "q8_0") return GgufType::q8_0;
  if (name == "f16") return GgufType::f16;
  return std::nullopt;
}

}  // namespace

ConvertOptions convert_options(const gptq_options* given) {
  const gptq_options none;
  const gptq_options& o = given != nullptr ? *given : none;
  if (!o.has(GPTQ_KEY_FORMAT)) {
    throw Error(Status::invalid_argument,
                "option 'format' is not set: wanted gptq, gptq_v2, compressed_tensors, dense or gguf");
  }
  const std::string dtype = o.text(GPTQ_KEY_DTYPE);
  return {.format = output_format(o),
          .dtype = dtype == "f32"   ? DType::f32
                   : dtype == "f16" ? DType::f16
                                    : DType::bf16,
          .max_shard_bytes = static_cast<uint64_t>(o.integer(GPTQ_KEY_MAX_SHARD_SIZE)),
          .overwrite = o.integer(GPTQ_KEY_OVERWRITE) != 0 ? Overwrite::yes : Overwrite::no,
          .container = o.text(GPTQ_KEY_FORMAT) == "gguf" ? Container::gguf : Container::folder,
          .gguf_type = gguf_type(o.text(GPTQ_KEY_GGUF_TYPE))};
}

QuantOptions quant_options(const gptq_options* given) {
  const gptq_options none;
  const gptq_options& o = given != nullptr ? *given : none;
  QuantOptions options;
  options.solver.bits = static_cast<int>(o.integer(GPTQ_KEY_BITS));
  options.solver.group_size = o.integer(GPTQ_KEY_GROUP_SIZE);
  options.solver.symmetric = o.integer(GPTQ_KEY_SYM) != 0 ? Symmetric::yes : Symmetric::no;
  const std::string order = o.text(GPTQ_KEY_ORDER);
  options.solver.order = order == "act" ? Order::act : order == "gar" ? Order::gar : Order::none;
  options.solver.static_groups =
      o.integer(GPTQ_KEY_STATIC_GROUPS) != 0 ? StaticGroups::yes : StaticGroups::no;
  options.solver.damp_percent = o.real(GPTQ_KEY_DAMP_PERCENT);
  options.solver.damp_auto_increment = o.real(GPTQ_KEY_DAMP_AUTO_INCREMENT);
  set_accuracy(o, options.solver);
  options.true_sequential =
      o.integer(GPTQ_KEY_TRUE_SEQUENTIAL) != 0 ? TrueSequential::yes : TrueSequential::no;
  options.calibration_samples = o.integer(GPTQ_KEY_CALIBRATION_SAMPLES);
  options.calibration_length = o.integer(GPTQ_KEY_CALIBRATION_LENGTH);
  options.calibration_packing = o.integer(GPTQ_KEY_CALIBRATION_PACKING) != 0 ? Packing::yes : Packing::no;
  const std::string calibration = o.text(GPTQ_KEY_CALIBRATION_FORMAT);
  options.calibration_format = calibration == "jsonl"  ? CalibrationFormat::jsonl
                               : calibration == "json" ? CalibrationFormat::json
                                                       : CalibrationFormat::text;
  if (o.has(GPTQ_KEY_SEED)) options.seed = static_cast<uint64_t>(o.integer(GPTQ_KEY_SEED));
  options.format = output_format(o);
  if (const std::string format = o.text(GPTQ_KEY_FORMAT); format == "dense" || format == "gguf") {
    throw Error(Status::invalid_argument,
                cat("option 'format' is '", format,
                    "', which is to convert to; wanted gptq, gptq_v2 or compressed_tensors"));
  }
  options.max_shard_bytes = static_cast<uint64_t>(o.integer(GPTQ_KEY_MAX_SHARD_SIZE));
  options.memory_limit = static_cast<uint64_t>(o.integer(GPTQ_KEY_MEMORY_LIMIT));
  options.lm_head = o.integer(GPTQ_KEY_LM_HEAD) != 0 ? QuantizeHead::yes : QuantizeHead::no;
  options.overrides = parse_dynamic(o.text(GPTQ_KEY_DYNAMIC));
  options.report = o.integer(GPTQ_KEY_REPORT) != 0 ? WriteReport::yes : WriteReport::no;
  options.overwrite = o.integer(GPTQ_KEY_OVERWRITE) != 0 ? Overwrite::yes : Overwrite::no;
  options.resume = resume_of(o.text(GPTQ_KEY_RESUME));
  options.named = named_options(o);
  return options;
}

Progress progress_of(const gptq_options* given) {
  if (given == nullptr || given->progress == nullptr) return [](int64_t, int64_t, const std::string&) {};
  return [callback = given->progress, data = given->progress_data](int64_t done, int64_t total,
                                                                   const std::string& stage) {
    if (callback(data, done, total, stage.c_str()) != 0) {
      throw Error(Status::cancelled, "the progress callback asked to stop");
    }
  };
}

}  // namespace gptq::api
