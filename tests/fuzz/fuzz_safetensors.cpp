// Any bytes as a safetensors file: refused with an Error, or every tensor lies inside and apart from the others.
#include <cstdlib>

#include "base/error.h"
#include "format/safetensors.h"

namespace {

void check(const gptq::SafetensorsHeader& header, uint64_t file_size) {
  uint64_t cursor = header.data_start;
  for (const auto& entry : header.entries) {
    const uint64_t begin = header.data_start + entry.begin, end = header.data_start + entry.end;
    uint64_t bits = static_cast<uint64_t>(gptq::dtype_bits(entry.dtype));
    for (int64_t d : entry.shape) bits *= static_cast<uint64_t>(d);
    if (begin != cursor || end < begin || end > file_size || bits != 8 * (end - begin)) std::abort();
    cursor = end;
  }
  if (cursor != file_size) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    check(gptq::parse_safetensors_header(std::as_bytes(std::span(data, size)), size, "fuzz"), size);
  } catch (const gptq::Error&) {
  }
  return 0;
}
