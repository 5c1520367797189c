// Calibration goes through the model one layer at a time: the hidden states of all sequences are kept, the layer is
// quantized from them, and they move on through the quantized layer.
//
// Each half of a layer, attention and MLP, ends in a Linear that is quantized from what it reads, and then applied to it.
// So what the pass that collects for it computed is kept where there is room (StatePlaces), and advance_*() need not
// compute it again; the unquantized model, for which nothing changes in between, goes on in the same pass.
#pragma once

#include <array>
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

/// Sums over all tokens of what the Linears of one input read.
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

/// Where the states are kept, [tokens, hidden] of each model, and what the last Linear of a half reads, [tokens, inputs].
struct StatePlaces {
  enum class Place : uint8_t { memory, file, nowhere };
  Place states = Place::memory;  // not nowhere
  Place inputs = Place::memory;
  const WorkFolder* folder = nullptr;  // of the files
};

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
  /// Of what the Linears of `input` read, with the layer as it is now. For what the attention's Linears read, before
  /// advance_attention() of the layer; for what the MLP's read, behind it. `then` counts for the last Linears of a half.
  InputSums collect(const LayerStages& layer, int64_t index, Input input, Advances then);
  /// All four at once, from one pass. Inputs are not kept.
  std::array<InputSums, kInputs.size()> collect_all(const LayerStages& layer, int64_t index, Advances then);
  /// Of what the output head reads, with all states behind the last layer.
  InputSums collect_head(const NormWeights& final_norm);
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
    Track(const Spec& spec, Stream& stream) : decoder(spec, stream) {}
    Decoder decoder;
    std::unique_ptr<KvCache> cache;    // one layer
    std::optional<StateStore> states;  // group after group
  };
  /// What is done with a part of the tokens in one model.
  using Step = std::function<Matrix(Track& track, const Layer& layer)>;
  /// Results of a step in the quantized model, and in the unquantized one where that is followed.
  struct Inputs {
    Matrix now, original;
  };
  Inputs both(const LayerStages& layer, const Step& step);

  enum class Half : uint8_t { attention, mlp };
  static Matrix mix(Track& track, const Layer& layer, int64_t index, Half half);
  static void finish(Track& track, const Layer& layer, Half half);

  /// Begins each part of each group; `first` is its first token.
  void each_part(const std::function<void(int64_t first)>& visit);
  void load(Track& track, int64_t first) { track.states->get(*stream_, first, track.decoder.hidden()); }
  void save(Track& track, int64_t first) { track.states->put(*stream_, track.decoder.hidden(), first); }
  void load_all(int64_t first);
  void begin_group(const Group& group);
  InputSums sums_for(Input input, int64_t index);
  void add(const Inputs& inputs, InputSums& sums);
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
  // of the group under way
  std::vector<int32_t> tokens_;
  std::vector<Row> rows_;
  std::vector<int64_t> lengths_;
};

}  // namespace gptq
