// Which set of kernels this machine runs.
#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "base/log.h"
#include "base/text.h"
#include "cpu/kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace gptq::cpu {
namespace {

#if defined(__x86_64__)
struct Features {
  bool avx2 = false, avx_vnni = false, avx512 = false, avx512_vnni = false, avx512_bf16 = false, amx = false;
};
constexpr const char* kMaskNames = "avx2, avx512, vnni, bf16 and amx";

/// Takes what is known by a name of GPTQ_CPU_MASK out of `found`, and what needs it. False: nothing is.
bool hide(std::string_view name, Features& found) {
  if (name == "avx2") {
    found = {};
  } else if (name == "avx512") {
    found.avx512 = found.avx512_vnni = found.avx512_bf16 = found.amx = false;
  } else if (name == "vnni") {
    found.avx_vnni = found.avx512_vnni = found.avx512_bf16 = found.amx = false;
  } else if (name == "bf16") {
    found.avx512_bf16 = found.amx = false;
  } else if (name == "amx") {
    found.amx = false;
  } else {
    return false;
  }
  return true;
}

uint64_t enabled_state() {
  uint32_t low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t{high} << 32) | low;
}

/// Linux gives the state of tiles to processes that ask for it, once for all of their threads. It refuses those with
/// signal stacks too small for it.
bool may_use_tiles() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

Features detect() {
  Features found;
  unsigned a, b, c, d;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0) return found;
  constexpr unsigned kNeeded = bit_OSXSAVE | bit_AVX | bit_FMA | bit_F16C;
  if ((c & kNeeded) != kNeeded) return found;
  const uint64_t state = enabled_state();
  constexpr uint64_t kYmm = 0x6, kZmm = 0xE6;  // SSE and AVX; mask registers and both parts of zmm besides
  if ((state & kYmm) != kYmm || __get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return found;
  found.avx2 = (b & bit_AVX2) != 0;
  constexpr unsigned kWide = bit_AVX512F | bit_AVX512BW | bit_AVX512VL | bit_AVX512DQ;
  found.avx512 = found.avx2 && (state & kZmm) == kZmm && (b & kWide) == kWide;
  constexpr unsigned kAvx512Vnni = 1u << 11;  // of ecx
  found.avx512_vnni = found.avx512 && (c & kAvx512Vnni) != 0;
  constexpr uint64_t kTiles = 0x60000;
  constexpr unsigned kAmx = 1u << 22 | 1u << 24 | 1u << 25;  // bf16, tiles and int8, of edx
  const bool tiles = (d & kAmx) == kAmx && (state & kTiles) == kTiles;
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d) == 0) return found;
  constexpr unsigned kAvxVnni = 1u << 4, kAvx512Bf16 = 1u << 5;  // of eax
  found.avx_vnni = found.avx2 && (a & kAvxVnni) != 0;
  found.avx512_bf16 = found.avx512_vnni && (a & kAvx512Bf16) != 0;
  found.amx = tiles && found.avx512_bf16;
  return found;
}
#elif defined(__aarch64__)
struct Features {
  bool neon = false, dotprod = false, i8mm = false;
};
constexpr const char* kMaskNames = "neon, dotprod and i8mm";

bool hide(std::string_view name, Features& found) {
  if (name == "neon") {
    found = {};
  } else if (name == "dotprod") {
    found.dotprod = found.i8mm = false;
  } else if (name == "i8mm") {
    found.i8mm = false;
  } else {
    return false;
  }
  return true;
}

Features detect() {
  Features found{.neon = true};
  constexpr unsigned long kDotProd = 1ul << 20, kI8mm = 1ul << 13;  // of AT_HWCAP, of AT_HWCAP2
  found.dotprod = (::getauxval(AT_HWCAP) & kDotProd) != 0;
  found.i8mm = found.dotprod && (::getauxval(AT_HWCAP2) & kI8mm) != 0;
  return found;
}
#else
struct Features {};
constexpr const char* kMaskNames = "none";
bool hide(std::string_view, Features&) { return false; }
Features detect() { return {}; }
#endif

