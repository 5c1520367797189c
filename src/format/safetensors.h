// The header of a safetensors file, read from bytes of unknown origin.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/tensor.h"

namespace gptq {

struct SafetensorsLimits {
  uint64_t header_bytes = 100'000'000;  // the format's own
  size_t tensors = size_t{1} << 20;
  size_t name_bytes = 1024;
  size_t rank = 8;
};

struct SafetensorsEntry {
  std::string name;
  DType dtype = DType::f32;
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;  // in the file's data, which starts at data_start
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  // by place in the file
  uint64_t data_start = 0;
};

/// Length of the JSON part, from the first bytes of a file (up to 16 of them). `name` is for messages.
uint64_t safetensors_header_bytes(std::span<const std::byte> start, uint64_t file_size, std::string_view name,
                                  const SafetensorsLimits& limits = {});

/// `start` holds the length and the JSON part, or more of the file. Every entry returned lies inside the file,
/// has the size of its shape and type, and shares no byte with another. Throws Error as safetensors.cpp tells.
SafetensorsHeader parse_safetensors_header(std::span<const std::byte> start, uint64_t file_size,
                                           std::string_view name, const SafetensorsLimits& limits = {});

}  // namespace gptq
