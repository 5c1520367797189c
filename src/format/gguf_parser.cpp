// What stands before the data of a GGUF file, read from bytes of unknown origin.
#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>

#include "base/checked.h"
#include "base/error.h"
#include "base/text.h"
#include "format/gguf.h"
#include "format/gguf_values.h"

namespace gptq {
namespace {

constexpr uint64_t kWindow = uint64_t{64} << 10;
constexpr size_t kMostDimensions = 4;
constexpr uint64_t kLargestAlignment = uint64_t{1} << 20;

/// Numbers and texts in their order; reads the file a window at a time.
class Cursor {
 public:
  Cursor(const ReadAt& read, uint64_t file_size, uint64_t most, const std::string& name)
      : read_(read), file_size_(file_size), most_(most), name_(name) {}

  uint64_t at() const { return at_; }
  uint64_t left() const { return file_size_ - at_; }
  /// Bytes that may still be taken.
  uint64_t allowed() const { return std::min(left(), most_ - std::min(most_, at_)); }

  void take(std::span<std::byte> out) {
    if (out.size() > left()) {
      throw Error(Fault::truncated,
                  cat(name_, ": it ends at byte ", file_size_, ", wanted ", out.size(), " more from ", at_));
    }
    if (out.size() > allowed()) {
      throw Error(Fault::limit, cat(name_, ": more than ", most_, " bytes before its data"));
    }
    while (!out.empty()) {
      if (at_ < start_ || at_ >= start_ + window_.size()) fill();
      const uint64_t from = at_ - start_;
      const size_t part = std::min<size_t>(out.size(), window_.size() - from);
      std::memcpy(out.data(), window_.data() + from, part);
      at_ += part;
      out = out.subspan(part);
    }
  }

  template <class T>
  T number() {
    std::byte bytes[sizeof(T)];
    take(bytes);
    uint64_t value = 0;
    for (size_t i = 0; i < sizeof(T); ++i) value |= std::to_integer<uint64_t>(bytes[i]) << (8 * i);
    return static_cast<T>(value);
  }

  std::string text(uint64_t most, std::string_view what) {
    const auto length = number<uint64_t>();
    if (length > left()) {
      throw Error(Fault::truncated,
                  cat(name_, ": ", what, " at byte ", at_, " of ", length, " bytes, ", left(), " are left"));
    }
    if (length > most) {
      throw Error(Fault::limit, cat(name_, ": ", what, " of ", length, " bytes, wanted at most ", most));
    }
    std::string text(static_cast<size_t>(length), '\0');
    take(std::as_writable_bytes(std::span(text)));
    return text;
  }

 private:
  void fill() {
    start_ = at_;
    window_.resize(static_cast<size_t>(std::min(kWindow, left())));
    read_(start_, window_);
  }

  const ReadAt& read_;
  uint64_t file_size_, most_;
  const std::string& name_;
  std::vector<std::byte> window_;
  uint64_t start_ = 0, at_ = 0;
};

/// Bytes of an element; of a text those of its length.
uint64_t least_bytes(GgufValueType type) {
  switch (type) {
    case GgufValueType::u8:
    case GgufValueType::i8:
    case GgufValueType::boolean: return 1;
    case GgufValueType::u16:
    case GgufValueType::i16: return 2;
    case GgufValueType::u32:
    case GgufValueType::i32:
    case GgufValueType::f32: return 4;
    default: return 8;
  }
}

bool is_real(GgufValueType type) { return type == GgufValueType::f32 || type == GgufValueType::f64; }

}  // namespace

class GgufParser {
 public:
  GgufParser(const ReadAt& read, uint64_t file_size, std::string name, const GgufLimits& limits)
      : limits_(limits), name_(std::move(name)), cursor_(read, file_size, limits.header_bytes, name_) {
    header_.name_ = name_;
  }

  GgufHeader parse() {
    const auto [tensors, settings] = read_start();
    for (uint64_t i = 0; i < settings; ++i) read_setting();
    read_alignment();
    for (uint64_t i = 0; i < tensors; ++i) read_tensor();
    place_data();
    sort_names();
    return std::move(header_);
  }

 private:
  [[noreturn]] void fail(Fault fault, std::string_view what) const {
    throw Error(fault, cat(name_, ": ", what));
  }

