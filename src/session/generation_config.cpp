#include "session/generation_config.h"

#include "base/folder.h"
#include "base/json.h"
#include "base/json_writer.h"
#include "model/spec.h"

namespace gptq {
namespace {

constexpr const char* kName = "generation_config.json";

}  // namespace

std::string generation_defaults(const fs::path& folder) {
  JsonWriter out;
  out.begin_object();
  if (const fs::path path = join(folder, kName); file_exists(path)) {
    const JsonDocument json = parse_json(read_text_file(path, kMaxConfigBytes), kName);
    const JsonObject config(json, kName);
    if (config.boolean_or({"do_sample"}, false)) {
      out.member("temperature", config.number_or({"temperature"}, 0, 1e6, 1.0));
      out.member("top_k", config.integer_or({"top_k"}, 0, INT32_MAX, 50));
      const double top_p = config.number_or({"top_p"}, 0, 1, 1.0);
      if (top_p > 0 && top_p < 1) out.member("top_p", top_p);
      const double min_p = config.number_or({"min_p"}, 0, 1, 0.0);
      if (min_p > 0) out.member("min_p", min_p);
    }
    const double penalty = config.number_or({"repetition_penalty"}, 0, 1e6, 1.0);
    if (penalty > 0 && penalty != 1) out.member("repetition_penalty", penalty);
  }
  out.end_object();
  return out.take();
}

}  // namespace gptq
