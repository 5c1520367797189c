// GGUF: one file that holds a model's settings, its tokenizer and its tensors, as llama.cpp reads them.
//
// Little-endian throughout:
//
//   "GGUF", u32 version, u64 tensors, u64 settings
//   settings:  string key, u32 type, value; an array is u32 type of its elements, u64 count, elements
//   tensors:   string name, u32 rank, u64 dimensions[rank] from the innermost out, u32 type, u64 offset in the data
//   padding to a multiple of general.alignment, then the data; each tensor begins at such a multiple
//
// A string is a u64 length and that many bytes. A tensor's bytes are rows of blocks; see gguf_blocks.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/file.h"

namespace gptq {

inline constexpr uint64_t kGgufAlignment = 32;  // unless general.alignment says otherwise

/// The numbers that stand in the file.
enum class GgufType : uint32_t { f32 = 0, f16 = 1, q4_0 = 2, q4_1 = 3, q8_0 = 8, q6_k = 14, bf16 = 30 };

/// "Q4_0"; of a type not known here its number.
std::string gguf_type_name(uint32_t type);
bool is_known(uint32_t type);
/// Elements in a block, and its bytes: 1 and 4 for f32, 32 and 18 for q4_0.
struct GgufBlock {
  int64_t elements;
  uint64_t bytes;
};
GgufBlock block_of(GgufType type);

struct GgufTensor {
  std::string name{};
  GgufType type = GgufType::f32;
  std::vector<int64_t> shape{};  // row major: from the outermost dimension in, against the file's own order
  uint64_t offset = 0;           // in the data
  uint64_t bytes = 0;

  int64_t cols() const { return shape.back(); }
  int64_t rows() const;
};

/// Fault::range for a shape that gives no size or cuts a block.
uint64_t gguf_bytes(const GgufTensor& tensor);

using GgufValue = std::variant<int64_t, double, bool, std::string, std::vector<int64_t>, std::vector<double>,
                               std::vector<std::string>>;  // arrays of booleans are of integers

struct GgufLimits {
  uint64_t header_bytes = uint64_t{256} << 20;
  uint64_t settings = 65'536;
  uint64_t tensors = uint64_t{1} << 20;
  uint64_t name_bytes = 1024;
  uint64_t elements = uint64_t{1} << 22;  // of an array; a text of it takes 32 bytes and more in memory
};

/// What stands before the data.
class GgufHeader {
 public:
  GgufHeader() = default;
  GgufHeader(GgufHeader&&) = default;
  GgufHeader& operator=(GgufHeader&&) = default;

  const std::vector<GgufTensor>& tensors() const { return tensors_; }  // by place in the file
  const GgufTensor* find(std::string_view name) const;
  uint64_t data_start() const { return data_start_; }

  bool has(const std::string& key) const { return settings_.contains(key); }
  /// Empty where there is none; Fault::format for one of another kind, Fault::range for one out of its bounds.
  std::optional<int64_t> integer(const std::string& key, int64_t low, int64_t high) const;
  std::optional<double> number(const std::string& key, double low, double high) const;
  std::optional<bool> boolean(const std::string& key) const;
  const std::string* text(const std::string& key) const;
  const std::vector<std::string>* texts(const std::string& key) const;
  const std::vector<int64_t>* integers(const std::string& key) const;
  const std::vector<double>* numbers(const std::string& key) const;
  /// "model.gguf: 'llama.block_count' ...", thrown as `fault`.
  [[noreturn]] void refuse(Fault fault, std::string_view key, std::string_view what) const;

 private:
  friend class GgufParser;
  template <class T>
  const T* get(const std::string& key, std::string_view wanted) const;

  std::string name_;
  std::map<std::string, GgufValue> settings_;
  std::vector<GgufTensor> tensors_;
  std::vector<size_t> by_name_;  // places in tensors_
  uint64_t data_start_ = 0;
};

/// Fills its second argument from that byte of the file on, which are all inside it.
using ReadAt = std::function<void(uint64_t offset, std::span<std::byte> out)>;

/// Versions 2 and 3. Every tensor of the result lies inside the file and apart from the others, has the size of its
/// shape and type, and a type that is known here. `name` is for messages.
GgufHeader parse_gguf_header(const ReadAt& read, uint64_t file_size, std::string name,
                             const GgufLimits& limits = {});

/// Whether the file begins as a GGUF file does.
bool is_gguf(const fs::path& path);

/// A file open for reading.
class GgufFile {
 public:
  explicit GgufFile(const fs::path& path);

  const GgufHeader& header() const { return header_; }
  const File& file() const { return file_; }
  /// Rows [begin, begin + count) of a tensor as they lie there.
  std::vector<std::byte> read_rows(const GgufTensor& tensor, int64_t begin, int64_t count) const;

 private:
  File file_;
  GgufHeader header_;
};

}  // namespace gptq
