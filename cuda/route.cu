// Mixtures of experts: which experts a row goes to, with which weights, and the rows of each expert.
#include "cuda/elements.cuh"
#include "cuda/launch.cuh"

namespace gptq::cuda {
namespace {

GPTQ_DEVICE float never() { return -INFINITY; }

struct Best {
  float value;
  int index;
};

/// The greatest of values[0..n) that are numbers, the first of equals.
GPTQ_DEVICE Best best_of(const float* values, int n) {
  Best best{never(), n};
  for (int i = lane_of_thread(); i < n; i += kWarp) {
    if (values[i] > best.value || (best.index == n && values[i] == never())) best = {values[i], i};
  }
  for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) {
    const Best other{shuffle_xor(best.value, lanes),
                     static_cast<int>(shuffle_xor(static_cast<uint32_t>(best.index), lanes))};
    if (other.value > best.value || (other.value == best.value && other.index < best.index)) best = other;
  }
  return best;
}

GPTQ_DEVICE void softmax(float* x, int n) {
  float most = never(), sum = 0;
  for (int i = lane_of_thread(); i < n; i += kWarp) most = x[i] > most ? x[i] : most;
  most = warp_max(most);
  for (int i = lane_of_thread(); i < n; i += kWarp) sum += x[i] = expf(x[i] - most);
  sum = warp_sum(sum);
  for (int i = lane_of_thread(); i < n; i += kWarp) x[i] /= sum;
  sync_warp();
}

/// Members of all but the best groups are never chosen. groups [router.groups]
GPTQ_DEVICE void leave_groups_out(const RouterView& router, float* choice, int experts, float* groups) {
  const int count = static_cast<int>(router.groups), size = experts / count;
  for (int g = lane_of_thread(); g < count; g += kWarp) {
    float best = never(), second = never();
    for (int i = g * size; i < (g + 1) * size; ++i) {
      const float lesser = best < choice[i] ? best : choice[i];
      second = second > lesser ? second : lesser;
      best = best > choice[i] ? best : choice[i];
    }
    const float score = router.group_score == GroupScore::best || size == 1 ? best : best + second;
    groups[g] = score == score ? score : never();
  }
  sync_warp();
  // those chosen are turned into NaN, which is never the best
  for (int64_t i = 0; i < router.groups_chosen; ++i) {
    const Best best = best_of(groups, count);
    sync_warp();
    if (lane_of_thread() == 0 && best.index < count) groups[best.index] = NAN;
    sync_warp();
  }
  for (int e = lane_of_thread(); e < count * size; e += kWarp) {
    if (groups[e / size] == groups[e / size]) choice[e] = never();
  }
  sync_warp();
}

/// The part of `best` in the softmax over those that are left and near it.
GPTQ_DEVICE float share_of_best(const RouterView& router, const float* choice, int experts, float best) {
  float sum = 0;
  for (int e = lane_of_thread(); e < experts; e += kWarp) {
    const float s = choice[e], size = fabsf(s) > best ? fabsf(s) : best;
    if (s != never() && !((best - s) / size > 2 * router.jitter)) sum += expf(s - best);
  }
  return 1.0f / warp_sum(sum);
}

/// A warp has a row. Shared: scores and what decides [experts] each, then [groups].
template <class T>
__global__ void __launch_bounds__(kWarp)
    choose_experts(RouterView router, const T* scores, int experts, int32_t* chosen, float* weights) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  auto* const score = reinterpret_cast<float*>(shared_memory());
  float* const choice = score + experts;
  const T* const given = scores + int64_t{block_x()} * experts;
  const int lane = lane_of_thread();
  for (int e = lane; e < experts; e += kWarp) score[e] = to_float(given[e]);
  if (router.score == RouterScore::softmax) softmax(score, experts);
  // where only the order counts: far out sigmoids are all 1
  const bool raw_choice =
      router.score == RouterScore::sigmoid && router.choice_bias == nullptr && router.groups <= 1;
  for (int e = lane; e < experts; e += kWarp) {
    const float raw = score[e];
    if (router.score == RouterScore::sigmoid) score[e] = 1.0f / (1.0f + expf(-raw));
    float c = raw_choice ? raw : score[e];
    if (router.choice_bias != nullptr) c += router.choice_bias[e];
    choice[e] = c == c ? c : never();
  }
  sync_warp();
  if (router.groups > 1) leave_groups_out(router, choice, experts, choice + experts);
  int32_t* const my_experts = chosen + block_x() * router.chosen;
  float* const my_weights = weights + block_x() * router.chosen;
  for (int64_t i = 0; i < router.chosen; ++i) {
    const int best = best_of(choice, experts).index;
    float weight = score[best];
    if (router.score == RouterScore::softmax_near) weight = share_of_best(router, choice, experts, weight);
    sync_warp();
    if (lane == 0) {
      my_experts[i] = best;
      my_weights[i] = weight;
      choice[best] = never();
    }
    sync_warp();
  }
  if (lane > 0) return;
  if (router.score == RouterScore::softmax_chosen) {
    float most = never(), sum = 0;
    for (int64_t i = 0; i < router.chosen; ++i) most = my_weights[i] > most ? my_weights[i] : most;
    for (int64_t i = 0; i < router.chosen; ++i) sum += my_weights[i] = expf(my_weights[i] - most);
    for (int64_t i = 0; i < router.chosen; ++i) my_weights[i] /= sum;
  }
  float factor = router.factor;
  if (router.renormalize == Renormalize::yes) {
    float sum = 0;
    for (int64_t i = 0; i < router.chosen; ++i) sum += my_weights[i];
    factor /= sum + 1e-20f;
  }
  for (int64_t i = 0; i < router.chosen; ++i) my_weights[i] *= factor;
}

