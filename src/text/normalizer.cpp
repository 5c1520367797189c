// See normalizer.h.
#include "text/normalizer.h"

#include "base/json.h"
#include "base/text.h"
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

std::unique_ptr<const Normalizer> read_one(const JsonObject& node, const std::string& type) {
  if (type == "NFC") return std::make_unique<NormalFormNormalizer>(NormalForm::nfc);
  if (type == "NFD") return std::make_unique<NormalFormNormalizer>(NormalForm::nfd);
  if (type == "NFKC") return std::make_unique<NormalFormNormalizer>(NormalForm::nfkc);
  if (type == "NFKD") return std::make_unique<NormalFormNormalizer>(NormalForm::nfkd);
  if (type == "Lowercase") return std::make_unique<LowercaseNormalizer>();
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
    out.push_back(read_one(node, type));
  });
  return out;
}

}  // namespace gptq
