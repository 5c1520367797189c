// config.json, as a whole: any bytes give a Spec or an Error, never anything else.
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "model/rope.h"
#include "model/spec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const gptq::Spec spec = gptq::read_spec(gptq::parse_json(text, "config.json"), "config.json");
    for (const gptq::RopeSpec& one : spec.ropes) {
      if (one.dim > 4096) continue;
      gptq::Rope rope(one);
      const gptq::Row row{.sequence = 0, .position = 100};
      const int64_t length = 101;
      rope.rows({&row, 1}, {&length, 1});
    }
  } catch (const gptq::Error&) {
  }
  return 0;
}
