// libFuzzer: a tokenizer.json, a zero byte, and a text that it encodes, decodes and streams.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/text.h"
#include "text/sentencepiece.h"
#include "text/tokenizer_json.h"

namespace {

using namespace gptq;

void use(const std::shared_ptr<const Tokenizer>& tokenizer, std::string_view text) {
  for (ParseSpecial parse : {ParseSpecial::no, ParseSpecial::yes}) {
    const auto ids = tokenizer->encode(text, AddSpecial::yes, parse);
    for (SkipSpecial skip : {SkipSpecial::no, SkipSpecial::yes}) {
      const std::string whole = tokenizer->decode(ids, skip);
      StreamDecoder stream(tokenizer, skip);
      std::string pieces;
      for (int32_t id : ids) {
        const std::string piece = stream.push(id);
        if (!is_utf8(piece)) std::abort();
        pieces += piece;
      }
      pieces += stream.finish();
      if (pieces != whole || !is_utf8(whole)) std::abort();
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t end = input.find('\0');
  const std::string_view text =
      end == std::string_view::npos ? std::string_view("Hello  w\xC3\xB6rld") : input.substr(end + 1);
  try {
    if (input.starts_with("{")) {
      use(load_tokenizer_json(input.substr(0, end), "tokenizer.json"), text);
    } else {
      use(load_sentencepiece(input, "tokenizer.model"), "Hello  w\xC3\xB6rld <s> \xE2\x96\x81x");
    }
  } catch (const Error&) {
    // refused, as it may be
  }
  return 0;
}
