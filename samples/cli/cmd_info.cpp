// gptq info: what a model folder holds.
#include <algorithm>
#include <memory>

#include "command.h"

namespace cli {
namespace {

void run(const Common& common) {
  const Model model = load_model(common, common.model, Weights::leave);
  const char* family = nullptr;  // a folder may have none; one that is not known is worth an error here
  const gptq_status known = gptq_model_get_string(model.get(), "family", &family);
  if (known == GPTQ_ERROR_UNSUPPORTED) check(known);
  const auto buffer = make<Buffer>(gptq_model_metadata_json, static_cast<const gptq_model*>(model.get()));
  Json metadata = Json::parse(text_of(buffer));
  // what only the weights tell
  for (const char* key : {"parameters", "weight_bytes", "weight_bytes_per_token", "layer_split"})
    metadata.erase(key);
  metadata["folder_bytes"] = folder_bytes(common.model);
  if (common.json) {
    put_json(metadata);
    return;
  }
  size_t width = 0;
  for (const auto& [key, value] : metadata.items()) width = std::max(width, key.size());
  for (const auto& [key, value] : metadata.items()) {
    const std::string shown = value.is_string() ? value.get<std::string>() : value.dump();
    put(key + std::string(width + 2 - key.size(), ' ') + shown + "\n");
  }
  flush_output();
}

}  // namespace

void add_info(CLI::App& app) {
  auto common = std::make_shared<Common>();
  Command command(app, "info", "Print what a model folder holds, without loading its weights.",
                  {"gptq info Llama-3.2-1B-gptq", "gptq info Llama-3.2-1B-gptq --json"});
  common->add_to(command, "Model folder, quantized or not", Common::Computes::yes);
  command.run([common] { run(*common); });
}

}  // namespace cli
