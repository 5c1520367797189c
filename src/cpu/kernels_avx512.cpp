// The kernels in AVX-512.
#if defined(__x86_64__)

#include "cpu/vec_avx512.h"

namespace gptq::cpu {
namespace {
constexpr int64_t kTileRows = 12;
constexpr int64_t kDotRows = 4;
constexpr int64_t kMostDotRows = 64;
}  // namespace
}  // namespace gptq::cpu

#include "cpu/quant_simd.h"

namespace gptq::cpu {
namespace {
constexpr Kernels kTable = make_kernels("avx512", &kRoundedAvx512);
}

const Kernels& kernels_avx512() { return kTable; }

}  // namespace gptq::cpu

#endif
