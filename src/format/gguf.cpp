#include "format/gguf.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/checked.h"
#include "base/error.h"
#include "base/text.h"

namespace gptq {
namespace {

struct TypeRow {
  uint32_t number;
  std::string_view name;
  GgufBlock block{};  // of types known here
};

constexpr std::array kTypes{
    TypeRow{0, "F32", {1, 4}},
    TypeRow{1, "F16", {1, 2}},
    TypeRow{2, "Q4_0", {32, 2 + 16}},
    TypeRow{3, "Q4_1", {32, 2 + 2 + 16}},
    TypeRow{6, "Q5_0"},
    TypeRow{7, "Q5_1"},
    TypeRow{8, "Q8_0", {32, 2 + 32}},
    TypeRow{9, "Q8_1"},
    TypeRow{10, "Q2_K"},
    TypeRow{11, "Q3_K"},
    TypeRow{12, "Q4_K"},
    TypeRow{13, "Q5_K"},
    TypeRow{14, "Q6_K", {256, 128 + 64 + 16 + 2}},
    TypeRow{30, "BF16", {1, 2}},
};

const TypeRow* find_type(uint32_t number) {
  for (const TypeRow& row : kTypes) {
    if (row.number == number) return &row;
  }
  return nullptr;
}

}  // namespace

std::string gguf_type_name(uint32_t type) {
  const TypeRow* row = find_type(type);
  return row != nullptr ? std::string(row->name) : cat("number ", type);
}

bool is_known(uint32_t type) {
  const TypeRow* row = find_type(type);
  return row != nullptr && row->block.bytes != 0;
}

GgufBlock block_of(GgufType type) { return find_type(static_cast<uint32_t>(type))->block; }

int64_t GgufTensor::rows() const {
  int64_t rows = 1;
  for (size_t d = 0; d + 1 < shape.size(); ++d) rows *= shape[d];
  return rows;
}

uint64_t gguf_bytes(const GgufTensor& tensor) {
  const GgufBlock block = block_of(tensor.type);
  const auto elements = checked_product(tensor.shape);
  const auto bytes =
      elements ? checked_mul(*elements / static_cast<uint64_t>(block.elements), block.bytes) : std::nullopt;
  if (!bytes || *bytes > INT64_MAX || tensor.cols() % block.elements != 0) {
    throw Error(Fault::range,
                cat("tensor ", quoted(tensor.name), ": shape ", shape_text(tensor.shape), " of ",
                    gguf_type_name(static_cast<uint32_t>(tensor.type)), " has no size in bytes"));
  }
  return *bytes;
}

const GgufTensor* GgufHeader::find(std::string_view name) const {
  const auto found = std::lower_bound(
      by_name_.begin(), by_name_.end(), name,
      [this](size_t place, std::string_view wanted) { return tensors_[place].name < wanted; });
  return found != by_name_.end() && tensors_[*found].name == name ? &tensors_[*found] : nullptr;
}

void GgufHeader::refuse(Fault fault, std::string_view key, std::string_view what) const {
  throw Error(fault, cat(name_, ": ", quoted(key), ": ", what));
}

template <class T>
const T* GgufHeader::get(const std::string& key, std::string_view wanted) const {
  const auto found = settings_.find(key);
  if (found == settings_.end()) return nullptr;
  const T* value = std::get_if<T>(&found->second);
  if (value == nullptr) refuse(Fault::format, key, cat("wanted ", wanted));
  return value;
}

std::optional<int64_t> GgufHeader::integer(const std::string& key, int64_t low, int64_t high) const {
  const int64_t* value = get<int64_t>(key, "an integer");
  if (value == nullptr) return std::nullopt;
  if (*value < low || *value > high) refuse(Fault::range, key, cat(*value, ", wanted ", low, " to ", high));
  return *value;
}

std::optional<double> GgufHeader::number(const std::string& key, double low, double high) const {
  const double* value = get<double>(key, "a floating-point number");
  if (value == nullptr) return std::nullopt;
  if (!(*value >= low && *value <= high))
    refuse(Fault::range, key, cat(*value, ", wanted ", low, " to ", high));
  return *value;
}

std::optional<bool> GgufHeader::boolean(const std::string& key) const {
  const bool* value = get<bool>(key, "a boolean");
  return value != nullptr ? std::optional(*value) : std::nullopt;
}

const std::string* GgufHeader::text(const std::string& key) const { return get<std::string>(key, "a text"); }

const std::vector<std::string>* GgufHeader::texts(const std::string& key) const {
  return get<std::vector<std::string>>(key, "an array of texts");
}

const std::vector<int64_t>* GgufHeader::integers(const std::string& key) const {
  return get<std::vector<int64_t>>(key, "an array of integers");
}

const std::vector<double>* GgufHeader::numbers(const std::string& key) const {
  return get<std::vector<double>>(key, "an array of floating-point numbers");
}

bool is_gguf(const fs::path& path) {
  if (!file_exists(path)) return false;
  const File file(path);
  char magic[4] = {};
  if (file.size() < sizeof magic) return false;
  file.read_at(0, std::as_writable_bytes(std::span(magic)));
  return std::memcmp(magic, "GGUF", sizeof magic) == 0;
}

GgufFile::GgufFile(const fs::path& path)
    : file_(path),
      header_(
          parse_gguf_header([this](uint64_t offset, std::span<std::byte> out) { file_.read_at(offset, out); },
                            file_.size(), path.filename().native())) {}

std::vector<std::byte> GgufFile::read_rows(const GgufTensor& tensor, int64_t begin, int64_t count) const {
  const uint64_t row = tensor.bytes / static_cast<uint64_t>(tensor.rows());
  std::vector<std::byte> bytes(static_cast<size_t>(row * static_cast<uint64_t>(count)));
  file_.read_at(header_.data_start() + tensor.offset + row * static_cast<uint64_t>(begin), bytes);
  return bytes;
}

}  // namespace gptq
