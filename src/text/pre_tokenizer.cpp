// See pre_tokenizer.h.
#include "text/pre_tokenizer.h"

#include <optional>

#include "base/json.h"
#include "base/text.h"
#include "text/byte_level.h"
#include "text/component.h"
#include "text/split.h"
#include "text/unicode.h"
#include "text/unicode_scripts.h"
#include "text/utf8.h"

namespace gptq {

namespace {

constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

const std::string& keep(EncodeScratch& scratch, std::string text) {
  return scratch.texts.emplace_back(std::move(text));
}

/// Matches of a regular expression, and what is between them.
std::vector<Span> spans_of(const Regex& regex, std::string_view text, RegexMatcher& matcher) {
  std::vector<Span> spans;
  size_t done = 0, begin = 0, end = 0;
  RegexMatches matches(regex, matcher, text);
  while (matches.next(&begin, &end)) {
    if (begin != done) spans.push_back({done, begin, false});
    spans.push_back({begin, end, true});
    done = end;
  }
  if (done != text.size()) spans.push_back({done, text.size(), false});
  return spans;
}

/// Characters of a class, one by one, and what is between them.
template <class Predicate>
std::vector<Span> character_spans(std::string_view text, const Predicate& in_class) {
  std::vector<Span> spans;
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    if (!in_class(next_code_point(text, at))) continue;
    if (begin != done) spans.push_back({done, begin, false});
    spans.push_back({begin, at, true});
    done = at;
  }
  if (done != text.size()) spans.push_back({done, text.size(), false});
  return spans;
}

void isolate_matches(const Regex& regex, const Piece& piece, std::vector<Piece>& out, RegexMatcher& matcher) {
  size_t done = 0, begin = 0, end = 0;
  RegexMatches matches(regex, matcher, piece.text);
  while (matches.next(&begin, &end)) {
    if (begin != done) out.push_back(sub_piece(piece, done, begin));
    if (begin != end) out.push_back(sub_piece(piece, begin, end));
    done = end;
  }
  if (done != piece.text.size()) out.push_back(sub_piece(piece, done, piece.text.size()));
}

class SplitPreTokenizer : public PreTokenizer {
 public:
  SplitPreTokenizer(Regex pattern, SplitBehavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}

  void split(const Piece& piece, std::vector<Piece>& out, EncodeScratch& scratch) const override {
    if (behavior_ == SplitBehavior::isolated) return isolate_matches(pattern_, piece, out, scratch.matcher);
    auto spans = spans_of(pattern_, piece.text, scratch.matcher);
    if (invert_) {
      for (Span& span : spans) span.match = !span.match;
    }
    split_piece(piece, spans, behavior_, out);
  }

 private:
  Regex pattern_;
  SplitBehavior behavior_;
  bool invert_;
};

class ByteLevelPreTokenizer : public PreTokenizer {
 public:
  ByteLevelPreTokenizer(bool add_prefix_space, bool use_regex, std::string where)
      : add_prefix_space_(add_prefix_space) {
    if (use_regex) pattern_.emplace(kGpt2Pattern, PatternKind::regex, std::move(where));
  }
  /// The model maps bytes to characters itself.
  void leave_bytes() { map_ = false; }

  void split(const Piece& piece, std::vector<Piece>& out, EncodeScratch& scratch) const override {
    Piece whole = piece;
    if (add_prefix_space_ && whole.text.front() != ' ') whole.text = keep(scratch, cat(' ', whole.text));
    const size_t first = out.size();
    if (pattern_) {
      isolate_matches(*pattern_, whole, out, scratch.matcher);
    } else {
      out.push_back(whole);
    }
    for (size_t i = first; map_ && i < out.size(); ++i) {
      std::string mapped;
      append_byte_level(mapped, out[i].text);
      out[i].text = keep(scratch, std::move(mapped));
    }
  }

 private:
  bool add_prefix_space_;
  bool map_ = true;
  std::optional<Regex> pattern_;
};

class MetaspacePreTokenizer : public PreTokenizer {
 public:
  MetaspacePreTokenizer(std::string replacement, PrependScheme scheme, bool split)
      : replacement_(std::move(replacement)), scheme_(scheme), split_(split) {}

  void split(const Piece& piece, std::vector<Piece>& out, EncodeScratch& scratch) const override {
    std::string text;
    text.reserve(piece.text.size() * 3 / 2 + replacement_.size());
    for (char c : piece.text) {
      if (c == ' ') {
        text += replacement_;
      } else {
        text += c;
      }
    }
    const bool prepend = scheme_ == PrependScheme::always ||
                         (scheme_ == PrependScheme::first && piece.at_start == AtStart::yes);
    if (prepend && !text.starts_with(replacement_)) text.insert(0, replacement_);
    const Piece whole = {keep(scratch, std::move(text)), piece.at_start};
    if (!split_) {
      out.push_back(whole);
      return;
    }
    std::vector<Span> spans;
    size_t done = 0;
    for (size_t at; (at = whole.text.find(replacement_, done)) != std::string_view::npos;
         done = at + replacement_.size()) {
      if (at != done) spans.push_back({done, at, false});
      spans.push_back({at, at + replacement_.size(), true});
    }
    if (done != whole.text.size()) spans.push_back({done, whole.text.size(), false});
    split_piece(whole, spans, SplitBehavior::merged_with_next, out);
  }

 private:
  std::string replacement_;
  PrependScheme scheme_;
  bool split_;
};

using InClass = bool (*)(char32_t);

class CharacterPreTokenizer : public PreTokenizer {
 public:
  CharacterPreTokenizer(InClass in_class, SplitBehavior behavior)
      : in_class_(in_class), behavior_(behavior) {}

