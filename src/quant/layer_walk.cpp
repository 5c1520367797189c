#include "quant/layer_walk.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/text.h"

namespace gptq {
namespace {

int64_t inputs_of(const Spec& spec, Input input) {
  switch (input) {
    case Input::attention_out: return spec.heads * spec.head_dim;
    case Input::mlp_out: return spec.intermediate;
    default: return spec.hidden;
  }
}

}  // namespace

FollowOriginal follow_original(const SolverOptions& options) {
  if (options.target == Target::sequential) return FollowOriginal::no;
  const bool inputs = options.target_alpha > 0;
  if (options.target == Target::exact && options.residual_alpha > 0)
    return inputs ? FollowOriginal::inputs_and_stream : FollowOriginal::stream;
  return inputs ? FollowOriginal::inputs : FollowOriginal::no;
}

LayerWalk::LayerWalk(const Spec& spec, const Backend& backend, const Sequences& sequences,
                     FollowOriginal follow, const StatePlaces& places, const std::atomic<bool>* cancel,
                     std::function<void()> tick)
    : spec_(spec),
      backend_(backend),
      sequences_(sequences),
      follow_(follow),
      tick_(std::move(tick)),
      stream_(backend.create_stream(cancel)) {
  const size_t models = follow == FollowOriginal::no ? 1 : 2;
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
  const auto open = [&](std::optional<StateStore>& store, StatePlaces::Place place, int64_t cols,
                        const std::string& name) {
    if (place == StatePlaces::Place::memory) store.emplace(tokens * cols);
    if (place == StatePlaces::Place::file) store.emplace(tokens * cols, *places.folder, name);
  };
  for (size_t t = 0; t < tracks_.size(); ++t) {
    Track& track = *tracks_[t];
    track.cache = backend_.create_cache(track.decoder.cache_shape(1, static_cast<int64_t>(most)));
    open(track.states, places.states, spec.hidden, cat("states-", t));
  }
  const int64_t widest = std::max(inputs_of(spec, Input::attention_out), inputs_of(spec, Input::mlp_out));
  open(inputs_, places.inputs, widest, "inputs");
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

void LayerWalk::each_part(const std::function<void(int64_t first)>& visit) {
  const int64_t max_rows = tracks_[0]->decoder.max_rows();
  int64_t first = 0;
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
      }
      visit(first);
      first += static_cast<int64_t>(count);
    }
  }
}

void LayerWalk::load_all(int64_t first) {
  for (const auto& track : tracks_) load(*track, first);
}

LayerWalk::Inputs LayerWalk::both(const LayerStages& layer, const Step& step) {
  Inputs inputs{.now = step(*tracks_[0], layer.now), .original = {}};
  if (tracks_.size() > 1) inputs.original = step(*tracks_[1], layer.original);
  return inputs;
}

void LayerWalk::embed(const Loader& loader) {
  Decoder& decoder = tracks_[0]->decoder;
  Weights weights;
  weights.positions = loader.load_positions(backend_, Access::read);
  std::vector<Row> rows;
  std::vector<int64_t> lengths;
  std::vector<int32_t> places(static_cast<size_t>(decoder.max_rows()));
  std::iota(places.begin(), places.end(), 0);
  int64_t first = 0;
  for (const auto& sequence : sequences_) {
    const auto length = static_cast<int64_t>(sequence.size());
    for (int64_t at = 0; at < length; at += decoder.max_rows()) {
      const int64_t count = std::min(decoder.max_rows(), length - at);
      rows.clear();
      for (int64_t i = 0; i < count; ++i)
        rows.push_back({.sequence = 0, .position = static_cast<int32_t>(at + i)});
      lengths.assign(static_cast<size_t>(count), length);
      weights.embed = loader.load_embedding(
          backend_, std::span(sequence).subspan(static_cast<size_t>(at), static_cast<size_t>(count)));
      const Batch batch{
          .tokens = std::span(places).first(static_cast<size_t>(count)), .rows = rows, .lengths = lengths};
      decoder.begin(batch);
      decoder.embed(weights, batch);
      for (const auto& track : tracks_) track->states->put(*stream_, decoder.hidden(), first);
      first += count;
    }
  }
}

InputSums LayerWalk::sums_for(Input input, int64_t index) {
  const int64_t size = inputs_of(spec_, input);
  InputSums sums{.hessian = stream_->create_hessian(size), .drifts = {}};
  if (tracks_.size() == 1) return sums;
  const bool is_first = input == Input::attention || input == Input::mlp;  // of the Linears of a half
  // before layer 0 nothing has been quantized
  if (follow_ != FollowOriginal::stream && (index > 0 || input != Input::attention))
    sums.drifts.inputs = stream_->create_drift(size, size);
  if (follow_ != FollowOriginal::inputs && !is_first && (index > 0 || input != Input::attention_out))
    sums.drifts.residual = stream_->create_drift(spec_.hidden, size);
  return sums;
}

