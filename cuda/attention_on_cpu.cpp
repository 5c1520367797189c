// Attention of heads that are too large for the kernel: by the CPU backend, over keys and values that are read back.
#include <algorithm>
#include <map>

#include "cuda/stream_cuda.h"

namespace gptq::cuda {

Matrix CudaStream::to_cpu(Matrix x, std::vector<float>& values) {
  values.resize(static_cast<size_t>(x.rows * x.cols));
  download(x, values.data());
  return {reinterpret_cast<std::byte*>(values.data()), x.rows, x.cols};
}

void CudaStream::attention_on_cpu(const AttentionParams& params, std::span<const Row> rows, Matrix q,
                                  const KvCache& cache, int64_t layer, Matrix out) {
  std::map<int32_t, int64_t> lengths;  // of the sequences that are asked for
  for (const Row& row : rows)
    lengths[row.sequence] = std::max<int64_t>(lengths[row.sequence], row.position + 1);

  const auto& pages = static_cast<const CudaKvCache&>(cache);
  const int32_t sequences = lengths.empty() ? 0 : lengths.rbegin()->first + 1;
  const auto copy = shared_->cpu->create_cache(
      {.layers = {{params.kv_heads, params.key_dim, params.value_dim}}, .sequences = sequences});
  for (const auto& entry : lengths) {
    const int32_t sequence = entry.first;
    const int64_t length = entry.second;
    std::vector<float> keys, values, none;
    {
      const Turn turn = begin();
      pages.read(*queue_, layer, sequence, length, keys, values);
    }
    std::vector<Row> places;
    for (int32_t p = 0; p < length; ++p) places.push_back({sequence, p});
    const auto matrix = [&](std::vector<float>& of) {
      return Matrix{reinterpret_cast<std::byte*>(of.data()), length,
                    static_cast<int64_t>(of.size()) / std::max<int64_t>(length, 1)};
    };
    copy->reserve(sequence, length);
    cpu_->rope_store({}, places, matrix(none), matrix(keys), matrix(values), *copy, 0);
  }

  AttentionParams p = params;
  p.slopes = on_host(params.slopes);
  p.sinks = on_host(params.sinks);
  std::vector<float> queries, result(static_cast<size_t>(out.rows * out.cols));
  cpu_->attention(p, rows, to_cpu(q, queries), *copy, 0,
                  {reinterpret_cast<std::byte*>(result.data()), out.rows, out.cols});
  upload(result.data(), out);
}

}  // namespace gptq::cuda
