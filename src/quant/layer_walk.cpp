#include "quant/layer_walk.h"

#include <algorithm>
#include <utility>

namespace gptq {

LayerWalk::LayerWalk(const Spec& spec, const Backend& backend, const Sequences& sequences,
                     FollowOriginal follow, const std::atomic<bool>* cancel, std::function<void()> tick)
    : spec_(spec),
      backend_(backend),
      sequences_(sequences),
      tick_(std::move(tick)),
      stream_(backend.create_stream(cancel)) {
  const size_t models = follow == FollowOriginal::yes ? 2 : 1;
  while (tracks_.size() < models) tracks_.push_back(std::make_unique<Track>(spec, *stream_));
  const int64_t max_rows = tracks_[0]->decoder.max_rows();
  int64_t tokens = 0;
  for (size_t s = 0; s < sequences.size(); ++s) {
    const auto length = static_cast<int64_t>(sequences[s].size());
    if (groups_.empty() || groups_.back().tokens + length > max_rows) groups_.emplace_back();
    groups_.back().sequences.push_back(s);
    groups_.back().tokens += length;
    tokens += length;
  }
  size_t most = 1;
  for (const Group& group : groups_) most = std::max(most, group.sequences.size());
  for (const auto& track : tracks_) {
    track->cache = backend_.create_cache(track->decoder.cache_shape(1, static_cast<int64_t>(most)));
    track->states.resize(static_cast<size_t>(tokens * spec.hidden));
  }
}

void LayerWalk::begin_group(const Group& group) {
  tokens_.clear();
  rows_.clear();
  lengths_.clear();
  for (size_t s = 0; s < group.sequences.size(); ++s) {
    const auto& sequence = sequences_[group.sequences[s]];
    const auto length = static_cast<int64_t>(sequence.size());
    for (const auto& track : tracks_) {
      track->cache->truncate(static_cast<int32_t>(s), 0);
      track->cache->reserve(static_cast<int32_t>(s), length);
    }
    for (int64_t i = 0; i < length; ++i) {
      tokens_.push_back(sequence[static_cast<size_t>(i)]);
      rows_.push_back({.sequence = static_cast<int32_t>(s), .position = static_cast<int32_t>(i)});
      lengths_.push_back(length);
    }
  }
}

void LayerWalk::each_part(Keep keep, const std::function<void()>& visit) {
  const int64_t max_rows = tracks_[0]->decoder.max_rows();
  int64_t states = 0;  // where those of the part begin
  for (const Group& group : groups_) {
    begin_group(group);
    for (int64_t at = 0; at < group.tokens; at += max_rows) {
      const auto begin = static_cast<size_t>(at);
      const auto count = static_cast<size_t>(std::min(max_rows, group.tokens - at));
      tick_();
      for (const auto& track : tracks_) {
        track->decoder.begin({.tokens = std::span(tokens_).subspan(begin, count),
                              .rows = std::span(rows_).subspan(begin, count),
                              .lengths = std::span(lengths_).subspan(begin, count)});
        stream_->upload(track->states.data() + states, track->decoder.hidden());
      }
      visit();
      for (const auto& track : tracks_) {
        if (keep == Keep::yes) stream_->download(track->decoder.hidden(), track->states.data() + states);
      }
      states += static_cast<int64_t>(count) * spec_.hidden;
    }
  }
}

LayerWalk::Inputs LayerWalk::both(const LayerStages& layer, const Step& step) {
  Inputs inputs{.now = step(*tracks_[0], layer.now), .original = {}};
  if (tracks_.size() > 1) inputs.original = step(*tracks_[1], layer.original);
  return inputs;
}

void LayerWalk::embed(const Weights& outer) {
  Decoder& decoder = tracks_[0]->decoder;
  float* states = tracks_[0]->states.data();
  std::vector<Row> rows;
  std::vector<int64_t> lengths;
  for (const auto& sequence : sequences_) {
    const auto length = static_cast<int64_t>(sequence.size());
    for (int64_t at = 0; at < length; at += decoder.max_rows()) {
      const int64_t count = std::min(decoder.max_rows(), length - at);
      rows.clear();
      for (int64_t i = 0; i < count; ++i)
        rows.push_back({.sequence = 0, .position = static_cast<int32_t>(at + i)});
      lengths.assign(static_cast<size_t>(count), length);
      const Batch batch{
          .tokens = std::span(sequence).subspan(static_cast<size_t>(at), static_cast<size_t>(count)),
          .rows = rows,
          .lengths = lengths};
      decoder.begin(batch);
      decoder.embed(outer, batch);
      stream_->download(decoder.hidden(), states);
      states += count * spec_.hidden;
    }
  }
  for (const auto& track : tracks_) {
    if (track != tracks_[0]) track->states = tracks_[0]->states;
  }
}

InputSums LayerWalk::sums_for(Input input, int64_t index) {
  int64_t size = spec_.hidden;
  if (input == Input::attention_out) size = spec_.heads * spec_.head_dim;
  if (input == Input::mlp_out) size = spec_.intermediate;
  InputSums sums{.hessian = stream_->create_hessian(size), .drift = nullptr};
  const bool same = index == 0 && input == Input::attention;  // nothing before it is quantized
  if (tracks_.size() > 1 && !same) sums.drift = stream_->create_drift(size);
  return sums;
}

void LayerWalk::add(const Inputs& inputs, InputSums& sums) {
  stream_->hessian_add(inputs.now, *sums.hessian);
  if (sums.drift != nullptr) stream_->drift_add(inputs.original, inputs.now, *sums.drift);
}

InputSums LayerWalk::collect(const LayerStages& layer, int64_t index, Input input) {
  InputSums sums = sums_for(input, index);
  const Step step = [&](Track& track, const Layer& stage) {
    Decoder& decoder = track.decoder;
    if (input == Input::attention || input == Input::attention_out) {
      const Matrix x = decoder.attention_input(stage);
      return input == Input::attention ? x : decoder.attention_mix(stage, index, *track.cache, 0);
    }
    const Matrix x = decoder.mlp_input(stage);
    return input == Input::mlp ? x : decoder.mlp_mix(stage);
  };
  each_part(Keep::no, [&] { add(both(layer, step), sums); });
  return sums;
}

std::array<InputSums, kInputs.size()> LayerWalk::collect_all(const LayerStages& layer, int64_t index) {
  std::array<InputSums, kInputs.size()> sums;
  for (size_t i = 0; i < kInputs.size(); ++i) sums[i] = sums_for(kInputs[i], index);
  each_part(Keep::no, [&] {
    add(both(layer, [](Track& track, const Layer& stage) { return track.decoder.attention_input(stage); }),
        sums[0]);
    add(both(layer,
             [&](Track& track, const Layer& stage) {
               return track.decoder.attention_mix(stage, index, *track.cache, 0);
             }),
        sums[1]);
    add(both(layer,
             [](Track& track, const Layer& stage) {
               track.decoder.attention_output(stage);
               return track.decoder.mlp_input(stage);
             }),
        sums[2]);
    add(both(layer, [](Track& track, const Layer& stage) { return track.decoder.mlp_mix(stage); }), sums[3]);
  });
  return sums;
}

InputSums LayerWalk::collect_head(const NormWeights& final_norm) {
  InputSums sums{.hessian = stream_->create_hessian(spec_.hidden), .drift = nullptr};
  if (tracks_.size() > 1) sums.drift = stream_->create_drift(spec_.hidden);
  const LayerStages none;
  const Step step = [&](Track& track, const Layer&) { return track.decoder.head_input(final_norm); };
  each_part(Keep::no, [&] { add(both(none, step), sums); });
  return sums;
}

void LayerWalk::advance_attention(const LayerStages& layer, int64_t index) {
  const Step step = [&](Track& track, const Layer& stage) {
    track.decoder.attention_input(stage);
    track.decoder.attention_mix(stage, index, *track.cache, 0);
    track.decoder.attention_output(stage);
    return track.decoder.hidden();
  };
  each_part(Keep::yes, [&] { both(layer, step); });
}

void LayerWalk::advance_mlp(const LayerStages& layer) {
  const Step step = [](Track& track, const Layer& stage) {
    track.decoder.mlp_input(stage);
    track.decoder.mlp_mix(stage);
    track.decoder.mlp_output(stage);
    return track.decoder.hidden();
  };
  each_part(Keep::yes, [&] { both(layer, step); });
}

}  // namespace gptq
