// The steps of decoding, one class each; see decoder.h for what a step promises.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "text/component.h"
#include "text/decoder.h"
#include "text/regex.h"
#include "text/utf8.h"

namespace gptq {

/// The end: collects the text.
class OutputStage : public DecodeStage {
 public:
  explicit OutputStage(std::string& out) : out_(out) {}
  void push(std::string_view text, TokenPart) override { out_ += text; }
  void finish() override {}

 private:
  std::string& out_;
};

class ChainedStage : public DecodeStage {
 public:
  explicit ChainedStage(DecodeStage& next) : next_(next) {}
  void finish() override { next_.finish(); }

 protected:
  DecodeStage& next_;
};

/// All bits become one token, at the end.
class CollectStage : public ChainedStage {
 public:
  using ChainedStage::ChainedStage;
  void push(std::string_view text, TokenPart) override { text_ += text; }
  void finish() override;

 private:
  std::string text_;
};

/// All tokens become one.
class FuseStage : public ChainedStage {
 public:
  using ChainedStage::ChainedStage;
  void push(std::string_view text, TokenPart) override;

 private:
  TokenPart part_ = TokenPart::begin;
};

/// All tokens become one, with spaces between them.
class JoinStage : public ChainedStage {
 public:
  using ChainedStage::ChainedStage;
  void push(std::string_view text, TokenPart part) override;

 private:
  bool first_ = true;
};

/// Byte-level characters to bytes to text, over the borders of tokens.
class ByteLevelStage : public ChainedStage {
 public:
  using ChainedStage::ChainedStage;
  void push(std::string_view text, TokenPart part) override;
  void finish() override;

 private:
  void give(const std::string& text);
  Utf8Repairer repairer_;
  TokenPart part_ = TokenPart::begin;
};

/// A run of <0xHH> tokens becomes the text of its bytes, or, if they are ill-formed, one U+FFFD per token.
class ByteFallbackStage : public ChainedStage {
 public:
  using ChainedStage::ChainedStage;
  void push(std::string_view text, TokenPart part) override;
  void finish() override;

 private:
  void flush();
  std::string bytes_;
};

class ReplaceStage : public ChainedStage {
 public:
  ReplaceStage(DecodeStage& next, std::shared_ptr<const Regex> pattern, std::string content)
      : ChainedStage(next), pattern_(std::move(pattern)), content_(std::move(content)) {}
  void push(std::string_view text, TokenPart part) override;

 private:
  std::shared_ptr<const Regex> pattern_;
  std::string content_;
  RegexMatcher matcher_;
};

/// Takes up to `start` times `content`, one character, off the beginning of each token, and up to `stop` times off
/// its end.
class StripStage : public ChainedStage {
 public:
  StripStage(DecodeStage& next, std::string content, size_t start, size_t stop)
      : ChainedStage(next), content_(std::move(content)), start_(start), stop_(stop) {}
  void push(std::string_view text, TokenPart part) override;

 private:
  std::string content_;
  size_t start_, stop_;
  size_t left_ = 0;  // times that may still go at the beginning
  size_t kept_ = 0;  // times that the token ends with so far, not given on
};

/// A token's end of word is a space, but that of the last token.
class BpeStage : public ChainedStage {
 public:
  BpeStage(DecodeStage& next, std::string suffix) : ChainedStage(next), suffix_(std::move(suffix)) {}
  void push(std::string_view text, TokenPart part) override;
  void finish() override;

 private:
  void give(std::string_view by);
  std::string suffix_;
  std::string kept_;  // the last token, as far as there was one
  bool any_ = false;
};

/// Tokens but for the first begin with a space, or with a prefix that goes.
class WordPieceStage : public ChainedStage {
 public:
  WordPieceStage(DecodeStage& next, std::string prefix, bool cleanup)
      : ChainedStage(next), prefix_(std::move(prefix)), cleanup_(cleanup) {}
  void push(std::string_view text, TokenPart part) override;

 private:
  std::string prefix_;
  bool cleanup_;  // no spaces before punctuation, within a token
  bool first_ = true;
};

class MetaspaceStage : public ChainedStage {
 public:
  MetaspaceStage(DecodeStage& next, std::string replacement, PrependScheme scheme)
      : ChainedStage(next), replacement_(std::move(replacement)), scheme_(scheme) {}
  void push(std::string_view text, TokenPart part) override;

 private:
  std::string replacement_;
  PrependScheme scheme_;
  int tokens_ = 0;  // seen so far: 0, 1, or 2 for more
};

}  // namespace gptq
