// See tokenizer_config.h.
#include "text/tokenizer_config.h"

#include "base/folder.h"
#include "base/json.h"

namespace gptq {

namespace {

constexpr size_t kLargestConfig = size_t{64} << 20;

/// "<s>" or {"content": "<s>", ...}
std::optional<std::string> token_string(const JsonObject& object, std::string_view key) {
  const Json* value = object.find({key});
  if (value == nullptr) return std::nullopt;
  if (value->is_string()) return value->get<std::string>();
  if (value->is_object()) return object.object({key})->string({"content"});
  object.refuse(Fault::format, key, "a string, or an object with \"content\"");
}

std::optional<bool> flag(const JsonObject& object, std::string_view key) {
  if (!object.has({key})) return std::nullopt;
  return object.boolean_or({key}, false);
}

/// What an earlier file said counts.
void add(TokenizerConfig& config, const std::string& text, const std::string& name) {
  const JsonDocument json = parse_json(text, name);
  const JsonObject object(json, name);
  if (!config.bos_token) config.bos_token = token_string(object, "bos_token");
  if (!config.eos_token) config.eos_token = token_string(object, "eos_token");
  if (!config.add_bos_token) config.add_bos_token = flag(object, "add_bos_token");
  if (!config.add_eos_token) config.add_eos_token = flag(object, "add_eos_token");
}

}  // namespace

TokenizerConfig parse_tokenizer_config(const std::string& text, const std::string& name) {
  TokenizerConfig config;
  add(config, text, name);
  return config;
}

TokenizerConfig read_tokenizer_config(const fs::path& folder) {
  TokenizerConfig config;
  for (const char* name : {"tokenizer_config.json", "special_tokens_map.json"}) {
    const fs::path path = join(folder, name);
    if (file_exists(path)) add(config, read_text_file(path, kLargestConfig), name);
  }
  return config;
}

}  // namespace gptq
