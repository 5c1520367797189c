// Calibration data: sequences of tokens, cut from text, given as they are, or written by the model itself.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/loader.h"
#include "model/model.h"
#include "text/tokenizer.h"

namespace gptq {

using Sequences = std::vector<std::vector<int32_t>>;

/// Cuts `text` (tokenized once, as a whole) into consecutive sequences of `length` tokens; the first `samples` of
/// them, or as many at random, without repetition, where a seed is given. The rest that fills no sequence is left
/// out, unless the text is shorter than one: then it is the one sequence.
/// Status::invalid_argument when the text has fewer than two tokens, Fault::range for an id that the model's embedding
/// lacks: then tokenizer and weights do not belong together.
Sequences cut_text(const Tokenizer& tokenizer, const std::string& text, int64_t samples, int64_t length,
                   std::optional<uint64_t> seed, int64_t vocab);

/// `samples` sequences of `length` tokens, drawn by the model from its own distribution at temperature 1 after
/// `start`. The same for the same seed. `cancel` may be null.
Sequences write_own_text(const Spec& spec, const Weights& weights, const Backend& backend, int32_t start,
                         int64_t samples, int64_t length, uint64_t seed, const std::atomic<bool>* cancel,
                         const Progress& progress);

}  // namespace gptq
