// Mixtures of experts: which rows of a batch go to which expert, and with which weights.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace gptq {

class Vector;

/// How the numbers s that a router gives for a row become the weights of its experts.
enum class RouterScore : uint8_t {
  softmax,         // over all experts
  softmax_chosen,  // over those chosen
  sigmoid,         // of each by itself
  // of each choice over the experts that are left and near the best of them, m: (m - s) / max(|s|, m) <= 2 jitter
  // (arXiv 2409.12136)
  softmax_near,
};
enum class Renormalize : uint8_t { no, yes };
/// What a group of experts is chosen by.
enum class GroupScore : uint8_t { best, two_best };

struct RouterParams {
  RouterScore score = RouterScore::softmax;
  int64_t chosen = 1;                         // experts of each row
  Renormalize renormalize = Renormalize::no;  // weights are divided by their sum
  const Vector* choice_bias = nullptr;        // [experts] added to scores for the choice alone; null: none
  // experts of all but the best groups are not chosen
  int64_t groups = 1, groups_chosen = 1;
  GroupScore group_score = GroupScore::best;
  float factor = 1.0f;  // on the weights
  float jitter = 0;     // of softmax_near
};

/// Rows sorted by expert, each expert's in the order of the batch: those of e are [begin[e], begin[e + 1]).
struct Routing {
  std::vector<int64_t> begin;  // [experts + 1]
  std::vector<int32_t> rows;
  std::vector<float> weights;  // of each

  int64_t count(int64_t expert) const { return begin[static_cast<size_t>(expert) + 1] - first(expert); }
  int64_t first(int64_t expert) const { return begin[static_cast<size_t>(expert)]; }
};

}  // namespace gptq
