// The kernels in AVX2, FMA and F16C.
#if defined(__x86_64__)

#include "cpu/vec_avx2.h"

namespace gptq::cpu {
namespace {
constexpr int64_t kTileRows = 6;
constexpr int64_t kDotRows = 2;
constexpr int64_t kMostDotRows = 16;
}  // namespace
}  // namespace gptq::cpu

#include "cpu/quant_simd.h"

namespace gptq::cpu {
namespace {
constexpr Kernels kTable = make_kernels("avx2", &kRoundedAvx2);
}

const Kernels& kernels_avx2() { return kTable; }

}  // namespace gptq::cpu

#endif
