// Calibration goes through the model one layer at a time: the hidden states of all sequences are kept, the layer is
// quantized from them, and they move on through the quantized layer.
//
// Each half of a layer, attention and MLP, ends in a Linear that is quantized from what it reads, and then applied to it.
// So what the pass that collects for it computed is kept where there is room (StatePlaces), and advance_*() need not
// compute it again; the unquantized model, for which nothing changes in between, goes on in the same pass.
//
// What an expert reads are the rows that the router of the quantized model sends it. The unquantized model may send others,
// so that there is nothing to compare: experts are quantized for their own outputs.
//
// Where attention and MLP stand side by side (Flow::parallel) both read the states before the layer: these stay until
// advance_mlp(), and the attention is computed again for what the MLP's last Linear makes up for.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "backend/backend.h"
#include "model/decoder.h"
#include "model/loader.h"
#include "model/weights.h"
#include "quant/calibration.h"
#include "quant/solver.h"
#include "quant/state_store.h"

namespace gptq {

/// What is quantized together: the Linears of a layer that read the same. Each expert reads its own rows.
struct Stage {
  Input input{};
  int64_t expert = 0;  // of those of experts
  int64_t inputs = 0;  // width of what they read
  std::vector<const StoredLinear*> linears;
};

/// Of a layer, in the order in which it is quantized.
std::vector<Stage> stages_of(std::span<const StoredLinear> linears);

/// The stages that one pass over the tokens collects for, beginning with the first: those whose inputs come up at the same
/// step, as those of the experts do, as long as their Hessians take no more than so many bytes.
std::span<const Stage> stages_together(std::span<const Stage> stages, uint64_t most_bytes);

/// Sums over all tokens of what the Linears of a stage read.
struct InputSums {
  std::unique_ptr<Hessian> hessian;
  Drifts drifts;  // none where the unquantized model would give the same, or is not asked
};

/// A layer as it is now, and as the unquantized model has it.
struct LayerStages {
  Layer now, original;
};

/// Whether hidden states of the unquantized model are kept beside those of the quantized one, and what is compared: what
/// the Linears read, the residual stream behind them, or both.
enum class FollowOriginal : uint8_t { no, inputs, stream, inputs_and_stream };
FollowOriginal follow_original(const SolverOptions& options);

/// Which drifts the Linears of an input have in a layer: of what they read, and of the residual stream behind them.
struct DriftsOf {
  bool inputs = false, stream = false;
};
DriftsOf drifts_of(const Spec& spec, FollowOriginal follow, int64_t layer, Input input);
/// The same of the output head.
DriftsOf head_drifts(FollowOriginal follow);

/// Where the states are kept, [tokens, hidden] of each model, and what the last Linear of a half reads, [tokens, inputs].
struct StatePlaces {
  enum class Place : uint8_t {
    memory,  // of the host
    device,  // the backend's memory
    file,
    nowhere,
  };
  Place states = Place::memory;  // not nowhere
  Place inputs = Place::memory;
  const WorkFolder* folder = nullptr;  // of the files
};

/// Most inputs that the last Linear of a half of any layer has.
int64_t widest_mixed(const Spec& spec);

/// Whether advance_attention() or advance_mlp() comes next.
enum class Advances : uint8_t { no, yes };

class LayerWalk {
 public:
  /// `cancel` as for Backend::create_stream(); `tick` is called now and then, and throws to stop.
  LayerWalk(const Spec& spec, const Backend& backend, const Sequences& sequences, FollowOriginal follow,
            const StatePlaces& places, const std::atomic<bool>* cancel, std::function<void()> tick);

  Stream& stream() { return *stream_; }

  /// Hidden states before layer 0.
  void embed(const Loader& loader);
  /// Of what the Linears of `stages`, which are together, read, with the layer as it is now. For what the attention's
  /// Linears read, before advance_attention() of the layer; for what the MLP's read, behind it. `then` counts for the last
  /// stages of a half.
  std::vector<InputSums> collect(const LayerStages& layer, int64_t index, std::span<const Stage> stages,
                                 Advances then);
  /// All at once, from one pass, before advance_attention(). Inputs are not kept.
  std::vector<InputSums> collect_all(const LayerStages& layer, int64_t index, std::span<const Stage> stages,
                                     Advances then);
  /// Of what the output head reads, with all states behind the last layer; `outer` needs no embedding and no head.
  InputSums collect_head(const Weights& outer);
  /// Hidden states move past the attention, or past the MLP, of the layer as it is now.
  void advance_attention(const LayerStages& layer, int64_t index);
  void advance_mlp(const LayerStages& layer, int64_t index);

 private:
  /// Sequences that go through the decoder together, and where their tokens lie in the states.
  struct Group {
    std::vector<size_t> sequences;
    int64_t tokens = 0;
  };
  /// One of the models on its way through the layers.
  struct Track {
    Track(const Spec& spec, const Backend& backend, Stream& stream, int64_t max_rows)
        : decoder(spec, backend, stream, max_rows) {}
    Decoder decoder;
    std::unique_ptr<KvCache> cache;  // of one layer
    CacheShape cache_shape;
    std::optional<StateStore> states;  // group after group
  };
  /// What is done with a part of the tokens in one model.
  using Visit = std::function<void(Track& track, const Layer& layer)>;
  /// In the quantized model, and in the unquantized one where that is followed.
  void both(const LayerStages& layer, const Visit& visit);

  enum class Half : uint8_t { attention, mlp };
  static Half half_of(Step step) { return of_attention(step) ? Half::attention : Half::mlp; }
  bool in_parallel() const { return spec_.traits.flow == Flow::parallel; }
  static void take(Track& track, const Layer& layer, int64_t index, Step step);
  static void take_all(Track& track, const Layer& layer, int64_t index, Step last);
  static Matrix mixed(const Track& track, int64_t index,
                      Half half);  // what the last Linear of the half reads
  static void finish(Track& track, const Layer& layer, int64_t index, Half half);
  void come_to(Track& track, const Layer& layer, int64_t index, Half half);

  /// Begins each part of each group; `first` is its first token.
  void each_part(const std::function<void(int64_t first)>& visit);
  void load(Track& track, int64_t first) { track.states->get(*stream_, first, track.decoder.hidden()); }
  void save(Track& track, int64_t first) { track.states->put(*stream_, track.decoder.hidden(), first); }
  void load_all(int64_t first);
  void begin_layer(int64_t index);
  void begin_group(const Group& group);
  std::vector<InputSums> sums_for(std::span<const Stage> stages, int64_t index);
  void add(Matrix now, Matrix original, InputSums& sums);
  void add(const Stage& stage, int64_t index, InputSums& sums);
  void advance(const LayerStages& layer, int64_t index, Half half);

  const Spec& spec_;
  const Backend& backend_;
  const Sequences& sequences_;
  FollowOriginal follow_;
  std::function<void()> tick_;
  std::unique_ptr<Stream> stream_;
  std::vector<std::unique_ptr<Track>>
      tracks_;                        // the quantized model, and the unquantized one if it is followed
  std::optional<StateStore> inputs_;  // of the quantized model
  bool inputs_kept_ = false;          // those that the next advance() needs
  int original_ahead_ = 0;            // halves
  std::vector<Group> groups_;
  int64_t most_together_ = 1;  // sequences of a group
  // of the group under way
  std::vector<int32_t> tokens_;
  std::vector<Row> rows_;
  std::vector<int64_t> lengths_;
};

}  // namespace gptq
