#include "api/buffer.h"

const void* gptq_buffer_data(const gptq_buffer* buffer) {
  return buffer != nullptr ? buffer->storage.get() : nullptr;
}

int64_t gptq_buffer_size(const gptq_buffer* buffer) { return buffer != nullptr ? buffer->size : 0; }

void gptq_buffer_free(gptq_buffer* buffer) { delete buffer; }
