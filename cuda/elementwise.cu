// Ops that see each element by itself: out[i] = op(a[i], b[i]), eight of them to a thread.
#include "cuda/elements.cuh"
#include "cuda/launch.cuh"

namespace gptq::cuda {
namespace {

constexpr int kThreads = 256;

GPTQ_DEVICE float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

struct AddOp {
  float factor;
  GPTQ_DEVICE float operator()(float x, float y) const { return x + factor * y; }

  bool operator==(const AddOp&) const = default;
};
struct ScaleOp {
  float factor;
  GPTQ_DEVICE float operator()(float x, float) const { return x * factor; }

  bool operator==(const ScaleOp&) const = default;
};
struct ClampOp {
  float limit;
  GPTQ_DEVICE float operator()(float x, float) const { return x < -limit ? -limit : x > limit ? limit : x; }

  bool operator==(const ClampOp&) const = default;
};
struct SoftcapOp {
  float cap;
  GPTQ_DEVICE float operator()(float x, float) const { return cap * tanhf(x / cap); }

  bool operator==(const SoftcapOp&) const = default;
};

/// `up` is what the gate is for; without one it is 1.
template <bool with_up>
struct ActivateOp {
  Act act;
  float a, a_negative, c, d;

  GPTQ_DEVICE float of_gate(float x) const {
    switch (act) {
      case Act::silu: return x * sigmoid(x);
      case Act::gelu: return 0.5f * x * erfcf(x * -0.70710678118654752f);
      case Act::gelu_tanh:  // x/2 (1 + tanh u) = x sigmoid(2 u)
        return x * sigmoid(1.5957691216057308f * (x + 0.044715f * x * x * x));
      case Act::relu: return x < 0 ? 0.0f : x;
      case Act::relu2: return x > 0 ? x * x : 0.0f;
      case Act::sigmoid: return sigmoid(x);
      case Act::xielu: return x > 0 ? a * x * x + c * x : (expm1f(x < d ? x : d) - x) * a_negative + c * x;
      case Act::clamped_silu: {
        const float most = x < d ? x : d;
        return most * sigmoid(a * most);
      }
    }
    return 0;
  }
  GPTQ_DEVICE float operator()(float gate, float up) const {
    const float y = of_gate(gate);
    if (!with_up) return y;
    if (act == Act::clamped_silu) up = (up < -d ? -d : up > d ? d : up) + 1.0f;
    return y * up;
  }

  bool operator==(const ActivateOp&) const = default;
};

template <class T, class Op>
__global__ void __launch_bounds__(kThreads) map_elements(const T* a, const T* b, T* out, int64_t n, Op op) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  const int64_t first = (int64_t{block_x()} * kThreads + thread_x()) * kVector;
  if (first + kVector <= n) {
    float x[kVector], y[kVector];
    load_vector(a + first, x);
    load_vector(b + first, y);
#pragma unroll
    for (int i = 0; i < kVector; ++i) x[i] = op(x[i], y[i]);
    store_vector(out + first, x);
    return;
  }
  for (int64_t i = first; i < n; ++i) out[i] = from_float<T>(op(to_float(a[i]), to_float(b[i])));
}

template <class From, class To>
__global__ void __launch_bounds__(kThreads) convert(const From* in, To* out, int64_t n) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  const int64_t i = int64_t{block_x()} * kThreads + thread_x();
  if (i < n) out[i] = from_float<To>(to_float(in[i]));
}

template <class Op>
void map(const Queue& queue, Element element, const void* a, const void* b, void* out, int64_t n, Op op) {
  with_element(element, [&](auto kind) {
    using T = decltype(kind);
    launch(queue, map_elements<T, Op>, {.x = divide_up(n, kThreads * kVector), .threads = kThreads},
           static_cast<const T*>(a), static_cast<const T*>(b), static_cast<T*>(out), n, op);
  });
}

}  // namespace

void narrow(const Queue& queue, Element element, const float* in, void* out, int64_t n) {
  with_element(element, [&](auto kind) {
    using T = decltype(kind);
    launch(queue, convert<float, T>, {.x = divide_up(n, kThreads), .threads = kThreads}, in,
           static_cast<T*>(out), n);
  });
}

void widen(const Queue& queue, Element element, const void* in, float* out, int64_t n) {
  with_element(element, [&](auto kind) {
    using T = decltype(kind);
    launch(queue, convert<T, float>, {.x = divide_up(n, kThreads), .threads = kThreads},
           static_cast<const T*>(in), out, n);
  });
}

void add(const Queue& queue, Element element, void* x, const void* y, float factor, int64_t n) {
  map(queue, element, x, y, x, n, AddOp{factor});
}

void scale(const Queue& queue, Element element, void* x, float factor, int64_t n) {
  map(queue, element, x, x, x, n, ScaleOp{factor});
}

void clamp(const Queue& queue, Element element, void* x, float limit, int64_t n) {
  map(queue, element, x, x, x, n, ClampOp{limit});
}

void softcap(const Queue& queue, Element element, void* x, float cap, int64_t n) {
  map(queue, element, x, x, x, n, SoftcapOp{cap});
}

void activate(const Queue& queue, Element element, const Activation& f, const void* gate, const void* up,
              void* out, int64_t n) {
  if (up != nullptr) {
    map(queue, element, gate, up, out, n, ActivateOp<true>{f.act, f.a, f.a_negative, f.c, f.d});
  } else {
    map(queue, element, gate, gate, out, n, ActivateOp<false>{f.act, f.a, f.a_negative, f.c, f.d});
  }
}

}  // namespace gptq::cuda