  void split(const Piece& piece, std::vector<Piece>& out, EncodeScratch&) const override {
    split_piece(piece, character_spans(piece.text, in_class_), behavior_, out);
  }

 private:
  InClass in_class_;
  SplitBehavior behavior_;
};

/// Runs of word characters, and runs of what is neither word nor space.
class WhitespacePreTokenizer : public PreTokenizer {
 public:
  void split(const Piece& piece, std::vector<Piece>& out, EncodeScratch&) const override {
    enum class Kind { space, word, other };
    size_t run = 0;
    Kind run_kind = Kind::space;
    for (size_t at = 0; at < piece.text.size();) {
      const size_t begin = at;
      const char32_t c = next_code_point(piece.text, at);
      const Kind kind = is_word(c) ? Kind::word : is_white_space(c) ? Kind::space : Kind::other;
      if (kind == run_kind) continue;
      if (run_kind != Kind::space) out.push_back(sub_piece(piece, run, begin));
      run = begin;
      run_kind = kind;
    }
    if (run_kind != Kind::space) out.push_back(sub_piece(piece, run, piece.text.size()));
  }
};

/// Pieces of so many characters.
class FixedLengthPreTokenizer : public PreTokenizer {
 public:
  explicit FixedLengthPreTokenizer(size_t length) : length_(length) {}

  void split(const Piece& piece, std::vector<Piece>& out, EncodeScratch&) const override {
    size_t begin = 0, count = 0;
    for (size_t at = 0; at < piece.text.size();) {
      at += utf8_sequence_length(piece.text[at]);
      if (++count < length_ && at < piece.text.size()) continue;
      out.push_back(sub_piece(piece, begin, at));
      begin = at;
      count = 0;
    }
  }

 private:
  size_t length_;
};

SplitBehavior read_behavior(const JsonObject& node, std::string_view otherwise) {
  const std::string name =
      otherwise.empty() ? node.string({"behavior"}) : node.string_or({"behavior"}, otherwise);
  if (name == "Isolated") return SplitBehavior::isolated;
  if (name == "Removed") return SplitBehavior::removed;
  if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
  if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
  if (name == "Contiguous") return SplitBehavior::contiguous;
  node.refuse(Fault::format, "behavior",
              "'Isolated', 'Removed', 'MergedWithPrevious', 'MergedWithNext' or 'Contiguous'");
}

std::unique_ptr<const PreTokenizer> split_spaces() {
  return std::make_unique<CharacterPreTokenizer>(is_white_space, SplitBehavior::removed);
}

std::unique_ptr<const PreTokenizer> isolate_punctuation() {
  return std::make_unique<CharacterPreTokenizer>(is_punctuation, SplitBehavior::isolated);
}

std::unique_ptr<const PreTokenizer> read_one(const JsonObject& node, const std::string& type) {
  if (type == "Split") {
    const SplitBehavior behavior = read_behavior(node, {});
    return std::make_unique<SplitPreTokenizer>(read_pattern(node), behavior,
                                               node.boolean_or({"invert"}, false));
  }
  if (type == "Metaspace") {
    // "str_rep" in older files repeats "replacement"
    return std::make_unique<MetaspacePreTokenizer>(read_character(node, "replacement", "\xE2\x96\x81"),
                                                   read_prepend_scheme(node),
                                                   node.boolean_or({"split"}, true));
  }
  if (type == "Digits") {
    const bool single = node.boolean_or({"individual_digits"}, false);
    return std::make_unique<CharacterPreTokenizer>(
        is_number, single ? SplitBehavior::isolated : SplitBehavior::contiguous);
  }
  if (type == "Punctuation")
    return std::make_unique<CharacterPreTokenizer>(is_punctuation, read_behavior(node, "Isolated"));
  if (type == "WhitespaceSplit") return split_spaces();
  if (type == "CharDelimiterSplit") {
    return std::make_unique<SplitPreTokenizer>(
        Regex(read_character(node, "delimiter", {}), PatternKind::literal, node.name()),
        SplitBehavior::removed, false);
  }
  if (type == "UnicodeScripts") {  // what lies between the runs goes
    return std::make_unique<SplitPreTokenizer>(Regex(script_runs_pattern(), PatternKind::regex, node.name()),
                                               SplitBehavior::removed, true);
  }
  if (type == "FixedLength") {
    constexpr int64_t kLongest = 1 << 20;
    return std::make_unique<FixedLengthPreTokenizer>(
        static_cast<size_t>(node.integer_or({"length"}, 1, kLongest, 5)));
  }
  if (type == "Whitespace") return std::make_unique<WhitespacePreTokenizer>();
  refuse_component(node, type);
}

}  // namespace

PreTokenizers read_pre_tokenizers(const Json& json, const std::string& where) {
  PreTokenizers out;
  ByteLevelPreTokenizer* last_byte_level = nullptr;
  for_each_component(json, where, "pretokenizers", [&](const JsonObject& node, const std::string& type) {
    last_byte_level = nullptr;
    if (type == "ByteLevel") {
      auto step = std::make_unique<ByteLevelPreTokenizer>(node.boolean_or({"add_prefix_space"}, true),
                                                          node.boolean_or({"use_regex"}, true), node.name());
      last_byte_level = step.get();
      out.steps.push_back(std::move(step));
    } else {
      const bool bert = type == "BertPreTokenizer";
      if (bert) out.steps.push_back(split_spaces());
      out.steps.push_back(bert ? isolate_punctuation() : read_one(node, type));
    }
  });
  if (last_byte_level != nullptr) {
    last_byte_level->leave_bytes();
    out.model_input = ModelInput::bytes;
  }
  return out;
}

}  // namespace gptq
