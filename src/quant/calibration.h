// Calibration data: sequences of tokens, cut from text, given as they are, or written by the model itself.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model/loader.h"
#include "session/model.h"
#include "text/tokenizer.h"

namespace gptq {

using Sequences = std::vector<std::vector<int32_t>>;

/// yes: documents follow one another, with the end-of-text token between them, and are cut as one text. no: each
/// document is cut on its own, so that no sequence has parts of two.
enum class Packing : uint8_t { no, yes };

struct CutOptions {
  int64_t samples = 128, length = 2048;
  std::optional<uint64_t> seed;
  Packing packing = Packing::yes;
  int64_t vocab = 0;           // of the model's embedding
  std::optional<int32_t> eos;  // put between packed documents that do not end in it
};

/// Fewest tokens of a sequence that ends with its document, where documents are not packed.
inline constexpr int64_t kShortestSequence = 10;

struct CutText {
  Sequences sequences;
  int64_t too_short = 0;  // ends of documents, below kShortestSequence, that were left out
};

/// Leaves the first `samples` of them, or as many at random, in their order, where a seed is given.
void take_samples(Sequences& sequences, int64_t samples, std::optional<uint64_t> seed);

/// Tokenizes documents and cuts them into consecutive sequences of `length` tokens; the first `samples` of them, or as
/// many at random, without repetition, where a seed is given. Packed, the rest that fills no sequence is left out,
/// unless all is shorter than one: then it is the one sequence. There is no padding.
/// Status::invalid_argument when nothing is left, or one sequence of fewer than two tokens; Fault::range for an id that
/// the model's embedding lacks: then tokenizer and weights do not belong together.
CutText cut_documents(const Tokenizer& tokenizer, std::span<const std::string> documents,
                      const CutOptions& options);

/// `samples` sequences of `length` tokens, drawn by the model from its own distribution at temperature 1 after
/// `start`. The same for the same seed. `cancel` may be null.
Sequences write_own_text(const Spec& spec, const Weights& weights, const Backend& backend, int32_t start,
                         int64_t samples, int64_t length, uint64_t seed, const std::atomic<bool>* cancel,
                         const Progress& progress);

}  // namespace gptq
