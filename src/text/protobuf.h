// Reading protobuf messages that may be hostile: a cursor over the fields of one message.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace gptq {

enum class WireType : uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

class ProtobufReader {
 public:
  /// `name` is the file to name in errors.
  ProtobufReader(std::string_view message, std::string_view name)
      : rest_(message), begin_(message.data()), name_(name) {}

  /// Moves to the next field; false at the end. Fault::truncated or format for what no message can hold.
  bool next();

  uint32_t field() const { return field_; }
  WireType type() const { return type_; }
  /// The value of the field. Fault::format unless it has that wire type.
  int64_t integer() const;
  float number() const;
  std::string_view bytes() const;

 private:
  uint64_t varint();
  std::string_view take(uint64_t n);
  [[noreturn]] void wrong_type(std::string_view wanted) const;

  std::string_view rest_;
  const char* begin_;
  std::string_view name_;
  uint32_t field_ = 0;
  WireType type_ = WireType::varint;
  uint64_t varint_ = 0;
  std::string_view bytes_;
};

}  // namespace gptq
