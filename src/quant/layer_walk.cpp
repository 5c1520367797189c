#include "quant/layer_walk.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "base/text.h"
#include "model/batch_rows.h"

namespace gptq {
namespace {

/// Whether what the last Linears of a half compute is added to the residual stream as it is: then they can make up for
/// what that lacks.
bool adds_directly(const Spec& spec, Input input) {
  const NormPlace behind = input == Input::attention_out ? NormPlace::attention_out : NormPlace::mlp_out;
  const auto norms = spec.family->names->norms;
  return spec.traits.flow != Flow::post &&
         std::none_of(norms.begin(), norms.end(), [=](const NormName& norm) { return norm.place == behind; });
}

}  // namespace

std::vector<Stage> stages_of(std::span<const StoredLinear> linears) {
  std::map<std::pair<Input, int64_t>, Stage> stages;
  for (const StoredLinear& linear : linears) {
    if (linear.stays()) continue;
    Stage& stage = stages[{linear.module->input(), linear.expert}];
    stage.input = linear.module->input();
    stage.expert = linear.expert;
    stage.inputs = linear.in_features;
    stage.linears.push_back(&linear);
  }
  std::vector<Stage> in_order;
  for (auto& [place, stage] : stages) in_order.push_back(std::move(stage));
  return in_order;
}

std::span<const Stage> stages_together(std::span<const Stage> stages, uint64_t most_bytes) {
  size_t count = 0;
  uint64_t bytes = 0;
  for (; count < stages.size(); ++count) {
    if (step_of(stages[count].input) != step_of(stages[0].input)) break;
    bytes += static_cast<uint64_t>(stages[count].inputs * stages[count].inputs) * sizeof(float) / 2;
    if (count > 0 && bytes > most_bytes) break;
  }
  return stages.first(count);
}

FollowOriginal follow_original(const SolverOptions& options) {
  if (options.target == Target::sequential) return FollowOriginal::no;
  const bool inputs = options.target_alpha > 0;
  if (options.target == Target::exact && options.residual_alpha > 0)
    return inputs ? FollowOriginal::inputs_and_stream : FollowOriginal::stream;
  return inputs ? FollowOriginal::inputs : FollowOriginal::no;
}

DriftsOf drifts_of(const Spec& spec, FollowOriginal follow, int64_t layer, Input input) {
  const bool reads_stream =
      input == Input::attention || (input == Input::mlp && spec.traits.flow == Flow::parallel);
  if (of_experts(input)) return {};
  // what a shared expert computes may be weighed with what each token gives it
  const bool adds = input == Input::attention_out || (input == Input::mlp_out && spec.at(layer).experts == 0);
  // before layer 0 nothing has been quantized
  const bool inputs_differ = layer > 0 || !reads_stream,
             stream_differs = layer > 0 || input == Input::mlp_out;
  return {.inputs = head_drifts(follow).inputs && inputs_differ,
          .stream = (follow == FollowOriginal::stream || follow == FollowOriginal::inputs_and_stream) &&
                    adds && stream_differs && adds_directly(spec, input)};
}

DriftsOf head_drifts(FollowOriginal follow) {
  return {.inputs = follow == FollowOriginal::inputs || follow == FollowOriginal::inputs_and_stream};
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
  const int64_t max_rows = rows_at_once(spec, backend, static_cast<int64_t>(models));
  while (tracks_.size() < models)
    tracks_.push_back(std::make_unique<Track>(spec, backend, *stream_, max_rows));
  int64_t tokens = 0;
  for (size_t s = 0; s < sequences.size(); ++s) {
    const auto length = static_cast<int64_t>(sequences[s].size());
    if (groups_.empty() || groups_.back().tokens + length > max_rows) groups_.emplace_back();
    groups_.back().sequences.push_back(s);
    groups_.back().tokens += length;
    tokens += length;
  }
  for (const Group& group : groups_)
    most_together_ = std::max(most_together_, static_cast<int64_t>(group.sequences.size()));
  const auto open = [&](std::optional<StateStore>& store, StatePlaces::Place place, int64_t cols,
                        const std::string& name) {
    if (place == StatePlaces::Place::memory) store.emplace(tokens * cols);
    if (place == StatePlaces::Place::device) store.emplace(tokens * cols, *stream_);
    if (place == StatePlaces::Place::file) store.emplace(tokens * cols, *places.folder, name);
  };
  for (size_t t = 0; t < tracks_.size(); ++t) {
    open(tracks_[t]->states, places.states, spec.hidden, cat("states-", t));
  }
  open(inputs_, places.inputs, widest_mixed(spec), "inputs");
}

int64_t widest_mixed(const Spec& spec) {
  return spec.most([](const LayerSpec& layer) { return std::max(layer.mixed(), layer.intermediate); });
}

/// Layers of the same shape share a cache.
void LayerWalk::begin_layer(int64_t index) {
  for (const auto& track : tracks_) {
    CacheShape shape{.layers = {Decoder::cache_layer(spec_, index)}, .sequences = most_together_};
    if (track->cache && shape.layers == track->cache_shape.layers) continue;
    track->cache.reset();
    track->cache = backend_.create_cache(shape);
    track->cache_shape = std::move(shape);
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
      if (!track->cache) continue;  // the head has none
      // a state begins anew; keys and values are written over, in the memory that they have
      const bool has_state = track->cache_shape.layers.front().state > 0;
      (void)track->cache->truncate(static_cast<int32_t>(s), has_state ? 0 : length);
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

void LayerWalk::both(const LayerStages& layer, const Visit& visit) {
  visit(*tracks_[0], layer.now);
  if (tracks_.size() > 1) visit(*tracks_[1], layer.original);
}

void LayerWalk::embed(const Loader& loader) {
  Decoder& decoder = tracks_[0]->decoder;
  Weights weights = loader.load_around(backend_, Access::read);
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

std::vector<InputSums> LayerWalk::sums_for(std::span<const Stage> stages, int64_t index) {
  std::vector<InputSums> all;
  for (const Stage& stage : stages) {
    InputSums& sums = all.emplace_back();
    sums.hessian = stream_->create_hessian(stage.inputs);
    const DriftsOf drifts = drifts_of(spec_, follow_, index, stage.input);
    if (drifts.inputs) sums.drifts.inputs = stream_->create_drift(stage.inputs, stage.inputs);
    if (!drifts.stream) continue;
    sums.drifts.residual = stream_->create_drift(spec_.hidden, stage.inputs);
    sums.drifts.output_scale = spec_.residual_scale;
  }
  return all;
}

/// `now` and `original` are what the Linears read in the two models.
void LayerWalk::add(Matrix now, Matrix original, InputSums& sums) {
  stream_->hessian_add(now, *sums.hessian);
  if (sums.drifts.inputs) stream_->drift_add(original, now, now, *sums.drifts.inputs);
  if (!sums.drifts.residual) return;
  stream_->drift_add(tracks_[1]->decoder.hidden(), tracks_[0]->decoder.hidden(), now, *sums.drifts.residual);
}

/// Once the step of the stage has been taken.
void LayerWalk::add(const Stage& stage, int64_t index, InputSums& sums) {
  const auto read = [&](size_t track) {
    return tracks_[track]->decoder.read_by(stage.input, index, stage.expert);
  };
  add(read(0), sums.drifts.inputs ? read(1) : Matrix{}, sums);
}

void LayerWalk::take(Track& track, const Layer& layer, int64_t index, Step step) {
  Decoder& decoder = track.decoder;
  switch (step) {
    case Step::attention: decoder.attention_input(layer); break;
    case Step::latents: decoder.attention_latents(layer); break;
    case Step::attention_out: decoder.attention_mix(layer, index, *track.cache, 0); break;
    case Step::mlp: decoder.mlp_input(layer); break;
    case Step::mlp_out: decoder.mlp_mix(layer, index); break;
  }
}

/// From where a half begins.
void LayerWalk::take_all(Track& track, const Layer& layer, int64_t index, Step last) {
  const bool attention = of_attention(last);
  take(track, layer, index, attention ? Step::attention : Step::mlp);
  if (last != Step::attention && last != Step::mlp) take(track, layer, index, last);
}

Matrix LayerWalk::mixed(const Track& track, int64_t index, Half half) {
  return half == Half::attention ? track.decoder.attention_mixed(index) : track.decoder.mlp_mixed(index);
}

/// The hidden states behind it.
void LayerWalk::finish(Track& track, const Layer& layer, int64_t index, Half half) {
  half == Half::attention ? track.decoder.attention_output(layer, index)
                          : track.decoder.mlp_output(layer, index);
}

/// From the states that are kept to where the half begins.
void LayerWalk::come_to(Track& track, const Layer& layer, int64_t index, Half half) {
  if (half == Half::attention || !in_parallel()) return;
  take_all(track, layer, index, Step::attention_out);
  finish(track, layer, index, Half::attention);
}

std::vector<InputSums> LayerWalk::collect(const LayerStages& layer, int64_t index,
                                          std::span<const Stage> stages, Advances then) {
  begin_layer(index);
  std::vector<InputSums> sums = sums_for(stages, index);
  const Step step = step_of(stages[0].input);
  const Half half = half_of(step);
  const bool ends = ends_half(step);
  const bool advances = ends && then == Advances::yes && !(in_parallel() && half == Half::attention);
  // of experts there would be as many as each token goes to
  const bool keeps = advances && inputs_ && (half == Half::attention || spec_.at(index).experts == 0);
  const bool compares = advances || std::any_of(stages.begin(), stages.end(),
                                                [](const Stage& stage) { return !of_experts(stage.input); });
  const Visit visit = [&](Track& track, const Layer& now) {
    come_to(track, now, index, half);
    take_all(track, now, index, step);
  };
  each_part([&](int64_t first) {
    load_all(first);
    compares ? both(layer, visit) : visit(*tracks_[0], layer.now);
    for (size_t i = 0; i < stages.size(); ++i) add(stages[i], index, sums[i]);
    if (keeps) inputs_->put(*stream_, mixed(*tracks_[0], index, half), first);
    if (!advances || tracks_.size() == 1) return;
    finish(*tracks_[1], layer.original, index, half);
    save(*tracks_[1], first);
  });
  if (!ends) return sums;
  inputs_kept_ = keeps;
  original_ahead_ = advances ? 1 : 0;
  return sums;
}

std::vector<InputSums> LayerWalk::collect_all(const LayerStages& layer, int64_t index,
                                              std::span<const Stage> stages, Advances then) {
  begin_layer(index);
  std::vector<InputSums> sums = sums_for(stages, index);
  each_part([&](int64_t first) {
    load_all(first);
    std::optional<Step> taken;
    for (size_t i = 0; i < stages.size(); ++i) {
      const Step next = step_of(stages[i].input);
      const Visit visit = [&](Track& track, const Layer& now) {
        if (taken && half_of(*taken) != half_of(next)) finish(track, now, index, half_of(*taken));
        take(track, now, index, next);
      };
      if (taken != next) both(layer, visit);
      add(stages[i], index, sums[i]);
      taken = next;
    }
    if (then == Advances::no || tracks_.size() == 1) return;
    finish(*tracks_[1], layer.original, index, half_of(*taken));
    save(*tracks_[1], first);
  });
  original_ahead_ = then == Advances::yes ? (in_parallel() ? 1 : 2) : 0;
  return sums;
}

InputSums LayerWalk::collect_head(const Weights& outer) {
  InputSums sums{.hessian = stream_->create_hessian(spec_.embed_dim), .drifts = {}};
  if (head_drifts(follow_).inputs)
    sums.drifts.inputs = stream_->create_drift(spec_.embed_dim, spec_.embed_dim);
  const auto read = [&](size_t track) { return tracks_[track]->decoder.head_input(outer); };
  each_part([&](int64_t first) {
    load_all(first);
    add(read(0), sums.drifts.inputs ? read(1) : Matrix{}, sums);
  });
  return sums;
}

void LayerWalk::advance(const LayerStages& layer, int64_t index, Half half) {
  if (in_parallel() && half == Half::attention) return;
  begin_layer(index);
  const size_t moving = original_ahead_ > 0 ? 1 : tracks_.size();
  each_part([&](int64_t first) {
    for (size_t t = 0; t < moving; ++t) {
      Track& track = *tracks_[t];
      const Layer& stage = t == 0 ? layer.now : layer.original;
      load(track, first);
      come_to(track, stage, index, half);
      if (t == 0 && inputs_kept_) {
        inputs_->get(*stream_, first, mixed(track, index, half));
      } else {
        take_all(track, stage, index, half == Half::attention ? Step::attention_out : Step::mlp_out);
      }
      finish(track, stage, index, half);
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
