// libFuzzer: a template, a zero byte, and its variables in JSON.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "base/text.h"
#include "text/template.h"
#include "text/template_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace gptq;
  constexpr std::string_view kVariables =
      R"({"messages": [{"role": "user", "content": "a <b> é"}, {"role": "assistant", "content": null}],
          "tools": [{"f": {"x": [1, 2.5, true]}}], "bos_token": "<s>", "add_generation_prompt": true})";
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t end = input.find('\0');
  try {
    const jinja::Template source(input.substr(0, end), "t");
    const auto variables =
        jinja::parse_value(end == std::string_view::npos ? kVariables : input.substr(end + 1), "v");
    if (!is_utf8(source.render(variables, {}))) std::abort();
  } catch (const Error&) {
    // refused, as it may be
  }
  return 0;
}
