// Products with rounded inputs in AVX-512 VNNI.
#if defined(__x86_64__)

#include "cpu/ints_avx512.h"

namespace gptq::cpu {
namespace {
constexpr int64_t kTileRows = 12, kMostDotRows = INT64_MAX;
}
}  // namespace gptq::cpu

#include "cpu/rounded_simd.h"

namespace gptq::cpu {
const RoundedKernels kRoundedAvx512Vnni = kTable;
}

#endif