  std::pair<uint64_t, uint64_t> read_start() {
    std::byte magic[4];
    cursor_.take(magic);
    if (std::memcmp(magic, "GGUF", 4) != 0) fail(Fault::format, "it does not begin with \"GGUF\"");
    const auto version = cursor_.number<uint32_t>();
    if (version != 2 && version != 3) {
      const bool swapped = (version & 0xFFFF) == 0;
      fail(Fault::unsupported,
           cat("version ", version, swapped ? " (numbers of the other byte order)" : "", ", wanted 2 or 3"));
    }
    const auto tensors = cursor_.number<uint64_t>(), settings = cursor_.number<uint64_t>();
    if (tensors > limits_.tensors)
      fail(Fault::limit, cat(tensors, " tensors, wanted at most ", limits_.tensors));
    if (settings > limits_.settings)
      fail(Fault::limit, cat(settings, " settings, wanted at most ", limits_.settings));
    return {tensors, settings};
  }

  GgufValueType read_type(const std::string& key) {
    const auto type = cursor_.number<uint32_t>();
    if (type > static_cast<uint32_t>(GgufValueType::f64))
      fail(Fault::unsupported, cat(quoted(key), ": values of type ", type));
    return static_cast<GgufValueType>(type);
  }

  void read_setting() {
    std::string key = cursor_.text(limits_.name_bytes, "a key");
    if (!is_utf8(key)) fail(Fault::format, cat("key ", quoted(key), " is not UTF-8"));
    const GgufValueType type = read_type(key);
    GgufValue value = type == GgufValueType::array ? read_array(key)
                      : type == GgufValueType::text
                          ? GgufValue(cursor_.text(limits_.header_bytes, quoted(key)))
                      : is_real(type)                  ? GgufValue(read_real(type))
                      : type == GgufValueType::boolean ? GgufValue(read_integer(type, key) != 0)
                                                       : GgufValue(read_integer(type, key));
    const std::string shown = quoted(key);
    if (!header_.settings_.emplace(std::move(key), std::move(value)).second)
      fail(Fault::duplicate, cat("key ", shown, " twice"));
  }

  int64_t read_integer(GgufValueType type, const std::string& key) {
    switch (type) {
      case GgufValueType::u8: return cursor_.number<uint8_t>();
      case GgufValueType::i8: return cursor_.number<int8_t>();
      case GgufValueType::u16: return cursor_.number<uint16_t>();
      case GgufValueType::i16: return cursor_.number<int16_t>();
      case GgufValueType::u32: return cursor_.number<uint32_t>();
      case GgufValueType::i32: return cursor_.number<int32_t>();
      case GgufValueType::i64: return cursor_.number<int64_t>();
      case GgufValueType::boolean: {
        const auto flag = cursor_.number<uint8_t>();
        if (flag > 1) fail(Fault::range, cat(quoted(key), ": a boolean of ", int{flag}));
        return flag;
      }
      default: {
        const auto large = cursor_.number<uint64_t>();
        if (large > INT64_MAX) fail(Fault::range, cat(quoted(key), ": ", large, " is above ", INT64_MAX));
        return static_cast<int64_t>(large);
      }
    }
  }

  double read_real(GgufValueType type) {
    if (type == GgufValueType::f64) return std::bit_cast<double>(cursor_.number<uint64_t>());
    return double{std::bit_cast<float>(cursor_.number<uint32_t>())};
  }

  GgufValue read_array(const std::string& key) {
    const GgufValueType type = read_type(key);
    const auto count = cursor_.number<uint64_t>();
    if (type == GgufValueType::array) fail(Fault::unsupported, cat(quoted(key), ": an array of arrays"));
    if (count > cursor_.left() / least_bytes(type))
      fail(Fault::truncated, cat(quoted(key), ": ", count, " elements, the file ends before"));
    if (const uint64_t most = std::min(limits_.elements, cursor_.allowed() / least_bytes(type)); count > most)
      fail(Fault::limit, cat(quoted(key), ": ", count, " elements, wanted at most ", most));
    const auto size = static_cast<size_t>(count);
    if (type == GgufValueType::text) {
      const std::string shown = quoted(key);
      std::vector<std::string> texts(size);
      for (std::string& text : texts) text = cursor_.text(limits_.header_bytes, shown);
      return texts;
    }
    if (is_real(type)) {
      std::vector<double> numbers(size);
      for (double& number : numbers) number = read_real(type);
      return numbers;
    }
    std::vector<int64_t> integers(size);
    for (int64_t& integer : integers) integer = read_integer(type, key);
    return integers;
  }

