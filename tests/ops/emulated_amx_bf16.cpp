// The bf16 kernels of AMX on emulated tiles.
#if defined(__x86_64__)

#include "emulated_tiles.h"

#define gemms_amx gemms_amx_emulated
#include "cpu/gemm_amx.cpp"

namespace gptq::test {
cpu::Gemms emulated_gemms() { return cpu::gemms_amx_emulated(); }
}  // namespace gptq::test

#endif
