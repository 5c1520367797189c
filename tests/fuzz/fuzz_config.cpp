// Any text as config.json, quantize_config.json and index: refused with an Error, or a configuration in its limits.
#include <cstdlib>

#include "base/error.h"
#include "base/json.h"
#include "format/quant_config_parse.h"
#include "format/shard_index.h"

namespace {

using Kind = gptq::QuantConfigText::Kind;

void read_config(std::string_view text) {
  const gptq::QuantConfigText files[] = {{"quantize_config.json", std::string(text), Kind::own_file},
                                         {"config.json", std::string(text), Kind::model_config}};
  for (size_t first : {0, 1}) {
    try {
      const auto config = gptq::merge_quant_configs(std::span(files).subspan(first));
      if (!config) continue;
      const bool bits = config->bits == 2 || config->bits == 3 || config->bits == 4 || config->bits == 8;
      if (!bits || config->group_size == 0 || config->group_size < -1) std::abort();
      // what is printed reads as the same
      const auto written = gptq::write_quant_config(*config, {.quantizer = "fuzz"});
      if (gptq::parse_quant_config(gptq::parse_json(written, "w"), "w").bits != config->bits) std::abort();
    } catch (const gptq::Error&) {
    }
  }
}

void read_json_twice(std::string_view text) {
  try {
    const auto printed = gptq::print_json(gptq::parse_json(text, "fuzz"));
    if (gptq::print_json(gptq::parse_json(printed, "printed")) != printed) std::abort();
  } catch (const gptq::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  read_config(text);
  read_json_twice(text);
  try {
    for (const std::string& name : gptq::parse_shard_index(text, "index").files) {
      if (name.empty() || name.find('/') != std::string::npos) std::abort();
    }
  } catch (const gptq::Error&) {
  }
  return 0;
}
