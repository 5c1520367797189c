// Files made by hand, good and bad, for the tests of this folder.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "support/test_data.h"

namespace gptq::test {

inline std::string little_endian(uint64_t value) {
  std::string bytes;
  for (int shift = 0; shift < 64; shift += 8) bytes += static_cast<char>(value >> shift & 0xFF);
  return bytes;
}

/// A safetensors file with this header and data.
inline std::string safetensors_file(std::string_view header, std::string_view data = "") {
  return little_endian(header.size()) + std::string(header) + std::string(data);
}

/// `"name":{"dtype":...}` of one tensor.
inline std::string entry(std::string_view name, std::string_view dtype, std::string_view shape,
                         uint64_t begin, uint64_t end) {
  return "\"" + std::string(name) + "\":{\"dtype\":\"" + std::string(dtype) +
         "\",\"shape\":" + std::string(shape) + ",\"data_offsets\":[" + std::to_string(begin) + "," +
         std::to_string(end) + "]}";
}

inline std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

/// What a call throws; Fault::none with an empty message when it returns.
struct Outcome {
  Fault fault = Fault::none;
  Status status = Status::ok;
  std::string message;

  bool mentions(std::string_view text) const { return message.find(text) != std::string::npos; }
};

template <class Call>
Outcome outcome_of(const Call& call) {
  try {
    call();
    return {};
  } catch (const Error& error) {
    return {error.fault(), error.status(), error.what()};
  }
}

}  // namespace gptq::test
