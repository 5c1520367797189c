// See normalizer.h.
#include "text/normalizer.h"

#include "base/json.h"
#include "base/text.h"
#include "text/base64.h"
#include "text/byte_level.h"
#include "text/charsmap.h"
#include "text/component.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace gptq {

namespace {

class NormalFormNormalizer : public Normalizer {
 public:
  explicit NormalFormNormalizer(NormalForm form) : form_(form) {}
  void apply(std::string& text, EncodeScratch&) const override { text = normal_form(text, form_); }

 private:
  NormalForm form_;
};

class LowercaseNormalizer : public Normalizer {
 public:
  void apply(std::string& text, EncodeScratch&) const override { text = lower_case(text); }
};

class PrependNormalizer : public Normalizer {
 public:
  explicit PrependNormalizer(std::string prefix) : prefix_(std::move(prefix)) {}
  void apply(std::string& text, EncodeScratch&) const override {
    if (!text.empty()) text.insert(0, prefix_);
  }

 private:
  std::string prefix_;
};

class ReplaceNormalizer : public Normalizer {
 public:
  ReplaceNormalizer(Regex pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}

  void apply(std::string& text, EncodeScratch& scratch) const override {
    if (text.empty()) return;
    std::string out;
    out.reserve(text.size() + text.size() / 2);
    size_t done = 0, begin = 0, end = 0;
    RegexMatches matches(pattern_, scratch.matcher, text);
    while (matches.next(&begin, &end)) {
      out.append(text, done, begin - done);
      out += content_;
      done = end;
      if (out.size() > INT32_MAX)
        throw Error(Fault::limit, "tokenizer: a replacement makes the text longer than 2 GiB");
    }
    out.append(text, done);
    text = std::move(out);
  }

 private:
  Regex pattern_;
  std::string content_;
};

class StripNormalizer : public Normalizer {
 public:
  StripNormalizer(bool left, bool right) : left_(left), right_(right) {}

  void apply(std::string& text, EncodeScratch&) const override {
    size_t begin = 0, end = text.size();
    while (left_ && begin < end) {
      size_t next = begin;
      if (!is_white_space(next_code_point(text, next))) break;
      begin = next;
    }
    while (right_ && end > begin) {
      size_t previous = end;
      if (!is_white_space(previous_code_point(text, previous))) break;
      end = previous;
    }
    text = text.substr(begin, end - begin);
  }

 private:
  bool left_, right_;
};

/// Each character goes, stays, or becomes another text.
class CharacterNormalizer : public Normalizer {
 public:
  using Append = void (*)(std::string& out, char32_t c);
  explicit CharacterNormalizer(Append append) : append_(append) {}

  void apply(std::string& text, EncodeScratch&) const override {
    std::string out;
    out.reserve(text.size());
    for (size_t at = 0; at < text.size();) append_(out, next_code_point(text, at));
    text = std::move(out);
  }