  void read_alignment() {
    const auto given = header_.integer("general.alignment", 1, static_cast<int64_t>(kLargestAlignment));
    alignment_ = given ? static_cast<uint64_t>(*given) : kGgufAlignment;
    if (!std::has_single_bit(alignment_))
      header_.refuse(Fault::range, "general.alignment", "no power of two");
  }

  void read_tensor() {
    GgufTensor tensor{.name = cursor_.text(limits_.name_bytes, "a tensor's name")};
    if (tensor.name.empty() || !is_utf8(tensor.name))
      fail(Fault::format, cat("tensor ", quoted(tensor.name), ": wanted a name in UTF-8"));
    const std::string shown = cat("tensor ", quoted(tensor.name));
    const auto rank = cursor_.number<uint32_t>();
    if (rank < 1 || rank > kMostDimensions)
      fail(Fault::limit, cat(shown, " has ", rank, " dimensions, wanted 1 to ", kMostDimensions));
    for (uint32_t d = 0; d < rank; ++d) {
      const auto size = cursor_.number<uint64_t>();
      if (size < 1 || size > INT64_MAX) fail(Fault::range, cat(shown, ": a dimension of ", size));
      tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(size));
    }
    const auto type = cursor_.number<uint32_t>();
    tensor.offset = cursor_.number<uint64_t>();
    if (!is_known(type)) {
      fail(Fault::unsupported, cat(shown, " is of type ", gguf_type_name(type),
                                   ", wanted F32, F16, BF16, Q4_0, Q4_1, Q8_0 or Q6_K"));
    }
    tensor.type = static_cast<GgufType>(type);
    try {
      tensor.bytes = gguf_bytes(tensor);
    } catch (const Error& error) {
      fail(Fault::range, error.what());
    }
    if (tensor.offset % alignment_ != 0) {
      fail(Fault::format,
           cat(shown, " begins at ", tensor.offset, " of the data, no multiple of ", alignment_));
    }
    header_.tensors_.push_back(std::move(tensor));
  }

  void place_data() {
    const uint64_t before = cursor_.at();
    const uint64_t start = (before + alignment_ - 1) / alignment_ * alignment_;
    const uint64_t size = before + cursor_.left();
    header_.data_start_ = start;
    auto& tensors = header_.tensors_;
    std::stable_sort(tensors.begin(), tensors.end(),
                     [](const GgufTensor& a, const GgufTensor& b) { return a.offset < b.offset; });
    uint64_t cursor = 0;
    for (const GgufTensor& tensor : tensors) {
      const auto end = checked_add(tensor.offset, tensor.bytes);
      const auto last = end ? checked_add(*end, start) : std::nullopt;
      if (!last || *last > size) {
        fail(Fault::truncated, cat("tensor ", quoted(tensor.name), " of ", tensor.bytes, " bytes at ",
                                   tensor.offset, " of the data ends behind the file of ", size, " bytes"));
      }
      if (tensor.offset < cursor)
        fail(Fault::mismatch, cat("tensor ", quoted(tensor.name), " shares bytes with another"));
      cursor = *end;
    }
  }

  void sort_names() {
    const auto& tensors = header_.tensors_;
    auto& order = header_.by_name_;
    order.resize(tensors.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::sort(order.begin(), order.end(),
              [&](size_t a, size_t b) { return tensors[a].name < tensors[b].name; });
    const auto twice = std::adjacent_find(
        order.begin(), order.end(), [&](size_t a, size_t b) { return tensors[a].name == tensors[b].name; });
    if (twice != order.end()) fail(Fault::duplicate, cat("tensor ", quoted(tensors[*twice].name), " twice"));
  }

  const GgufLimits& limits_;
  std::string name_;
  Cursor cursor_;
  GgufHeader header_;
  uint64_t alignment_ = kGgufAlignment;
};

GgufHeader parse_gguf_header(const ReadAt& read, uint64_t file_size, std::string name,
                             const GgufLimits& limits) {
  return GgufParser(read, file_size, std::move(name), limits).parse();
}

}  // namespace gptq
