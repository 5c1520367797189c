// See utf8.h.
#include "text/utf8.h"

#include <algorithm>

#include "base/text.h"

namespace gptq {

namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

/// How many bytes at the start of `bytes` belong to one sequence that may still become well-formed: 0 if the
/// first byte can't start one. Called where utf8_length() is 0.
size_t plausible_prefix(std::string_view bytes) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned lead = byte(0);
  if (lead < 0xC2 || lead > 0xF4) return 0;
  const size_t length = utf8_sequence_length(bytes[0]);
  if (bytes.size() < 2) return 1;
  const unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (byte(1) < low || byte(1) > high) return 1;
  size_t n = 2;
  while (n < length && n < bytes.size() && (byte(n) & 0xC0) == 0x80) ++n;
  return n;
}

}  // namespace

char32_t next_code_point(std::string_view text, size_t& position) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[position + i]); };
  const char32_t lead = byte(0);
  const size_t length = utf8_sequence_length(text[position]);
  char32_t c = lead;
  if (length == 2) c = (lead & 0x1Fu) << 6 | (byte(1) & 0x3Fu);
  if (length == 3) c = (lead & 0x0Fu) << 12 | (byte(1) & 0x3Fu) << 6 | (byte(2) & 0x3Fu);
  if (length == 4) {
    c = (lead & 0x07u) << 18 | (byte(1) & 0x3Fu) << 12 | (byte(2) & 0x3Fu) << 6 | (byte(3) & 0x3Fu);
  }
  position += length;
  return c;
}

char32_t previous_code_point(std::string_view text, size_t& end) {
  do --end;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80);
  size_t position = end;
  return next_code_point(text, position);
}

void append_utf8(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
    return;
  }
  if (c < 0x800) {
    out += static_cast<char>(0xC0 | c >> 6);
  } else {
    if (c < 0x10000) {
      out += static_cast<char>(0xE0 | c >> 12);
    } else {
      out += static_cast<char>(0xF0 | c >> 18);
      out += static_cast<char>(0x80 | (c >> 12 & 0x3F));
    }
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
  }
  out += static_cast<char>(0x80 | (c & 0x3F));
}

void Utf8Repairer::push(std::string_view bytes, std::string& out) {
  while (!pending_.empty() && !bytes.empty()) {
    pending_ += bytes[0];
    if (utf8_length(pending_) != 0) {
      out += pending_;
      pending_.clear();
    } else if (plausible_prefix(pending_) != pending_.size()) {
      out += kReplacement;  // the new byte starts something else: it is looked at again below
      pending_.clear();
      break;
    }
    bytes.remove_prefix(1);
  }
  while (!bytes.empty()) {
    size_t good = 0;
    while (good < bytes.size()) {
      const size_t n = utf8_length(bytes.substr(good, 4));
      if (n == 0) break;
      good += n;
    }
    out += bytes.substr(0, good);
    bytes.remove_prefix(good);
    if (bytes.empty()) return;
    const size_t bad = plausible_prefix(bytes);
    if (bad == bytes.size()) {
      pending_ = bytes;
      return;
    }
    out += kReplacement;
    bytes.remove_prefix(std::max<size_t>(bad, 1));
  }
}

void Utf8Repairer::finish(std::string& out) {
  if (!pending_.empty()) out += kReplacement;
  pending_.clear();
}

std::string repaired_utf8(std::string_view bytes) {
  std::string out;
  Utf8Repairer repairer;
  repairer.push(bytes, out);
  repairer.finish(out);
  return out;
}

}  // namespace gptq