 private:
  Append append_;
};

void append_without_marks(std::string& out, char32_t c) {
  if (!is_mark(c)) append_utf8(out, c);
}

void append_without_nonspacing_marks(std::string& out, char32_t c) {
  if (!is_nonspacing_mark(c)) append_utf8(out, c);
}

/// As SentencePiece's "nmt": control characters go, other kinds of white space become a space.
void append_nmt(std::string& out, char32_t c) {
  if ((c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F)
    return;
  const bool space = c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
                     (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                     c == 0xFEFF || c == 0xFFFD;
  append_utf8(out, space ? U' ' : c);
}

void append_clean(std::string& out, char32_t c) {
  const bool line = c == '\t' || c == '\n' || c == '\r';
  if (c == 0 || c == 0xFFFD || (is_unprintable(c) && !line)) return;
  append_utf8(out, line || is_white_space(c) ? U' ' : c);
}

void append_chinese_apart(std::string& out, char32_t c) {
  const bool apart = (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
                     (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
                     (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
                     (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
  if (apart) out += ' ';
  append_utf8(out, c);
  if (apart) out += ' ';
}

class ByteLevelNormalizer : public Normalizer {
 public:
  void apply(std::string& text, EncodeScratch&) const override {
    std::string out;
    out.reserve(text.size() + text.size() / 4);
    append_byte_level(out, text);
    text = std::move(out);
  }
};

/// The reference looks grapheme clusters of less than 6 bytes up as a whole, but takes the shortest sequence that they
/// begin with; what follows it in the cluster is lost.
class CharsmapNormalizer : public Normalizer {
 public:
  explicit CharsmapNormalizer(Charsmap map) : map_(std::move(map)) {}

  void apply(std::string& text, EncodeScratch&) const override {
    constexpr size_t kLongestWhole = 5;
    std::string out;
    out.reserve(text.size());
    for (std::string_view rest = text; !rest.empty();) {
      const std::string_view cluster = rest.substr(0, grapheme_length(rest));
      rest.remove_prefix(cluster.size());
      if (cluster.size() > kLongestWhole || !append(out, cluster)) {
        for (size_t at = 0; at < cluster.size();) {
          const std::string_view character = cluster.substr(at, utf8_sequence_length(cluster[at]));
          if (!append(out, character)) out += character;
          at += character.size();
        }
      }
      if (out.size() > INT32_MAX)
        throw Error(Fault::limit, "tokenizer: normalizing makes the text longer than 2 GiB");
    }
    text = std::move(out);
  }

 private:
  bool append(std::string& out, std::string_view part) const {
    const Charsmap::Match match = map_.shortest(part);
    out += match.by;
    return match.length > 0;
  }

  Charsmap map_;
};

std::unique_ptr<const Normalizer> read_charsmap(const JsonObject& node) {
  const auto data = from_base64(node.string_or({"precompiled_charsmap"}, ""));
  if (!data) node.refuse(Fault::format, "precompiled_charsmap", "Base64");
  return std::make_unique<CharsmapNormalizer>(data->empty() ? Charsmap() : Charsmap(*data, node.name()));
}

/// Bert's own order of steps.
void read_bert(const JsonObject& node, Normalizers& out) {
  const bool lowercase = node.boolean_or({"lowercase"}, true);
  if (node.boolean_or({"clean_text"}, true))
    out.push_back(std::make_unique<CharacterNormalizer>(append_clean));
  if (node.boolean_or({"handle_chinese_chars"}, true))
    out.push_back(std::make_unique<CharacterNormalizer>(append_chinese_apart));
  if (node.boolean_or({"strip_accents"}, lowercase)) {
    out.push_back(std::make_unique<NormalFormNormalizer>(NormalForm::nfd));
    out.push_back(std::make_unique<CharacterNormalizer>(append_without_nonspacing_marks));
  }
  if (lowercase) out.push_back(std::make_unique<LowercaseNormalizer>());
}

std::unique_ptr<const Normalizer> read_one(const JsonObject& node, const std::string& type) {
  if (type == "NFC") return std::make_unique<NormalFormNormalizer>(NormalForm::nfc);
  if (type == "NFD") return std::make_unique<NormalFormNormalizer>(NormalForm::nfd);
  if (type == "NFKC") return std::make_unique<NormalFormNormalizer>(NormalForm::nfkc);
  if (type == "NFKD") return std::make_unique<NormalFormNormalizer>(NormalForm::nfkd);
  if (type == "Lowercase") return std::make_unique<LowercaseNormalizer>();
  if (type == "StripAccents") return std::make_unique<CharacterNormalizer>(append_without_marks);
  if (type == "Nmt") return std::make_unique<CharacterNormalizer>(append_nmt);
  if (type == "ByteLevel") return std::make_unique<ByteLevelNormalizer>();
  if (type == "Precompiled") return read_charsmap(node);
  if (type == "Prepend") return std::make_unique<PrependNormalizer>(node.string({"prepend"}));
  if (type == "Replace")
    return std::make_unique<ReplaceNormalizer>(read_pattern(node), node.string({"content"}));
  if (type == "Strip") {
    return std::make_unique<StripNormalizer>(node.boolean_or({"strip_left"}, true),
                                             node.boolean_or({"strip_right"}, true));
  }
  refuse_component(node, type);
}

}  // namespace

Normalizers read_normalizers(const Json& json, const std::string& where) {
  Normalizers out;
  for_each_component(json, where, "normalizers", [&](const JsonObject& node, const std::string& type) {
    if (type == "BertNormalizer") {
      read_bert(node, out);
    } else {
      out.push_back(read_one(node, type));
    }
  });
  return out;
}

}  // namespace gptq
