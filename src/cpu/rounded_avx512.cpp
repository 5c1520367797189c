// Products with rounded inputs in AVX-512.
#if defined(__x86_64__)

#include "cpu/ints_avx512.h"

namespace gptq::cpu {
namespace {
constexpr int64_t kTileRows = 12, kMostDotRows = 8;
}
}  // namespace gptq::cpu

#include "cpu/rounded_simd.h"

namespace gptq::cpu {
const RoundedKernels kRoundedAvx512 = kTable;
}

#endif
