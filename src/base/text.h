// Small helpers to build messages and to guess what a user meant.
#pragma once

#include <charconv>
#include <concepts>
#include <span>
#include <string>
#include <string_view>

namespace gptq {

inline void append_text(std::string& out, std::string_view s) { out += s; }
inline void append_text(std::string& out, char c) { out += c; }

/// Numbers in the "C" form, whatever the host's locale.
template <class T>
requires std::integral<T> || std::floating_point<T>
void append_text(std::string& out, T value) {
  char buffer[64];
  auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  out.append(buffer, end);
}

/// cat("layer ", 3, ": ", 0.5) -> "layer 3: 0.5"
template <class... Parts>
std::string cat(const Parts&... parts) {
  std::string out;
  (append_text(out, parts), ...);
  return out;
}

/// Text of unknown origin made safe for a message: in single quotes, control bytes and invalid UTF-8 as
/// \xNN, cut at `max_bytes` with "...".
std::string quoted(std::string_view text, size_t max_bytes = 80);
// exact matches: without them std::quoted would be found through the namespace of std::string
inline std::string quoted(const std::string& text, size_t max_bytes = 80) {
  return quoted(std::string_view(text), max_bytes);
}
inline std::string quoted(std::string& text, size_t max_bytes = 80) {
  return quoted(std::string_view(text), max_bytes);
}
inline std::string quoted(const char* text, size_t max_bytes = 80) {
  return quoted(std::string_view(text), max_bytes);
}

/// "[2, 3, 4]"
std::string shape_text(std::span<const int64_t> shape);

/// The candidate with the least edit distance to `word`; empty when none is near.
std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates);
/// "; the nearest is 'temperature'", to end a message about an unknown word; empty when none is near.
std::string nearest_hint(std::string_view word, std::span<const std::string_view> candidates);

/// Length of the well-formed UTF-8 sequence at the start of `text`; 0 if it is ill-formed or cut short.
size_t utf8_length(std::string_view text);
bool is_utf8(std::string_view text);

}  // namespace gptq
