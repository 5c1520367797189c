// Memory of the CPU's streams, copies, and what consists of other ops.
#include <algorithm>
#include <cstring>

#include "backend/rows_by_ops.h"
#include "base/error.h"
#include "cpu/stream_cpu.h"

namespace gptq::cpu {
namespace {

class HostMemory final : public Memory {
 public:
  explicit HostMemory(size_t bytes) : block_(bytes) {}
  std::byte* data() override { return block_.data(); }
  size_t bytes() const override { return block_.bytes(); }

 private:
  AlignedBlock block_;
};

void copy_floats(const void* from, void* to, int64_t rows, int64_t cols) {
  if (rows > 0 && cols > 0 && from != to)
    std::memcpy(to, from, static_cast<size_t>(rows * cols) * sizeof(float));
}

}  // namespace

void CpuStream::check_cancel() const {
  if (cancel_ != nullptr && cancel_->load(std::memory_order_relaxed))
    throw Error(Status::cancelled, "cancelled");
}

std::unique_ptr<Memory> CpuStream::allocate(size_t bytes) { return std::make_unique<HostMemory>(bytes); }

void CpuStream::upload(const float* host, Matrix out) { copy_floats(host, out.data, out.rows, out.cols); }

void CpuStream::download(Matrix x, float* host) { copy_floats(x.data, host, x.rows, x.cols); }

void CpuStream::copy(Matrix x, Matrix out) { copy_floats(x.data, out.data, x.rows, x.cols); }

std::optional<int64_t> CpuStream::quantize_rows(const Hessian& hessian, const Factor* factor,
                                                const RowsProblem& problem) {
  const auto threads = [this](int64_t count, int64_t grain, const auto& body) {
    parallel_for(count, grain, body);
  };
  return rows_by_ops(*this, threads, hessian, factor, problem);
}

}  // namespace gptq::cpu
