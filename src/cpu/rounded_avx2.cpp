// Products with rounded inputs in AVX2.
#if defined(__x86_64__)

#include "cpu/ints_avx2.h"

namespace gptq::cpu {
namespace {
constexpr int64_t kTileRows = 4, kMostDotRows = 8;
}
}  // namespace gptq::cpu

#include "cpu/rounded_simd.h"

namespace gptq::cpu {
const RoundedKernels kRoundedAvx2 = kTable;
}

#endif
