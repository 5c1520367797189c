// Columns in another order:  out[r][i] = in[r][at[i]],  or  out[r][at[i]] = in[r][i],  a thread for each element.
#include "cuda/launch.cuh"
#include "cuda/solve.h"

namespace gptq::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void __launch_bounds__(kThreads) take(const T* in, int64_t cols, const int32_t* at, T* out) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  const int64_t row = block_x(), i = int64_t{block_y()} * kThreads + thread_x();
  if (i < cols) out[row * cols + i] = in[row * cols + at[i]];
}
template <class T>
__global__ void __launch_bounds__(kThreads) put(const T* in, int64_t cols, const int32_t* at, T* out) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  const int64_t row = block_x(), i = int64_t{block_y()} * kThreads + thread_x();
  if (i < cols) out[row * cols + at[i]] = in[row * cols + i];
}

/// As take(), of columns that are not dropped.
template <class T>
__global__ void __launch_bounds__(kThreads)
    take_stored(const T* in, int64_t cols, const int32_t* at, const uint8_t* dropped, float* out,
                uint32_t* failed) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  const int64_t row = block_x(), i = int64_t{block_y()} * kThreads + thread_x();
  if (i >= cols) return;
  const int32_t column = at[i];
  const float x = to_float(in[row * cols + column]);
  if (!(x > -INFINITY && x < INFINITY)) *failed = 1;
  out[row * cols + i] = dropped != nullptr && dropped[column] != 0 ? 0.0f : x;
}

Grid grid_of(int64_t rows, int64_t cols) {
  return {.x = rows, .y = divide_up(cols, kThreads), .threads = kThreads};
}

}  // namespace

void take_columns(const Queue& queue, const float* in, int64_t rows, int64_t cols, const int32_t* at,
                  float* out) {
  launch(queue, take<float>, grid_of(rows, cols), in, cols, at, out);
}
void take_columns(const Queue& queue, const uint8_t* in, int64_t rows, int64_t cols, const int32_t* at,
                  uint8_t* out) {
  launch(queue, take<uint8_t>, grid_of(rows, cols), in, cols, at, out);
}
void put_columns(const Queue& queue, const uint8_t* in, int64_t rows, int64_t cols, const int32_t* at,
                 uint8_t* out) {
  launch(queue, put<uint8_t>, grid_of(rows, cols), in, cols, at, out);
}

void take_weights(const Queue& queue, DType dtype, const void* in, int64_t rows, int64_t cols,
                  const int32_t* at, const uint8_t* dropped, float* out, uint32_t* failed) {
  const auto take_as = [&](auto element) {
    using T = decltype(element);
    launch(queue, take_stored<T>, grid_of(rows, cols), static_cast<const T*>(in), cols, at, dropped, out,
           failed);
  };
  switch (dtype) {
    case DType::f32: return take_as(0.0f);
    case DType::f16: return take_as(Half{});
    case DType::bf16: return take_as(BFloat{});
    default: throw Error(Status::internal, cat("weights of ", dtype_name(dtype)));
  }
}

}  // namespace gptq::cuda
