// Bytes handed to the caller.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>

#include "gptq.h"

struct gptq_buffer {
  std::unique_ptr<std::byte[]> storage;  // new aligns it for ids and floats alike
  int64_t size = 0;
};

namespace gptq::api {

/// A copy of `size` bytes, with a NUL behind them.
inline gptq_buffer* make_buffer(const void* bytes, size_t size) {
  auto buffer = std::make_unique<gptq_buffer>();
  buffer->storage = std::make_unique_for_overwrite<std::byte[]>(size + 1);
  if (size != 0) std::memcpy(buffer->storage.get(), bytes, size);
  buffer->storage[size] = std::byte{0};
  buffer->size = static_cast<int64_t>(size);
  return buffer.release();
}

inline gptq_buffer* text_buffer(std::string_view text) { return make_buffer(text.data(), text.size()); }

}  // namespace gptq::api
