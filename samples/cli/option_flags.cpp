// The table of flags, and messages in its words.
#include "option_flags.h"

#include <gptq.h>

namespace cli {
namespace {

struct OptionFlag {
  std::string_view key, flag;
  std::string_view value{};  // that the flag stands for; empty: it takes one
};

constexpr OptionFlag kFlags[] = {
    {GPTQ_KEY_DEVICE, "--device"},
    {GPTQ_KEY_LAYER_SPLIT, "--layer-split"},
    {GPTQ_KEY_THREADS, "--threads"},
    {GPTQ_KEY_COMPUTE, "--compute"},
    {GPTQ_KEY_HEAD_BITS, "--head-bits"},
    {GPTQ_KEY_KV_CACHE, "--kv-cache"},
    {GPTQ_KEY_MAX_TOKENS, "--max-tokens"},
    {GPTQ_KEY_TEMPERATURE, "--temperature"},
    {GPTQ_KEY_TOP_K, "--top-k"},
    {GPTQ_KEY_TOP_P, "--top-p"},
    {GPTQ_KEY_MIN_P, "--min-p"},
    {GPTQ_KEY_REPETITION_PENALTY, "--repetition-penalty"},
    {GPTQ_KEY_SEED, "--seed"},
    {GPTQ_KEY_IGNORE_EOS, "--ignore-eos", "1"},
    {GPTQ_KEY_STOP, "--stop"},
    {GPTQ_KEY_BITS, "--bits"},
    {GPTQ_KEY_GROUP_SIZE, "--group-size"},
    {GPTQ_KEY_SYM, "--sym", "1"},
    {GPTQ_KEY_SYM, "--asym", "0"},
    {GPTQ_KEY_ORDER, "--order"},
    {GPTQ_KEY_STATIC_GROUPS, "--static-groups", "1"},
    {GPTQ_KEY_DAMP_PERCENT, "--damp"},
    {GPTQ_KEY_RANGE, "--range"},
    {GPTQ_KEY_MSE_NORM, "--mse-norm"},
    {GPTQ_KEY_TARGET, "--target"},
    {GPTQ_KEY_TARGET_ALPHA, "--target-alpha"},
    {GPTQ_KEY_RESIDUAL_ALPHA, "--residual-alpha"},
    {GPTQ_KEY_SWEEPS, "--sweeps"},
    {GPTQ_KEY_REFIT, "--refit"},
    {GPTQ_KEY_COMPAT, "--compat"},
    {GPTQ_KEY_TRUE_SEQUENTIAL, "--true-sequential", "1"},
    {GPTQ_KEY_TRUE_SEQUENTIAL, "--no-true-sequential", "0"},
    {GPTQ_KEY_CALIBRATION_SAMPLES, "--samples"},
    {GPTQ_KEY_CALIBRATION_LENGTH, "--seq-len"},
    {GPTQ_KEY_CALIBRATION_PACKING, "--packing", "1"},
    {GPTQ_KEY_CALIBRATION_PACKING, "--no-packing", "0"},
    {GPTQ_KEY_CALIBRATION_FORMAT, "--calibration-format"},
    {GPTQ_KEY_FORMAT, "--format"},
    {GPTQ_KEY_DTYPE, "--dtype"},
    {GPTQ_KEY_GGUF_TYPE, "--type"},
    {GPTQ_KEY_MAX_SHARD_SIZE, "--max-shard-size"},
    {GPTQ_KEY_MEMORY_LIMIT, "--memory-limit"},
    {GPTQ_KEY_LM_HEAD, "--lm-head", "1"},
    {GPTQ_KEY_DYNAMIC, "--dynamic"},
    {GPTQ_KEY_REPORT, "--report", "1"},
    {GPTQ_KEY_REPORT, "--no-report", "0"},
    {GPTQ_KEY_OVERWRITE, "--overwrite", "1"},
    {GPTQ_KEY_RESUME, "--restart", "restart"},
    {GPTQ_KEY_RESUME, "--no-resume", "never"},
};

bool take(std::string_view& text, std::string_view start) {
  if (!text.starts_with(start)) return false;
  text.remove_prefix(start.size());
  return true;
}

/// Up to what can't be part of a value.
std::string_view value_at(std::string_view text) { return text.substr(0, text.find_first_of(" ,;:'\"")); }

std::string flag_with(std::string_view key, std::string_view value) {
  for (const OptionFlag& option : kFlags) {
    if (option.key == key && option.value == value) return std::string(option.flag);
  }
  const std::string_view flag = flag_of(key);
  return flag.empty() ? "" : std::string(flag) + " " + std::string(value);
}

}  // namespace

std::string_view flag_of(std::string_view key) {
  for (const OptionFlag& option : kFlags) {
    if (option.key == key) return option.flag;
  }
  return "";
}

std::string in_flags(std::string_view message) {
  constexpr std::string_view kOption = "option '";
  std::string result;
  while (!message.empty()) {
    const size_t at = message.find(kOption);
    result += message.substr(0, at);
    if (at == std::string_view::npos) break;
    message.remove_prefix(at);
    std::string_view rest = message.substr(kOption.size());
    const std::string_view key = rest.substr(0, rest.find('\''));
    std::string flag(flag_of(key));
    rest.remove_prefix(key.size());
    if (flag.empty() || !take(rest, "'")) {  // not one of the tool's
      result += kOption;
      message.remove_prefix(kOption.size());
      continue;
    }
    if (take(rest, " = ")) {
      const std::string_view value = value_at(rest);
      flag = flag_with(key, value);
      rest.remove_prefix(value.size());
    }
    result += flag;
    message = rest;
  }
  return result;
}

}  // namespace cli
