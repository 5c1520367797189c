// Ops over the rows of a matrix: norms, gathers, sums of rows, rows of a table.
#include "cuda/elements.cuh"
#include "cuda/launch.cuh"
#include "cuda/parts.cuh"
#include "cuda/weights.cuh"

namespace gptq::cuda {
namespace {

constexpr int kThreads = 256;

/// Calls f(first column, number of them) for the thread's parts of a row: vectors where rows start at multiples of 16
/// bytes, else single elements.
template <class F>
GPTQ_DEVICE void for_parts(int64_t cols, F f) {
  const int width = cols % kVector == 0 ? kVector : 1;
  for (int64_t c = int64_t{thread_x()} * width; c < cols; c += int64_t{kThreads} * width) f(c, width);
}

template <class T>
GPTQ_DEVICE void load_part(const T* p, int width, float (&x)[kVector]) {
  if (width == kVector) return load_vector(p, x);
  x[0] = to_float(*p);
}
template <class T>
GPTQ_DEVICE void store_part(T* p, int width, const float (&x)[kVector]) {
  if (width == kVector) return store_vector(p, x);
  *p = from_float<T>(x[0]);
}

/// out = (y - mean) / sqrt(variance + eps) weight + bias, or y / sqrt(mean of y^2 + eps) weight; y = x + factor addend.
/// A block has a row, which it keeps in shared memory in fp32.
template <class T>
__global__ void __launch_bounds__(kThreads) norm_rows(NormArguments n) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  auto* const row = reinterpret_cast<float*>(shared_memory());  // [cols], then sums of warps, twice
  float* const sums = row + (n.cols + 3) / 4 * 4;
  const int64_t at = int64_t{block_x()} * n.cols;
  float total = 0, squares = 0;
  for_parts(n.cols, [&](int64_t c, int width) {
    float x[kVector], y[kVector];
    load_part(static_cast<const T*>(n.x) + at + c, width, x);
    if (n.addend != nullptr) {
      load_part(static_cast<const T*>(n.addend) + at + c, width, y);
      for (int i = 0; i < kVector && i < width; ++i) x[i] = to_float(from_float<T>(x[i] + n.factor * y[i]));
      store_part(static_cast<T*>(n.sum) + at + c, width, x);
    }
    for (int i = 0; i < kVector && i < width; ++i) {
      row[c + i] = x[i];
      total += x[i];
      squares += x[i] * x[i];
    }
  });
  const auto count = static_cast<float>(n.cols);
  float mean = 0;
  if (n.kind == Norm::layer) {
    mean = block_sum(total, sums) / count;
    squares = 0;
    for_parts(n.cols, [&](int64_t c, int width) {
      for (int i = 0; i < kVector && i < width; ++i) squares += (row[c + i] - mean) * (row[c + i] - mean);
    });
  }
  const float factor = 1.0f / sqrtf(block_sum(squares, sums + kThreads / kWarp) / count + n.eps);
  const int64_t part = block_x() % n.parts * n.cols;
  for_parts(n.cols, [&](int64_t c, int width) {
    float y[kVector];
    for (int i = 0; i < kVector && i < width; ++i) {
      y[i] = (row[c + i] - mean) * factor * n.weight[part + c + i];
      if (n.bias != nullptr) y[i] += n.bias[part + c + i];
    }
    store_part(static_cast<T*>(n.out) + at + c, width, y);
  });
}

template <class T, class Factor>
__global__ void __launch_bounds__(kThreads) scale_each_row(T* x, const Factor* factors, int64_t cols) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  T* const row = x + int64_t{block_x()} * cols;
  const float factor = to_float(factors[block_x()]);
  for_parts(cols, [&](int64_t c, int width) {
    float v[kVector];
    load_part(row + c, width, v);
    for (int i = 0; i < kVector && i < width; ++i) v[i] *= factor;
    store_part(row + c, width, v);
  });
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    gather_each_row(const T* x, const int32_t* rows, int64_t cols, T* out) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  const int64_t from = rows[block_x()];
  for_parts(cols, [&](int64_t c, int width) {
    float v[kVector] = {};
    if (from >= 0) load_part(x + from * cols + c, width, v);
    store_part(out + int64_t{block_x()} * cols + c, width, v);
  });
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    gather_each_column(const T* x, int64_t cols, const int32_t* order, int64_t columns, T* out) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  for (int64_t c = thread_x(); c < columns; c += kThreads) {
    const int64_t from = order[c];
    out[int64_t{block_x()} * columns + c] =
        from >= 0 ? x[int64_t{block_x()} * cols + from] : from_float<T>(0.0f);
  }
}

/// Parts are in the order of their rows; those of an expert have the same order of inputs. Of parts that begin at the same
/// row the last has some, if any has.
template <class T>
__global__ void __launch_bounds__(kThreads)
    gather_by_part(const T* x, int64_t cols, const LinearPart* parts, const PartRows* part_rows, int count,
                   int64_t columns, T* out) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  const int64_t row = block_x();
  const int number = last_part_at<&PartRows::first_row>(part_rows, count, row);
  const PartRows part = part_rows[number];
  if (row < part.first_row || row >= part.first_row + part.rows) return;
  const int32_t* const order = parts[number].w.order;
  for (int64_t c = thread_x(); c < columns; c += kThreads) {
    const int64_t from = order[c];
    out[row * columns + c] = from >= 0 ? x[row * cols + from] : from_float<T>(0.0f);
  }
}

