// Products with rounded inputs in NEON.
#if defined(__aarch64__)

#include "cpu/ints_neon.h"

namespace gptq::cpu {
namespace {
constexpr int64_t kTileRows = 4, kMostDotRows = 8;
}
}  // namespace gptq::cpu

#include "cpu/rounded_simd.h"

namespace gptq::cpu {
const RoundedKernels kRoundedNeon = kTable;
}

#endif
