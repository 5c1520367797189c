// The kernels in NEON.
#if defined(__aarch64__)

#include "cpu/vec_neon.h"

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
constexpr Kernels kTable = make_kernels("neon", &kRoundedNeon);
}

const Kernels& kernels_neon() { return kTable; }

}  // namespace gptq::cpu

#endif
