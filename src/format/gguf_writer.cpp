#include "format/gguf_writer.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/checked.h"
#include "base/error.h"
#include "base/text.h"
#include "format/gguf_values.h"

namespace gptq {
namespace {

template <class T>
void put(std::string& out, T value) {
  for (size_t i = 0; i < sizeof value; ++i) out += static_cast<char>(value >> (8 * i) & 0xFF);
}

void put_text(std::string& out, std::string_view text) {
  put(out, uint64_t{text.size()});
  out += text;
}

uint32_t type_number(GgufValueType type) { return static_cast<uint32_t>(type); }

uint64_t aligned(uint64_t offset) { return (offset + kGgufAlignment - 1) / kGgufAlignment * kGgufAlignment; }

}  // namespace

void GgufSettings::begin(std::string_view key, uint32_t type) {
  put_text(bytes_, key);
  put(bytes_, type);
  ++count_;
}

void GgufSettings::begin_array(std::string_view key, uint32_t type, size_t count) {
  begin(key, type_number(GgufValueType::array));
  put(bytes_, type);
  put(bytes_, uint64_t{count});
}

void GgufSettings::integer(std::string_view key, uint32_t value) {
  begin(key, type_number(GgufValueType::u32));
  put(bytes_, value);
}

void GgufSettings::number(std::string_view key, float value) {
  begin(key, type_number(GgufValueType::f32));
  put(bytes_, std::bit_cast<uint32_t>(value));
}

void GgufSettings::boolean(std::string_view key, bool value) {
  begin(key, type_number(GgufValueType::boolean));
  bytes_ += value ? '\1' : '\0';
}

void GgufSettings::text(std::string_view key, std::string_view value) {
  begin(key, type_number(GgufValueType::text));
  put_text(bytes_, value);
}

void GgufSettings::texts(std::string_view key, std::span<const std::string> values) {
  begin_array(key, type_number(GgufValueType::text), values.size());
  for (const std::string& value : values) put_text(bytes_, value);
}

void GgufSettings::integers(std::string_view key, std::span<const int32_t> values) {
  begin_array(key, type_number(GgufValueType::i32), values.size());
  for (int32_t value : values) put(bytes_, static_cast<uint32_t>(value));
}

void GgufSettings::numbers(std::string_view key, std::span<const float> values) {
  begin_array(key, type_number(GgufValueType::f32), values.size());
  for (float value : values) put(bytes_, std::bit_cast<uint32_t>(value));
}

GgufWriter::GgufWriter(FileWriter& file, const GgufSettings& settings, std::vector<GgufTensor> tensors)
    : file_(file) {
  std::string header = "GGUF";
  put(header, uint32_t{3});
  put(header, uint64_t{tensors.size()});
  put(header, settings.count());
  header += settings.bytes();
  uint64_t data_bytes = 0;
  for (GgufTensor& tensor : tensors) {
    tensor.bytes = gguf_bytes(tensor);
    tensor.offset = data_bytes;
    const auto end = checked_add(data_bytes, tensor.bytes);
    if (!end || *end > UINT64_MAX / 2)
      throw Error(Fault::range, "the tensors together have no size in bytes");
    data_bytes = aligned(*end);
    put_text(header, tensor.name);
    put(header, static_cast<uint32_t>(tensor.shape.size()));
    for (size_t d = tensor.shape.size(); d-- > 0;) put(header, static_cast<uint64_t>(tensor.shape[d]));
    put(header, static_cast<uint32_t>(tensor.type));
    put(header, tensor.offset);
  }
  header.resize(aligned(header.size()), '\0');
  const uint64_t file_bytes = header.size() + data_bytes;
  // nothing is written that could not be read back: names, counts and sizes have the reader's limits
  const GgufHeader checked = parse_gguf_header(
      [&](uint64_t offset, std::span<std::byte> out) {
        std::memset(out.data(), 0, out.size());  // of the data
        if (offset >= header.size()) return;
        std::memcpy(out.data(), header.data() + offset, std::min<size_t>(out.size(), header.size() - offset));
      },
      file_bytes, "output");
  for (const GgufTensor& tensor : checked.tensors()) {
    const uint64_t rows = static_cast<uint64_t>(tensor.rows());
    places_.emplace(tensor.name, Place{.offset = checked.data_start() + tensor.offset,
                                       .bytes = tensor.bytes,
                                       .row_bytes = tensor.bytes / rows,
                                       .written = 0});
  }
  file_.reserve(file_bytes);
  file_.write_at(0, std::as_bytes(std::span(header)));
}

void GgufWriter::write_rows(std::string_view name, int64_t begin, std::span<const std::byte> bytes) {
  const auto found = places_.find(std::string(name));
  if (found == places_.end()) throw Error(Status::internal, cat(quoted(name), " was not announced"));
  Place& place = found->second;
  const uint64_t at = static_cast<uint64_t>(begin) * place.row_bytes;
  if (bytes.size() % place.row_bytes != 0 || at + bytes.size() > place.bytes) {
    throw Error(Status::internal,
                cat(quoted(name), ": ", bytes.size(), " bytes at row ", begin, " are not rows of it"));
  }
  file_.write_at(place.offset + at, bytes);
  place.written += bytes.size();
}

void GgufWriter::check_complete() const {
  for (const auto& [name, place] : places_) {
    if (place.written != place.bytes) {
      throw Error(Status::internal,
                  cat(quoted(name), ": ", place.written, " bytes of it were written, not ", place.bytes));
    }
  }
}

}  // namespace gptq
