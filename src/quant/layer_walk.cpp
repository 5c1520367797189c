#include "quant/layer_walk.h"

#include <algorithm>
#include <utility>

namespace gptq {

LayerWalk::LayerWalk(const Spec& spec, const Backend& backend, const Sequences& sequences,
                     const std::atomic<bool>* cancel, std::function<void()> tick)
    : spec_(spec),
      backend_(backend),
      sequences_(sequences),
      tick_(std::move(tick)),
      stream_(backend.create_stream(cancel)),
      decoder_(spec, *stream_) {
  int64_t tokens = 0;
  for (size_t s = 0; s < sequences.size(); ++s) {
    const auto length = static_cast<int64_t>(sequences[s].size());
    if (groups_.empty() || groups_.back().tokens + length > decoder_.max_rows()) groups_.emplace_back();
    groups_.back().sequences.push_back(s);
    groups_.back().tokens += length;
    tokens += length;
  }
  size_t most = 1;
  for (const Group& group : groups_) most = std::max(most, group.sequences.size());
  cache_ = backend_.create_cache(decoder_.cache_shape(1, static_cast<int64_t>(most)));
  states_.resize(static_cast<size_t>(tokens * spec.hidden));
}

void LayerWalk::each_part(Keep keep, const std::function<void()>& visit) {
  std::vector<int32_t> tokens;
  std::vector<Row> rows;
  std::vector<int64_t> lengths;
  float* states = states_.data();
  for (const Group& group : groups_) {
    tokens.clear();
    rows.clear();
    lengths.clear();
    for (size_t s = 0; s < group.sequences.size(); ++s) {
      const auto& sequence = sequences_[group.sequences[s]];
      const auto length = static_cast<int64_t>(sequence.size());
      cache_->truncate(static_cast<int32_t>(s), 0);
      cache_->reserve(static_cast<int32_t>(s), length);
      for (int64_t i = 0; i < length; ++i) {
        tokens.push_back(sequence[static_cast<size_t>(i)]);
        rows.push_back({.sequence = static_cast<int32_t>(s), .position = static_cast<int32_t>(i)});
        lengths.push_back(length);
      }
    }
    for (int64_t at = 0; at < group.tokens; at += decoder_.max_rows()) {
      const auto begin = static_cast<size_t>(at);
      const auto count = static_cast<size_t>(std::min(decoder_.max_rows(), group.tokens - at));
      decoder_.begin({.tokens = std::span(tokens).subspan(begin, count),
                      .rows = std::span(rows).subspan(begin, count),
                      .lengths = std::span(lengths).subspan(begin, count)});
      stream_->upload(states, decoder_.hidden());
      tick_();
      visit();
      if (keep == Keep::yes) stream_->download(decoder_.hidden(), states);
      states += static_cast<int64_t>(count) * spec_.hidden;
    }
  }
}

void LayerWalk::embed(const Weights& outer) {
  float* states = states_.data();
  std::vector<Row> rows;
  std::vector<int64_t> lengths;
  for (const auto& sequence : sequences_) {
    const auto length = static_cast<int64_t>(sequence.size());
    for (int64_t at = 0; at < length; at += decoder_.max_rows()) {
      const int64_t count = std::min(decoder_.max_rows(), length - at);
      rows.clear();
      for (int64_t i = 0; i < count; ++i)
        rows.push_back({.sequence = 0, .position = static_cast<int32_t>(at + i)});
      lengths.assign(static_cast<size_t>(count), length);
      const Batch batch{
          .tokens = std::span(sequence).subspan(static_cast<size_t>(at), static_cast<size_t>(count)),
          .rows = rows,
          .lengths = lengths};
      decoder_.begin(batch);
      decoder_.embed(outer, batch);
      stream_->download(decoder_.hidden(), states);
      states += count * spec_.hidden;
    }
  }
}

std::unique_ptr<Hessian> LayerWalk::hessian_for(Input input) {
  switch (input) {
    case Input::attention:
    case Input::mlp: return stream_->create_hessian(spec_.hidden);
    case Input::attention_out: return stream_->create_hessian(spec_.heads * spec_.head_dim);
    case Input::mlp_out: return stream_->create_hessian(spec_.intermediate);
  }
  return nullptr;
}

std::unique_ptr<Hessian> LayerWalk::collect(const Layer& layer, int64_t index, Input input) {
  auto hessian = hessian_for(input);
  each_part(Keep::no, [&] {
    Matrix x;
    if (input == Input::attention || input == Input::attention_out) {
      x = decoder_.attention_input(layer);
      if (input == Input::attention_out) x = decoder_.attention_mix(layer, index, *cache_, 0);
    } else {
      x = decoder_.mlp_input(layer);
      if (input == Input::mlp_out) x = decoder_.mlp_mix(layer);
    }
    stream_->hessian_add(x, *hessian);
  });
  return hessian;
}

std::array<std::unique_ptr<Hessian>, kInputs.size()> LayerWalk::collect_all(const Layer& layer,
                                                                            int64_t index) {
  std::array<std::unique_ptr<Hessian>, kInputs.size()> hessians;
  for (size_t i = 0; i < kInputs.size(); ++i) hessians[i] = hessian_for(kInputs[i]);
  each_part(Keep::no, [&] {
    stream_->hessian_add(decoder_.attention_input(layer), *hessians[0]);
    stream_->hessian_add(decoder_.attention_mix(layer, index, *cache_, 0), *hessians[1]);
    decoder_.attention_output(layer);
    stream_->hessian_add(decoder_.mlp_input(layer), *hessians[2]);
    stream_->hessian_add(decoder_.mlp_mix(layer), *hessians[3]);
  });
  return hessians;
}

void LayerWalk::advance_attention(const Layer& layer, int64_t index) {
  each_part(Keep::yes, [&] {
    decoder_.attention_input(layer);
    decoder_.attention_mix(layer, index, *cache_, 0);
    decoder_.attention_output(layer);
  });
}

void LayerWalk::advance_mlp(const Layer& layer) {
  each_part(Keep::yes, [&] {
    decoder_.mlp_input(layer);
    decoder_.mlp_mix(layer);
    decoder_.mlp_output(layer);
  });
}

}  // namespace gptq
