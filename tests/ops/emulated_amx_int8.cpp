// The int8 kernels of AMX on emulated tiles.
#if defined(__x86_64__)

#include "emulated_tiles.h"

#define rounded_amx rounded_amx_emulated
#include "cpu/rounded_amx.cpp"

namespace gptq::test {
cpu::RoundedKernels emulated_rounded() { return cpu::rounded_amx_emulated(); }
}  // namespace gptq::test

#endif
