#include "quant/dense_bytes.h"

#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/half.h"
#include "base/text.h"

namespace gptq {

void store_dense(std::span<const float> values, DType dtype, std::byte* out, std::string_view name) {
  for (float value : values) {
    const uint16_t half = dtype == DType::f16 ? float_to_fp16(value) : float_to_bf16(value);
    const bool infinite = dtype == DType::f16    ? (half & 0x7FFFu) == 0x7C00u
                          : dtype == DType::bf16 ? (half & 0x7FFFu) == 0x7F80u
                                                 : false;
    if (infinite && std::isfinite(value)) {
      throw Error(Fault::numeric, cat(name, ": ", value, " is too large for ", dtype_name(dtype),
                                      "; bf16 and f32 hold more"));
    }
    const size_t size = dtype == DType::f32 ? 4 : 2;
    std::memcpy(out, dtype == DType::f32 ? static_cast<const void*>(&value) : &half, size);
    out += size;
  }
}

}  // namespace gptq
