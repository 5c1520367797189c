// Decoders: from the spellings of tokens back to text, token by token, so that a stream and a whole list go
// through the same steps.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_fwd.h"

namespace gptq {

/// Whether a text begins a token or goes on with the last one.
enum class TokenPart : uint8_t { begin, more };

/// A step at work. It gives to the next step what it is sure of, and keeps the rest.
class DecodeStage {
 public:
  virtual ~DecodeStage() = default;
  virtual void push(std::string_view text, TokenPart part) = 0;
  /// Gives what was kept, and finishes the next step.
  virtual void finish() = 0;
};

/// Whether the steps behind see each token at once, or one long token that comes bit by bit.
enum class StageOutput : uint8_t { tokens, one_token };

class TokenDecoder {
 public:
  virtual ~TokenDecoder() = default;
  virtual std::unique_ptr<DecodeStage> start(DecodeStage& next) const = 0;
  virtual StageOutput output() const { return StageOutput::tokens; }
  /// Whether the step can work with bits of a token.
  virtual bool takes_bits() const { return false; }
};

using Decoders = std::vector<std::unique_ptr<const TokenDecoder>>;

/// The value of "decoder"; null joins tokens by spaces.
Decoders read_decoders(const Json& json, const std::string& where);

/// What SentencePiece's files mean: U+2581 is a space, <0xHH> a byte, and the text may begin with a space that was never
/// in the input, or with none at all.
enum class FirstSpaces : uint8_t { keep, remove_one, remove_all };
Decoders sentencepiece_decoders(FirstSpaces first_spaces);

/// All steps at work, in a row.
class DecodePipeline {
 public:
  explicit DecodePipeline(const Decoders& decoders);
  DecodePipeline(const DecodePipeline&) = delete;
  DecodePipeline& operator=(const DecodePipeline&) = delete;
  ~DecodePipeline();

  void push(std::string_view token) { stages_.back()->push(token, TokenPart::begin); }
  void finish() { stages_.back()->finish(); }
  /// The text since the last call.
  std::string take();

 private:
  std::string out_;
  std::vector<std::unique_ptr<DecodeStage>> stages_;  // last step first
};

}  // namespace gptq