/// A warp has an expert: entries of lower ones come before its own, which keep their order.
__global__ void __launch_bounds__(kWarp)
    sort_by_expert(const int32_t* experts, const float* expert_weights, int64_t entries, int64_t chosen,
                   int32_t* begin, int32_t* rows, float* weights) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  const int lane = lane_of_thread(), expert = block_x();
  int lower = 0, own = 0;
  for (int64_t first = 0; first < entries; first += kWarp) {
    const int e = first + lane < entries ? experts[first + lane] : kMostExperts;
    lower += count_bits(ballot(e < expert));
    own += count_bits(ballot(e == expert));
  }
  if (lane == 0) {
    if (expert == 0) begin[0] = 0;
    begin[expert + 1] = lower + own;
  }
  for (int64_t first = 0; first < entries; first += kWarp) {
    const bool mine = first + lane < entries && experts[first + lane] == expert;
    const uint32_t found = ballot(mine);
    if (mine) {
      const int to = lower + count_bits(found & ((1u << lane) - 1));
      rows[to] = static_cast<int32_t>((first + lane) / chosen);
      weights[to] = expert_weights[first + lane];
    }
    lower += count_bits(found);
  }
}

}  // namespace

void route(const Queue& queue, Element element, const RouterView& router, const void* scores, int64_t rows,
           int64_t experts, const RoutingView& routing) {
  if (experts > kMostExperts) throw Error(Status::unsupported, cat("a router of ", experts, " experts"));
  const auto floats = static_cast<size_t>(2 * experts + router.groups);
  with_element(element, [&](auto kind) {
    using T = decltype(kind);
    launch(queue, choose_experts<T>, {.x = rows, .threads = kWarp, .shared_bytes = floats * sizeof(float)},
           router, static_cast<const T*>(scores), static_cast<int>(experts), routing.experts,
           routing.expert_weights);
  });
  launch(queue, sort_by_expert, {.x = experts, .threads = kWarp}, routing.experts, routing.expert_weights,
         rows * router.chosen, router.chosen, routing.begin, routing.rows, routing.weights);
}

}  // namespace gptq::cuda
