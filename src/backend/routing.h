// Mixtures of experts: which rows of a batch go to which expert, and with which weights.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace gptq {

class Memory;
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
/// Whether what experts give is added up by the router's weights, or as it is.
enum class Weigh : uint8_t { no, yes };
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

/// Rows sorted by expert, each expert's in the order of the batch: entry i is row rows[i] of it, those of expert e are
/// [begin[e], begin[e + 1]). What Stream::route() finds stays where the stream computes, and the numbers of entries and
/// experts are all that the host always knows; the lists are in its memory once Stream::fetch() was asked for them, and at
/// once where activations are there, too.
struct Routing {
  int64_t experts = 0;
  int64_t entries = 0;  // rows of the batch times experts of each
  int64_t most = 0;     // rows of the batch: entries of an expert at most, but where scores are no numbers
  std::vector<int64_t> begin;  // [experts + 1]
  std::vector<int32_t> rows;
  std::vector<float> weights;         // of each
  std::unique_ptr<Memory> elsewhere;  // the lists in the stream's memory, if that is no part of the host's

  /// Whether the host has the lists.
  bool known() const { return !begin.empty(); }
  int64_t count(int64_t expert) const { return begin[static_cast<size_t>(expert) + 1] - first(expert); }
  int64_t first(int64_t expert) const { return begin[static_cast<size_t>(expert)]; }
};

}  // namespace gptq