/// A block has kVector columns for each thread of one row of x, and looks for those rows of y that go there.
template <class T>
__global__ void __launch_bounds__(kThreads)
    scatter_rows(T* x, int64_t cols, const int32_t* rows, const float* weights, const T* y, int64_t count) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  const int64_t first = (int64_t{block_y()} * kThreads + thread_x()) * kVector;
  const int64_t left = cols - first;
  const int mine = left >= kVector ? kVector : left > 0 ? static_cast<int>(left) : 0;
  T* const to = x + int64_t{block_x()} * cols + first;
  float sum[kVector];
  for (int i = 0; i < kVector && i < mine; ++i) sum[i] = to_float(to[i]);
  for (int64_t begin = 0; begin < count; begin += kWarp) {
    const int64_t at = begin + lane_of_thread();
    for (uint32_t found = ballot(at < count && rows[at] == block_x()); found != 0; found &= found - 1) {
      const int bit = lowest_bit(found);
      const float weight = weights != nullptr ? weights[begin + bit] : 1.0f;
      const T* const from = y + (begin + bit) * cols + first;
      for (int i = 0; i < kVector && i < mine; ++i) sum[i] += weight * to_float(from[i]);
    }
  }
  for (int i = 0; i < kVector && i < mine; ++i) to[i] = from_float<T>(sum[i]);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    join_each_row(const T* a, int64_t m, const T* b, int64_t n, SharedTail shared, int64_t heads, T* out) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  const int64_t row = block_x(), width = m + n;
  for (int64_t c = thread_x(); c < heads * width; c += kThreads) {
    const int64_t head = c / width, i = c % width;
    const int64_t tail = shared == SharedTail::yes ? row * n : (row * heads + head) * n;
    out[row * heads * width + c] = i < m ? a[(row * heads + head) * m + i] : b[tail + i - m];
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads) embed_rows(Weights w, const int32_t* ids, T* out) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  const int64_t row = ids[block_x()];
  for (int64_t i = thread_x(); i < w.shape.packed_inputs; i += kThreads) {
    const int64_t input = w.order != nullptr ? w.order[i] : i < w.shape.cols ? i : -1;
    if (input >= 0) out[int64_t{block_x()} * w.shape.cols + input] = weight_at<T>(w, row, i);
  }
}

}  // namespace

void norm(const Queue& queue, Element element, const NormArguments& n) {
  const size_t floats = static_cast<size_t>(n.cols + 3) / 4 * 4 + 2 * kThreads / kWarp;
  with_element(element, [&](auto kind) {
    launch(queue, norm_rows<decltype(kind)>,
           {.x = n.rows, .threads = kThreads, .shared_bytes = floats * sizeof(float)}, n);
  });
}

void scale_rows(const Queue& queue, Element element, void* x, const float* factors, int64_t rows,
                int64_t cols) {
  with_element(element, [&](auto kind) {
    using T = decltype(kind);
    launch(queue, scale_each_row<T, float>, {.x = rows, .threads = kThreads}, static_cast<T*>(x), factors,
           cols);
  });
}

void scale_rows_by_elements(const Queue& queue, Element element, void* x, const void* factors, int64_t rows,
                            int64_t cols) {
  with_element(element, [&](auto kind) {
    using T = decltype(kind);
    launch(queue, scale_each_row<T, T>, {.x = rows, .threads = kThreads}, static_cast<T*>(x),
           static_cast<const T*>(factors), cols);
  });
}

void gather_rows(const Queue& queue, Element element, const void* x, const int32_t* rows, int64_t count,
                 int64_t cols, void* out) {
  with_element(element, [&](auto kind) {
    using T = decltype(kind);
    launch(queue, gather_each_row<T>, {.x = count, .threads = kThreads}, static_cast<const T*>(x), rows, cols,
           static_cast<T*>(out));
  });
}

void gather_columns(const Queue& queue, Element element, const void* x, int64_t cols, const int32_t* order,
                    int64_t columns, int64_t rows, void* out) {
  with_element(element, [&](auto kind) {
    using T = decltype(kind);
    launch(queue, gather_each_column<T>, {.x = rows, .threads = kThreads}, static_cast<const T*>(x), cols,
           order, columns, static_cast<T*>(out));
  });
}

void gather_columns_of_parts(const Queue& queue, Element element, const void* x, int64_t cols,
                             const LinearPart* parts, const PartRows* part_rows, int64_t count,
                             int64_t columns, int64_t rows, void* out) {
  if (count == 0) return;
  with_element(element, [&](auto kind) {
    using T = decltype(kind);
    launch(queue, gather_by_part<T>, {.x = rows, .threads = kThreads}, static_cast<const T*>(x), cols, parts,
           part_rows, static_cast<int>(count), columns, static_cast<T*>(out));
  });
}

void scatter_add(const Queue& queue, Element element, void* x, int64_t x_rows, int64_t cols,
                 const int32_t* rows, const float* weights, const void* y, int64_t count) {
  with_element(element, [&](auto kind) {
    using T = decltype(kind);
    launch(queue, scatter_rows<T>,
           {.x = x_rows, .y = divide_up(cols, kThreads * kVector), .threads = kThreads}, static_cast<T*>(x),
           cols, rows, weights, static_cast<const T*>(y), count);
  });
}

void join_heads(const Queue& queue, Element element, const void* a, int64_t m, const void* b, int64_t n,
                SharedTail shared, int64_t heads, int64_t rows, void* out) {
  with_element(element, [&](auto kind) {
    using T = decltype(kind);
    launch(queue, join_each_row<T>, {.x = rows, .threads = kThreads}, static_cast<const T*>(a), m,
           static_cast<const T*>(b), n, shared, heads, static_cast<T*>(out));
  });
}

void embed(const Queue& queue, Element element, const Weights& table, const int32_t* ids, int64_t count,
           void* out) {
  with_element(element, [&](auto kind) {
    using T = decltype(kind);
    launch(queue, embed_rows<T>, {.x = count, .threads = kThreads}, table, ids, static_cast<T*>(out));
  });
}

}  // namespace gptq::cuda