/// Calls visit(name) for each name in GPTQ_CPU_MASK, "avx512,amx".
template <class Visit>
void each_masked(const Visit& visit) {
  const char* mask = std::getenv("GPTQ_CPU_MASK");
  std::string_view list = mask != nullptr ? mask : "";
  while (!list.empty()) {
    const size_t end = std::min(list.find(','), list.size());
    if (end > 0) visit(list.substr(0, end));
    list.remove_prefix(std::min(end + 1, list.size()));
  }
}

Features allowed() {
  Features found = detect();
  each_masked([&](std::string_view name) { hide(name, found); });
#if defined(__x86_64__)
  found.amx = found.amx && may_use_tiles();
#endif
  return found;
}

[[maybe_unused]] const Features& features() {
  static const Features once = allowed();
  return once;
}

#if defined(__x86_64__) || defined(__aarch64__)
Kernels variant(const char* name, const Kernels& base, const RoundedKernels& rounded, const Gemms& fast) {
  Kernels kernels = base;
  kernels.name = name;
  kernels.rounded = &rounded;
  kernels.fast = fast;
  return kernels;
}
#endif

#if defined(__x86_64__)
const Kernels& kernels_avx_vnni() {
  static const Kernels once = variant("avx_vnni", kernels_avx2(), kRoundedAvxVnni, kernels_avx2().fast);
  return once;
}

const Kernels& kernels_avx512_vnni() {
  static const Kernels once =
      variant("avx512_vnni", kernels_avx512(), kRoundedAvx512Vnni, kernels_avx512().fast);
  return once;
}

const Kernels& kernels_avx512_bf16() {
  static const Kernels once =
      variant("avx512_bf16", kernels_avx512(), kRoundedAvx512Vnni, gemms_avx512_bf16());
  return once;
}

const Kernels& kernels_amx() {
  static const RoundedKernels rounded = rounded_amx();
  static const Kernels once = variant("amx", kernels_avx512(), rounded, gemms_amx());
  return once;
}
#elif defined(__aarch64__)
const Kernels& kernels_neon_dotprod() {
  static const Kernels once =
      variant("neon_dotprod", kernels_neon(), kRoundedNeonDotprod, kernels_neon().fast);
  return once;
}

const Kernels& kernels_neon_i8mm() {
  static const RoundedKernels rounded = rounded_neon_i8mm();
  static const Kernels once = variant("neon_i8mm", kernels_neon(), rounded, kernels_neon().fast);
  return once;
}
#endif

}  // namespace

void warn_of_unknown_mask() {
  each_masked([](std::string_view name) {
    Features any;
    if (hide(name, any)) return;
    log(LogLevel::warning,
        cat("GPTQ_CPU_MASK names ", quoted(name), ", which hides nothing; known are ", kMaskNames));
  });
}

int available_kernels(const Kernels* (&sets)[kMaxKernelSets]) {
  int count = 0;
  sets[count++] = &kernels_ref();
#if defined(__x86_64__)
  if (features().avx2) sets[count++] = &kernels_avx2();
  if (features().avx_vnni) sets[count++] = &kernels_avx_vnni();
  if (features().avx512) sets[count++] = &kernels_avx512();
  if (features().avx512_vnni) sets[count++] = &kernels_avx512_vnni();
  if (features().avx512_bf16) sets[count++] = &kernels_avx512_bf16();
  if (features().amx) sets[count++] = &kernels_amx();
#elif defined(__aarch64__)
  if (features().neon) sets[count++] = &kernels_neon();
  if (features().dotprod) sets[count++] = &kernels_neon_dotprod();
  if (features().i8mm) sets[count++] = &kernels_neon_i8mm();
#endif
  return count;
}

const Kernels& best_kernels() {
  const Kernels* sets[kMaxKernelSets];
  return *sets[available_kernels(sets) - 1];
}

}  // namespace gptq::cpu
