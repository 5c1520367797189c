// See decode_stages.h.
#include "text/decode_stages.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "text/byte_level.h"
#include "text/byte_token.h"

namespace gptq {

namespace {

/// An empty `what` is found nowhere.
std::string replaced(std::string_view text, std::string_view what, std::string_view by) {
  std::string out;
  for (size_t at; !what.empty() && (at = text.find(what)) != std::string_view::npos;) {
    out += text.substr(0, at);
    out += by;
    text.remove_prefix(at + what.size());
  }
  out += text;
  return out;
}

}  // namespace

void CollectStage::finish() {
  next_.push(text_, TokenPart::begin);
  next_.finish();
}

void FuseStage::push(std::string_view text, TokenPart) {
  next_.push(text, std::exchange(part_, TokenPart::more));
}

void JoinStage::push(std::string_view text, TokenPart part) {
  const bool first = std::exchange(first_, false);
  if (!first && part == TokenPart::begin) next_.push(" ", TokenPart::more);
  next_.push(text, first ? TokenPart::begin : TokenPart::more);
}

void ByteLevelStage::push(std::string_view text, TokenPart) {
  std::string bytes, out;
  if (!from_byte_level(text, bytes)) bytes = text;
  repairer_.push(bytes, out);
  give(out);
}

void ByteLevelStage::finish() {
  std::string out;
  repairer_.finish(out);
  give(out);
  next_.finish();
}

void ByteLevelStage::give(const std::string& text) {
  if (!text.empty()) next_.push(text, std::exchange(part_, TokenPart::more));
}

void ByteFallbackStage::push(std::string_view text, TokenPart) {
  const int byte = byte_of_token(text);
  if (byte >= 0) {
    bytes_ += static_cast<char>(byte);
    return;
  }
  flush();
  next_.push(text, TokenPart::begin);
}

void ByteFallbackStage::finish() {
  flush();
  next_.finish();
}

void ByteFallbackStage::flush() {
  if (bytes_.empty()) return;
  const std::string bytes = std::exchange(bytes_, {});
  if (is_utf8(bytes)) {
    next_.push(bytes, TokenPart::begin);
    return;
  }
  for (size_t i = 0; i < bytes.size(); ++i) next_.push("\xEF\xBF\xBD", TokenPart::begin);
}

void ReplaceStage::push(std::string_view text, TokenPart part) {
  std::string out;
  size_t done = 0, begin = 0, end = 0;
  RegexMatches matches(*pattern_, matcher_, text);
  while (!text.empty() && matches.next(&begin, &end)) {
    out += text.substr(done, begin - done);
    out += content_;
    done = end;
  }
  out += text.substr(done);
  next_.push(out, part);
}

void StripStage::push(std::string_view text, TokenPart part) {
  if (part == TokenPart::begin) {  // what the last token ended with is gone
    left_ = start_;
    kept_ = 0;
  }
  while (left_ > 0 && text.starts_with(content_)) {
    text.remove_prefix(content_.size());
    --left_;
  }
  if (text.empty()) return next_.push({}, part);
  left_ = 0;
  size_t tail = 0;
  while (tail < stop_ && text.ends_with(content_)) {
    text.remove_suffix(content_.size());
    ++tail;
  }
  // a text of nothing else lengthens the tail that is kept: only what exceeds `stop_` goes on
  const size_t given = text.empty() ? (kept_ + tail > stop_ ? kept_ + tail - stop_ : 0) : kept_;
  std::string out;
  for (size_t i = 0; i < given; ++i) out += content_;
  out += text;
  kept_ = text.empty() ? kept_ + tail - given : tail;
  next_.push(out, part);
}

void BpeStage::push(std::string_view text, TokenPart) {
  if (std::exchange(any_, true)) give(" ");
  kept_ = text;
}

void BpeStage::finish() {
  if (any_) give("");
  next_.finish();
}

void BpeStage::give(std::string_view by) { next_.push(replaced(kept_, suffix_, by), TokenPart::begin); }

void WordPieceStage::push(std::string_view text, TokenPart) {
  std::string out(text);
  if (!std::exchange(first_, false)) {
    if (text.starts_with(prefix_)) {
      out.erase(0, prefix_.size());
    } else {
      out.insert(0, " ");
    }
  }
  static constexpr std::pair<std::string_view, std::string_view> kCleanups[] = {
      {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
      {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [what, by] : kCleanups) {
    if (cleanup_) out = replaced(out, what, by);
  }
  next_.push(out, TokenPart::begin);
}

void MetaspaceStage::push(std::string_view text, TokenPart part) {
  if (part == TokenPart::begin && tokens_ < 2) ++tokens_;
  const std::string_view by = tokens_ == 1 && scheme_ != PrependScheme::never ? "" : " ";
  next_.push(replaced(text, replacement_, by), part);
}

}  // namespace gptq
