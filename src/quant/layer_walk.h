// Calibration goes through the model one layer at a time: the hidden states of all sequences are kept, the layer is
// quantized from them, and they move on through the quantized layer.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "backend/backend.h"
#include "model/decoder.h"
#include "model/weights.h"
#include "quant/calibration.h"

namespace gptq {

class LayerWalk {
 public:
  /// `cancel` as for Backend::create_stream(); `tick` is called now and then, and throws to stop.
  LayerWalk(const Spec& spec, const Backend& backend, const Sequences& sequences,
            const std::atomic<bool>* cancel, std::function<void()> tick);

  Stream& stream() { return *stream_; }

  /// Hidden states before layer 0.
  void embed(const Weights& outer);
  /// X^T X of what the Linears of `input` read, with the layer as it is now. For what the
  /// attention's Linears read, before advance_attention() of the layer; for what the MLP's read, behind it.
  std::unique_ptr<Hessian> collect(const Layer& layer, int64_t index, Input input);
  /// All four at once, from one pass.
  std::array<std::unique_ptr<Hessian>, kInputs.size()> collect_all(const Layer& layer, int64_t index);
  /// Hidden states move past the attention, or past the MLP, of the layer as it is now.
  void advance_attention(const Layer& layer, int64_t index);
  void advance_mlp(const Layer& layer);

 private:
  /// Sequences that go through the decoder together, and where their tokens lie in states_.
  struct Group {
    std::vector<size_t> sequences;
    int64_t tokens = 0;
  };
  /// Uploads the states of each part of each group and calls visit(); `keep` stores them back after it.
  enum class Keep : uint8_t { no, yes };
  void each_part(Keep keep, const std::function<void()>& visit);
  std::unique_ptr<Hessian> hessian_for(Input input);

  const Spec& spec_;
  const Backend& backend_;
  const Sequences& sequences_;
  std::function<void()> tick_;
  std::unique_ptr<Stream> stream_;
  Decoder decoder_;
  std::vector<Group> groups_;
  std::unique_ptr<KvCache> cache_;  // one layer
  std::vector<float> states_;       // [tokens, hidden], group after group
};

}  // namespace gptq
