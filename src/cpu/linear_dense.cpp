// Dense weights, used where they lie: f32, f16 or bf16 rows, maybe unaligned in a mapped file.
#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "cpu/linear.h"

namespace gptq::cpu {
namespace {

constexpr int64_t kChunkBytes = 64 << 10;  // weights of one chunk of work in decoding

Dense dense_type(const Tensor& weight) {
  switch (weight.dtype) {
    case DType::f32: return Dense::f32;
    case DType::f16: return Dense::f16;
    case DType::bf16: return Dense::bf16;
    default:
      throw Error(Fault::unsupported,
                  cat("weights of type ", dtype_name(weight.dtype), ", wanted F32, F16 or BF16"));
  }
}

class DenseLinear final : public CpuLinear {
 public:
  DenseLinear(const Tensor& weight, const Tensor* bias)
      : weight_(weight), type_(dense_type(weight)), element_(type_ == Dense::f32 ? 4 : 2) {
    if (weight.shape.size() != 2) {
      throw Error(Fault::mismatch,
                  cat("weights of shape ", shape_text(weight.shape), ", wanted two dimensions"));
    }
    if (weight.bytes != static_cast<size_t>(weight.elements()) * static_cast<size_t>(element_)) {
      throw Error(Fault::mismatch,
                  cat("weights of shape ", shape_text(weight.shape), " in ", weight.bytes, " bytes"));
    }
    bias_ = bias_values(bias, out_features());
  }

  int64_t in_features() const override { return weight_.shape[1]; }
  int64_t out_features() const override { return weight_.shape[0]; }
  uint64_t bytes() const override { return weight_.bytes + bias_.size() * sizeof(float); }
  QTensor unpack() const override { throw Error(Status::internal, "dense weights have no quantized form"); }

  void apply(CpuStream& stream, Matrix x, Matrix y) const override {
    const Gemm& gemm = stream.gemm_of(type_, out_features());
    const Kernels& kernels = stream.kernels();
    if (x.rows <= gemm.dot_rows || in_features() == 0) return by_rows(stream, x, y);
    const int64_t stride = in_features();
    tiled_product(stream, gemm, row(x, 0), x.rows, stride, out_features(), bias(), row(y, 0),
                  [&](int64_t col, int64_t cols, int64_t k, int64_t depth, float* panel) {
                    kernels.pack(type_, at(col, k), stride, cols, depth, panel, kTileCols);
                  });
  }

  void read_row(const Kernels& kernels, int64_t index, float* out) const override {
    kernels.widen(type_, at(index, 0), in_features(), out);
  }

 private:
  const std::byte* at(int64_t row, int64_t col) const {
    return weight_.data + (row * in_features() + col) * element_;
  }
  const float* bias() const { return bias_.empty() ? nullptr : bias_.data(); }

  void by_rows(CpuStream& stream, Matrix x, Matrix y) const {
    const Kernels& kernels = stream.kernels();
    const int64_t inputs = in_features();
    const int64_t grain = std::clamp<int64_t>(kChunkBytes / std::max<int64_t>(inputs * element_, 1), 8, 1024);
    stream.parallel_for(out_features(), grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = 0; i < x.rows; i += kFewRows) {
        kernels.dot(type_, at(begin, 0), end - begin, inputs, row(x, i), std::min(kFewRows, x.rows - i),
                    row(y, i) + begin, out_features());
      }
      for (int64_t i = 0; bias() != nullptr && i < x.rows; ++i) {
        kernels.add(row(y, i) + begin, bias() + begin, end - begin);
      }
    });
  }

  Tensor weight_;
  Dense type_;
  int64_t element_;  // bytes
  std::vector<float> bias_;
};

}  // namespace

std::unique_ptr<Linear> make_dense_linear(const Tensor& weight, const Tensor* bias) {
  return std::make_unique<DenseLinear>(weight, bias);
}

}  // namespace gptq::cpu
