#include "text/stop_strings.h"

#include <algorithm>
#include <utility>

namespace gptq {
namespace {

/// Bytes at the end of `text` that `string` begins with, but not all of it.
size_t begun(std::string_view text, std::string_view string) {
  size_t size = std::min(text.size(), string.size() - 1);
  while (size > 0 && !text.ends_with(string.substr(0, size))) --size;
  return size;
}

}  // namespace

StopStrings::Seen StopStrings::look(std::string_view piece, More more) const {
  Seen seen{.text = held_ + std::string(piece)};
  size_t first = 0, complete = std::string::npos, held = 0;
  for (const std::string& string : strings_) {
    held = std::max(held, begun(seen.text, string));
    const size_t at = seen.text.find(string);
    if (at == std::string::npos || std::pair(at + string.size(), at) >= std::pair(complete, first)) continue;
    first = at;
    complete = at + string.size();
  }
  seen.stopped = complete != std::string::npos;
  const size_t end = seen.stopped ? first : seen.text.size() - (more == More::ends ? 0 : held);
  if (!seen.stopped) seen.held = seen.text.substr(end);
  seen.text.resize(end);
  return seen;
}

}  // namespace gptq
