// AMX tiles as plain memory, in the place of their intrinsics: what the kernels do with them is tested on machines without.
// Nothing of the standard library: it would be compiled for AVX-512 here.
#pragma once

#include <immintrin.h>

#include <cstdint>

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbsud
#undef _tile_dpbf16ps

namespace gptq::test {
namespace {

struct Tiles {
  bool configured = false;
  int rows[8] = {}, row_bytes[8] = {};
  alignas(64) unsigned char data[8][16][64] = {};
};
thread_local Tiles tiles;

[[maybe_unused]] void load_config(const void* config) {
  const auto* bytes = static_cast<const unsigned char*>(config);
  if (bytes[0] != 1 || bytes[1] != 0) __builtin_trap();
  tiles.configured = true;
  for (int t = 0; t < 8; ++t) {
    uint16_t row_bytes;
    __builtin_memcpy(&row_bytes, bytes + 16 + 2 * t, 2);
    tiles.row_bytes[t] = row_bytes;
    tiles.rows[t] = bytes[48 + t];
    if (tiles.rows[t] > 16 || row_bytes > 64) __builtin_trap();
  }
  __builtin_memset(tiles.data, 0x5A, sizeof tiles.data);
}

[[maybe_unused]] void release() { tiles.configured = false; }

[[maybe_unused]] void zero(int t) {
  if (!tiles.configured) __builtin_trap();
  __builtin_memset(tiles.data[t], 0, sizeof tiles.data[t]);
}

[[maybe_unused]] void load(int t, const void* base, int64_t stride) {
  if (!tiles.configured) __builtin_trap();
  __builtin_memset(tiles.data[t], 0, sizeof tiles.data[t]);
  for (int r = 0; r < tiles.rows[t]; ++r) {
    __builtin_memcpy(tiles.data[t][r], static_cast<const char*>(base) + r * stride,
                     static_cast<size_t>(tiles.row_bytes[t]));
  }
}

[[maybe_unused]] void store(int t, void* base, int64_t stride) {
  if (!tiles.configured) __builtin_trap();
  for (int r = 0; r < tiles.rows[t]; ++r) {
    __builtin_memcpy(static_cast<char*>(base) + r * stride, tiles.data[t][r],
                     static_cast<size_t>(tiles.row_bytes[t]));
  }
}

template <class Sum, class Add>
void multiply(int c, int a, int b, const Add& add) {
  if (!tiles.configured || tiles.row_bytes[a] / 4 != tiles.rows[b]) __builtin_trap();
  for (int m = 0; m < tiles.rows[c]; ++m) {
    for (int n = 0; n < tiles.row_bytes[c] / 4; ++n) {
      Sum sum;
      __builtin_memcpy(&sum, &tiles.data[c][m][4 * n], 4);
      for (int k = 0; k < tiles.rows[b]; ++k) add(sum, &tiles.data[a][m][4 * k], &tiles.data[b][k][4 * n]);
      __builtin_memcpy(&tiles.data[c][m][4 * n], &sum, 4);
    }
  }
}

/// Signed bytes times unsigned ones.
[[maybe_unused]] void multiply_signed_unsigned(int c, int a, int b) {
  multiply<int32_t>(c, a, b, [](int32_t& sum, const unsigned char* x, const unsigned char* y) {
    for (int i = 0; i < 4; ++i) sum += static_cast<signed char>(x[i]) * int{y[i]};
  });
}

[[maybe_unused]] void multiply_bf16(int c, int a, int b) {
  multiply<float>(c, a, b, [](float& sum, const unsigned char* x, const unsigned char* y) {
    for (int i = 0; i < 2; ++i) {
      uint32_t left = 0, right = 0;
      __builtin_memcpy(reinterpret_cast<char*>(&left) + 2, x + 2 * i, 2);
      __builtin_memcpy(reinterpret_cast<char*>(&right) + 2, y + 2 * i, 2);
      float p, q;
      __builtin_memcpy(&p, &left, 4);
      __builtin_memcpy(&q, &right, 4);
      sum += p * q;
    }
  });
}

}  // namespace
}  // namespace gptq::test

#define _tile_loadconfig(config) gptq::test::load_config(config)
#define _tile_release() gptq::test::release()
#define _tile_zero(t) gptq::test::zero(t)
#define _tile_loadd(t, base, stride) gptq::test::load(t, base, stride)
#define _tile_stored(t, base, stride) gptq::test::store(t, base, stride)
#define _tile_dpbsud(c, a, b) gptq::test::multiply_signed_unsigned(c, a, b)
#define _tile_dpbf16ps(c, a, b) gptq::test::multiply_bf16(c, a, b)
