// Logits and greedy continuations that another implementation computed for a model folder.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "support/test_data.h"

namespace gptq {
class Model;
}

namespace gptq::test {

struct Reference {
  std::vector<std::vector<int32_t>> input_ids;  // [B][T]
  std::vector<float> logits;                    // [B][T][V]
  int64_t vocab = 0;
  std::vector<int32_t> greedy_ids;  // continuation of sequence 0; empty if not given
};

/// expected.safetensors of the folder.
Reference read_reference(const fs::path& folder);

/// Loads the folder and compares the logits of a causal pass, and the greedy continuation, with its reference.
/// `tolerance` is relative to the largest absolute logit.
void expect_reference(const fs::path& folder, double tolerance = 2e-4);

std::shared_ptr<const Model> load_model(const fs::path& folder, int threads = 2);

/// Logits [T][V] of one causal pass, the tokens given in pieces of `piece`.
std::vector<float> causal_logits(const std::shared_ptr<const Model>& model, const std::vector<int32_t>& ids,
                                 int64_t piece);

/// The likeliest next token `count` times, but for those that end a text.
std::vector<int32_t> greedy_ids(const std::shared_ptr<const Model>& model, const std::vector<int32_t>& prompt,
                                size_t count);

/// Largest difference over the largest magnitude of `b`.
double relative_difference(const std::vector<float>& a, const std::vector<float>& b);

}  // namespace gptq::test
