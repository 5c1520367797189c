// See decoder.h.
#include "text/decoder.h"

#include <limits>
#include <utility>

#include "base/json.h"
#include "base/text.h"
#include "text/component.h"
#include "text/decode_stages.h"

namespace gptq {

namespace {

/// A decoder whose stage is made from `Arguments`.
template <class Stage, StageOutput Output, bool TakesBits, class... Arguments>
class StageDecoder : public TokenDecoder {
 public:
  explicit StageDecoder(Arguments... arguments) : arguments_(std::move(arguments)...) {}
  std::unique_ptr<DecodeStage> start(DecodeStage& next) const override {
    return std::apply([&](const auto&... a) { return std::make_unique<Stage>(next, a...); }, arguments_);
  }
  StageOutput output() const override { return Output; }
  bool takes_bits() const override { return TakesBits; }

 private:
  std::tuple<Arguments...> arguments_;
};

using JoinDecoder = StageDecoder<JoinStage, StageOutput::one_token, true>;
using FuseDecoder = StageDecoder<FuseStage, StageOutput::one_token, true>;
using ByteLevelDecoder = StageDecoder<ByteLevelStage, StageOutput::one_token, false>;
using ByteFallbackDecoder = StageDecoder<ByteFallbackStage, StageOutput::tokens, false>;
using ReplaceDecoder =
    StageDecoder<ReplaceStage, StageOutput::tokens, false, std::shared_ptr<const Regex>, std::string>;
using StripDecoder = StageDecoder<StripStage, StageOutput::tokens, true, std::string, size_t, size_t>;
using MetaspaceDecoder = StageDecoder<MetaspaceStage, StageOutput::tokens, true, std::string, PrependScheme>;

using BpeDecoder = StageDecoder<BpeStage, StageOutput::tokens, false, std::string>;
using WordPieceDecoder = StageDecoder<WordPieceStage, StageOutput::tokens, false, std::string, bool>;

constexpr int64_t kLongestStrip = 1 << 20;

std::unique_ptr<const TokenDecoder> read_one(const JsonObject& node, const std::string& type) {
  if (type == "ByteLevel") return std::make_unique<ByteLevelDecoder>();
  if (type == "ByteFallback") return std::make_unique<ByteFallbackDecoder>();
  if (type == "Fuse") return std::make_unique<FuseDecoder>();
  if (type == "BPEDecoder") return std::make_unique<BpeDecoder>(node.string_or({"suffix"}, "</w>"));
  if (type == "WordPiece") {
    return std::make_unique<WordPieceDecoder>(node.string_or({"prefix"}, "##"),
                                              node.boolean_or({"cleanup"}, true));
  }
  if (type == "Replace") {
    return std::make_unique<ReplaceDecoder>(std::make_shared<const Regex>(read_pattern(node)),
                                            node.string({"content"}));
  }
  if (type == "Strip") {
    return std::make_unique<StripDecoder>(read_character(node, "content", {}),
                                          static_cast<size_t>(node.integer({"start"}, 0, kLongestStrip)),
                                          static_cast<size_t>(node.integer({"stop"}, 0, kLongestStrip)));
  }
  if (type == "Metaspace") {
    return std::make_unique<MetaspaceDecoder>(read_character(node, "replacement", "\xE2\x96\x81"),
                                              read_prepend_scheme(node));
  }
  refuse_component(node, type);
}

}  // namespace

Decoders read_decoders(const Json& json, const std::string& where) {
  Decoders out;
  if (json.is_null()) out.push_back(std::make_unique<JoinDecoder>());
  for_each_component(json, where, "decoders", [&](const JsonObject& node, const std::string& type) {
    out.push_back(read_one(node, type));
  });
  return out;
}

Decoders sentencepiece_decoders(FirstSpaces first_spaces) {
  Decoders out;
  out.push_back(std::make_unique<ReplaceDecoder>(
      std::make_shared<const Regex>("\xE2\x96\x81", PatternKind::literal, "decoder"), std::string(" ")));
  out.push_back(std::make_unique<ByteFallbackDecoder>());
  out.push_back(std::make_unique<FuseDecoder>());
  if (first_spaces != FirstSpaces::keep) {
    const size_t count = first_spaces == FirstSpaces::remove_one ? 1 : std::numeric_limits<size_t>::max();
    out.push_back(std::make_unique<StripDecoder>(std::string(" "), count, 0));
  }
  return out;
}

DecodePipeline::DecodePipeline(const Decoders& decoders) {
  stages_.push_back(std::make_unique<OutputStage>(out_));
  // from the last step to the first; a step that needs whole tokens behind one that gives bits gets a collector
  for (size_t i = decoders.size(); i-- > 0;) {
    StageOutput before = StageOutput::tokens;
    for (size_t j = 0; j < i; ++j) {
      if (decoders[j]->output() == StageOutput::one_token) before = StageOutput::one_token;
    }
    stages_.push_back(decoders[i]->start(*stages_.back()));
    if (before == StageOutput::one_token && !decoders[i]->takes_bits()) {
      stages_.push_back(std::make_unique<CollectStage>(*stages_.back()));
    }
  }
}

DecodePipeline::~DecodePipeline() = default;

std::string DecodePipeline::take() { return std::exchange(out_, {}); }

}  // namespace gptq