void LayerWalk::add(const Inputs& inputs, InputSums& sums) {
  stream_->hessian_add(inputs.now, *sums.hessian);
  if (sums.drifts.inputs) stream_->drift_add(inputs.original, inputs.now, inputs.now, *sums.drifts.inputs);
  if (!sums.drifts.residual) return;
  stream_->drift_add(tracks_[1]->decoder.hidden(), tracks_[0]->decoder.hidden(), inputs.now,
                     *sums.drifts.residual);
}

/// What the last Linear of the half reads.
Matrix LayerWalk::mix(Track& track, const Layer& layer, int64_t index, Half half) {
  if (half == Half::attention) {
    track.decoder.attention_input(layer);
    return track.decoder.attention_mix(layer, index, *track.cache, 0);
  }
  track.decoder.mlp_input(layer);
  return track.decoder.mlp_mix(layer);
}

/// The hidden states behind it.
void LayerWalk::finish(Track& track, const Layer& layer, Half half) {
  half == Half::attention ? track.decoder.attention_output(layer) : track.decoder.mlp_output(layer);
}

InputSums LayerWalk::collect(const LayerStages& layer, int64_t index, Input input, Advances then) {
  InputSums sums = sums_for(input, index);
  if (input == Input::attention || input == Input::mlp) {
    const Step step = [&](Track& track, const Layer& stage) {
      return input == Input::attention ? track.decoder.attention_input(stage)
                                       : track.decoder.mlp_input(stage);
    };
    each_part([&](int64_t first) {
      load_all(first);
      add(both(layer, step), sums);
    });
    return sums;
  }
  const Half half = input == Input::attention_out ? Half::attention : Half::mlp;
  each_part([&](int64_t first) {
    load_all(first);
    const Inputs inputs =
        both(layer, [&](Track& track, const Layer& stage) { return mix(track, stage, index, half); });
    add(inputs, sums);
    if (then == Advances::no) return;
    if (inputs_) inputs_->put(*stream_, inputs.now, first);
    if (tracks_.size() == 1) return;
    finish(*tracks_[1], layer.original, half);
    save(*tracks_[1], first);
  });
  inputs_kept_ = then == Advances::yes && inputs_;
  original_ahead_ = then == Advances::yes ? 1 : 0;
  return sums;
}

std::array<InputSums, kInputs.size()> LayerWalk::collect_all(const LayerStages& layer, int64_t index,
                                                             Advances then) {
  std::array<InputSums, kInputs.size()> sums;
  for (size_t i = 0; i < kInputs.size(); ++i) sums[i] = sums_for(kInputs[i], index);
  each_part([&](int64_t first) {
    load_all(first);
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
    if (then == Advances::no || tracks_.size() == 1) return;
    finish(*tracks_[1], layer.original, Half::mlp);
    save(*tracks_[1], first);
  });
  original_ahead_ = then == Advances::yes ? 2 : 0;
  return sums;
}

InputSums LayerWalk::collect_head(const NormWeights& final_norm) {
  InputSums sums{.hessian = stream_->create_hessian(spec_.hidden), .drifts = {}};
  if (follow_ == FollowOriginal::inputs || follow_ == FollowOriginal::inputs_and_stream)
    sums.drifts.inputs = stream_->create_drift(spec_.hidden, spec_.hidden);
  const LayerStages none;
  const Step step = [&](Track& track, const Layer&) { return track.decoder.head_input(final_norm); };
  each_part([&](int64_t first) {
    load_all(first);
    add(both(none, step), sums);
  });
  return sums;
}

void LayerWalk::advance(const LayerStages& layer, int64_t index, Half half) {
  const size_t moving = original_ahead_ > 0 ? 1 : tracks_.size();
  each_part([&](int64_t first) {
    for (size_t t = 0; t < moving; ++t) {
      Track& track = *tracks_[t];
      const Layer& stage = t == 0 ? layer.now : layer.original;
      load(track, first);
      if (t == 0 && inputs_kept_) {
        inputs_->get(*stream_, first,
                     half == Half::attention ? track.decoder.attention_mixed() : track.decoder.mlp_mixed());
      } else {
        mix(track, stage, index, half);
      }
      finish(track, stage, half);
      save(track, first);
    }
  });
  inputs_kept_ = false;
  original_ahead_ = std::max(original_ahead_ - 1, 0);
}

void LayerWalk::advance_attention(const LayerStages& layer, int64_t index) {
  advance(layer, index, Half::attention);
}

void LayerWalk::advance_mlp(const LayerStages& layer, int64_t index) { advance(layer, index, Half::mlp); }

}  // namespace gptq
