// StreamDecoder of tokenizer.h: a TokenStream together with the tokenizer that it needs.
#include <utility>

#include "text/tokenizer.h"

namespace gptq {

struct StreamDecoder::State {
  std::shared_ptr<const Tokenizer> tokenizer;
  std::unique_ptr<TokenStream> stream;
};

StreamDecoder::StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, SkipSpecial skip)
    : state_(std::make_unique<State>()) {
  state_->stream = tokenizer->start_decoding(skip);
  state_->tokenizer = std::move(tokenizer);
}

StreamDecoder::~StreamDecoder() = default;
StreamDecoder::StreamDecoder(StreamDecoder&&) noexcept = default;
StreamDecoder& StreamDecoder::operator=(StreamDecoder&&) noexcept = default;

void StreamDecoder::prime(std::span<const int32_t> ids) {
  for (int32_t id : ids) state_->stream->push(id);
  state_->stream->take();
}

std::string StreamDecoder::push(int32_t id) {
  state_->stream->push(id);
  return state_->stream->take();
}

std::string StreamDecoder::finish() {
  state_->stream->finish();
  return state_->stream->take();
}

}  // namespace gptq
