// See protobuf.h.
#include "text/protobuf.h"

#include <bit>

#include "base/error.h"
#include "base/text.h"

namespace gptq {

uint64_t ProtobufReader::varint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 70; shift += 7) {
    const auto byte = static_cast<unsigned char>(take(1)[0]);
    if (shift == 63 && byte > 1) break;
    value |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
  throw Error(Fault::format, cat(name_, ": a number of more than 64 bits"));
}

std::string_view ProtobufReader::take(uint64_t n) {
  if (n > rest_.size()) {
    throw Error(Fault::truncated, cat(name_, ": byte ", rest_.data() - begin_, " of a message announces ", n,
                                      " bytes, found ", rest_.size()));
  }
  const std::string_view out = rest_.substr(0, n);
  rest_.remove_prefix(n);
  return out;
}

bool ProtobufReader::next() {
  if (rest_.empty()) return false;
  const uint64_t tag = varint();
  if (tag >> 3 == 0 || tag >> 32 != 0)
    throw Error(Fault::format, cat(name_, ": field number ", tag >> 3, ", wanted 1 to 2^29 - 1"));
  field_ = static_cast<uint32_t>(tag >> 3);
  type_ = static_cast<WireType>(tag & 7);
  switch (type_) {
    case WireType::varint: varint_ = varint(); return true;
    case WireType::fixed64: bytes_ = take(8); return true;
    case WireType::bytes: bytes_ = take(varint()); return true;
    case WireType::fixed32: bytes_ = take(4); return true;
  }
  throw Error(Fault::format,
              cat(name_, ": field ", field_, " has wire type ", tag & 7, ", wanted 0, 1, 2 or 5"));
}

void ProtobufReader::wrong_type(std::string_view wanted) const {
  throw Error(Fault::format, cat(name_, ": field ", field_, " has wire type ", static_cast<int>(type_),
                                 ", wanted ", wanted));
}

int64_t ProtobufReader::integer() const {
  if (type_ != WireType::varint) wrong_type("0 (a number)");
  return static_cast<int64_t>(varint_);
}

float ProtobufReader::number() const {
  if (type_ != WireType::fixed32) wrong_type("5 (a float)");
  uint32_t bits = 0;
  for (size_t i = 0; i < 4; ++i)
    bits |= static_cast<uint32_t>(static_cast<unsigned char>(bytes_[i])) << (8 * i);
  return std::bit_cast<float>(bits);
}

std::string_view ProtobufReader::bytes() const {
  if (type_ != WireType::bytes) wrong_type("2 (bytes)");
  return bytes_;
}

}  // namespace gptq
