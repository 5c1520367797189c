// The safetensors header.
//
//   file     = length header data
//   length   = unsigned 64-bit little-endian size of header in bytes, 1 .. 100,000,000
//   header   = UTF-8 JSON object; white space around it is allowed, and pads it so that data is aligned
//   object   = { ["__metadata__": {string: string, ...} | null,]  name: entry, ... }
//   name     = 1 .. 1024 bytes without NUL
//   entry    = { "dtype": type, "shape": [natural, ...], "data_offsets": [begin, end] }   other keys are ignored
//   type     = F64 F32 F16 BF16 I64 I32 I16 I8 U64 U32 U16 U8 BOOL C64 F8_E4M3 F8_E5M2 F8_E8M0 F8_E4M3FNUZ
//              F8_E5M2FNUZ F6_E2M3 F6_E3M2 F4
//   data     = the tensors' bytes, row major, little-endian; offsets count from its start
//
// The ranges [begin, end), sorted, follow one another from 0 to the end of the file: no hole, no overlap, nothing
// behind. end - begin is the size that shape and type give, a whole number of bytes.
// No key is given twice in one object. At most 2^20 tensors, 8 dimensions, JSON 64 levels deep.
//
// Faults: truncated (the file ends early), limit, format, duplicate, range (offsets, a size that wraps),
// mismatch (size against shape and type), unsupported (type).
#include "format/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/checked.h"
#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "format/json_events.h"

namespace gptq {
namespace {

constexpr uint64_t kLengthBytes = 8;

std::optional<DType> dtype_named(std::string_view name) {
  for (int i = 0; i <= static_cast<int>(DType::c64); ++i) {
    if (dtype_name(static_cast<DType>(i)) == name) return static_cast<DType>(i);
  }
  return std::nullopt;
}

class HeaderReader final : public JsonEventReader {
 public:
  HeaderReader(std::string_view file, const SafetensorsLimits& limits) : file_(file), limits_(limits) {}

  std::vector<SafetensorsEntry> take() { return std::move(entries_); }
  const std::string& unknown_field() const { return unknown_field_; }

 private:
  enum class Field : uint8_t { none, dtype, shape, offsets, unknown };

  void on(const JsonEvent& event, int depth) override {
    if (depth == 0) {
      if (event.kind != EventKind::start_object && event.kind != EventKind::end_object) {
        refuse(Fault::format, cat(file_, ": the header is not a JSON object"));
      }
    } else if (depth == 1) {
      on_member(event);
    } else if (in_metadata_) {
      if (event.kind != EventKind::key && event.kind != EventKind::string) {
        refuse(Fault::format, cat(file_, ": '__metadata__' holds a value that is not a string"));
      }
    } else if (depth == 2) {
      on_field(event);
    } else if (field_ == Field::shape || field_ == Field::offsets) {
      on_number(event);
    }
  }

  void on_member(const JsonEvent& event) {
    switch (event.kind) {
      case EventKind::key:
        in_metadata_ = *event.text == "__metadata__";
        if (!in_metadata_) begin_entry(std::move(*event.text));
        return;
      case EventKind::start_object: return;
      case EventKind::end_object:
        if (!in_metadata_) end_entry();
        return;
      default:
        if (in_metadata_ && event.kind == EventKind::null) return;
        refuse(Fault::format, cat(where(), " is not a JSON object"));
    }
  }

  void begin_entry(std::string name) {
    entry_ = {};
    entry_.name = std::move(name);
    dtype_.clear();
    offsets_.clear();
    has_dtype_ = has_shape_ = has_offsets_ = false;
    if (entry_.name.empty()) return refuse(Fault::format, cat(file_, ": a tensor has an empty name"));
    if (entry_.name.size() > limits_.name_bytes) {
      return refuse(Fault::limit, cat(where(), ": a name of ", entry_.name.size(), " bytes, wanted at most ",
                                      limits_.name_bytes));
    }
    if (entry_.name.find('\0') != std::string::npos) {
      return refuse(Fault::format, cat(where(), ": the name holds a NUL character"));
    }
    if (entries_.size() == limits_.tensors) {
      refuse(Fault::limit, cat(file_, ": more than ", limits_.tensors, " tensors"));
    }
  }

  void on_field(const JsonEvent& event) {
    if (event.kind == EventKind::key) {
      field_ = *event.text == "dtype"          ? Field::dtype
               : *event.text == "shape"        ? Field::shape
               : *event.text == "data_offsets" ? Field::offsets
                                               : Field::unknown;
      if (field_ == Field::unknown && unknown_field_.empty())
        unknown_field_ = cat(where(), ": ", quoted(*event.text));
      return;
    }
    if (field_ == Field::unknown) return;
    if (field_ == Field::dtype) {
      if (event.kind != EventKind::string)
        return refuse(Fault::format, cat(where(), ": 'dtype' is not a string"));
      dtype_ = std::move(*event.text);
      has_dtype_ = true;
      return;
    }
    if (event.kind == EventKind::end_array) return;
    if (event.kind != EventKind::start_array) {
      return refuse(Fault::format, cat(where(), ": ", field_name(), " is not an array"));
    }
    (field_ == Field::shape ? has_shape_ : has_offsets_) = true;
  }

  void on_number(const JsonEvent& event) {
    if (event.kind == EventKind::other_number) {
      return refuse(Fault::range,
                    cat(where(), ": ", field_name(), " holds a number that is not a natural one"));
    }
    if (event.kind != EventKind::natural) {
      return refuse(Fault::format, cat(where(), ": ", field_name(), " holds something that is not a number"));
    }
    if (field_ == Field::offsets) {
      if (offsets_.size() == 2) return refuse(Fault::format, cat(where(), ": more than two data_offsets"));
      offsets_.push_back(event.natural);
      return;
    }
    if (event.natural > static_cast<uint64_t>(INT64_MAX)) {
      return refuse(Fault::range, cat(where(), ": a dimension is ", event.natural));
    }
    if (entry_.shape.size() == limits_.rank) {
      return refuse(Fault::limit, cat(where(), ": more than ", limits_.rank, " dimensions"));
    }
    entry_.shape.push_back(static_cast<int64_t>(event.natural));
  }

  void end_entry() {
    for (const auto& [given, name] : {std::pair{has_dtype_, "dtype"}, std::pair{has_shape_, "shape"},
                                      std::pair{has_offsets_, "data_offsets"}}) {
      if (!given) return refuse(Fault::format, cat(where(), ": has no '", name, "'"));
    }
    const auto dtype = dtype_named(dtype_);
    if (!dtype) return refuse(Fault::unsupported, cat(where(), ": dtype ", quoted(dtype_), " is not known"));
    entry_.dtype = *dtype;
    if (offsets_.size() != 2) {
      return refuse(Fault::format, cat(where(), ": ", offsets_.size(), " data_offsets, wanted two"));
    }
    entry_.begin = offsets_[0];
    entry_.end = offsets_[1];
    check_size();
    entries_.push_back(std::move(entry_));
  }

  void check_size() {
    if (entry_.begin > entry_.end) {
      return refuse(Fault::range, cat(where(), ": data_offsets [", entry_.begin, ", ", entry_.end,
                                      "], wanted the first not above the second"));
    }
    const auto elements = checked_product(entry_.shape);
    const auto bits =
        elements ? checked_mul(*elements, static_cast<uint64_t>(dtype_bits(entry_.dtype))) : std::nullopt;
    if (!bits) {
      return refuse(Fault::range,
                    cat(where(), ": shape ", shape_text(entry_.shape), " has too many elements"));
    }
    if (*bits % 8 != 0) {
      return refuse(Fault::format, cat(where(), ": shape ", shape_text(entry_.shape), " of ", dtype_,
                                       " is not a whole number of bytes"));
    }
    if (entry_.end - entry_.begin != *bits / 8) {
      refuse(Fault::mismatch,
             cat(where(), ": data_offsets give ", entry_.end - entry_.begin, " bytes, shape ",
                 shape_text(entry_.shape), " of ", dtype_, " wants ", *bits / 8));
    }
  }

  std::string where() const {
    return in_metadata_ ? cat(file_, ": '__metadata__'") : cat(file_, ": tensor ", quoted(entry_.name));
  }
  std::string_view field_name() const { return field_ == Field::shape ? "'shape'" : "'data_offsets'"; }

  std::string_view file_;
  const SafetensorsLimits& limits_;
  std::vector<SafetensorsEntry> entries_;
  SafetensorsEntry entry_;
  std::string dtype_, unknown_field_;
  std::vector<uint64_t> offsets_;
  bool has_dtype_ = false, has_shape_ = false, has_offsets_ = false, in_metadata_ = false;
  Field field_ = Field::none;
};

/// What else a file may be that someone gave this name; empty if nothing known.
std::string_view looks_like(std::string_view start) {
  struct Magic {
    std::string_view bytes, what;
  };
  static constexpr std::array<Magic, 9> kMagics{{
      {"PK\x03\x04", "a zip archive, as torch.save() writes"},
      {"GGUF", "a GGUF file"},
      {"lmgg", "a GGML file"},
      {"version ", "a git-LFS pointer: the file itself was not downloaded"},
      {"\x89HDF", "an HDF5 file"},
      {"\x93NUMPY", "a NumPy file"},
      {"\x1F\x8B", "a gzip archive"},
      {"<", "HTML or XML: perhaps the error page of a download"},
      {"{\"", "JSON without the length that starts a safetensors file"},
  }};
  for (const Magic& magic : kMagics) {
    if (start.starts_with(magic.bytes)) return magic.what;
  }
  const bool pickle = start.size() >= 2 && start[0] == '\x80' && start[1] >= 2 && start[1] <= 5;
  return pickle ? "a Python pickle, as torch.save() writes" : "";
}

void check_places(std::vector<SafetensorsEntry>& entries, uint64_t data_bytes, std::string_view name) {
  std::sort(entries.begin(), entries.end(), [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  uint64_t cursor = 0;
  for (const SafetensorsEntry& entry : entries) {
    if (entry.begin != cursor) {
      throw Error(Fault::format,
                  cat(name, ": tensor ", quoted(entry.name), " starts at byte ", entry.begin,
                      " of the data, wanted ", cursor, ": tensors must not overlap or leave holes"));
    }
    cursor = entry.end;
  }
  if (cursor > data_bytes) {
    throw Error(Fault::truncated,
                cat(name, ": the tensors take ", cursor, " bytes, the file has ", data_bytes));
  }
  if (cursor < data_bytes) {
    throw Error(Fault::format,
                cat(name, ": ", data_bytes - cursor, " bytes follow the last tensor, wanted none"));
  }
}

}  // namespace

uint64_t safetensors_header_bytes(std::span<const std::byte> start, uint64_t file_size, std::string_view name,
                                  const SafetensorsLimits& limits) {
  if (file_size < kLengthBytes || start.size() < kLengthBytes) {
    throw Error(Fault::truncated, cat(name, ": ", file_size, " bytes, too short for a safetensors file"));
  }
  uint64_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) length |= std::to_integer<uint64_t>(start[i]) << (8 * i);
  const bool too_long = length > limits.header_bytes, beyond = length > file_size - kLengthBytes;
  const std::string_view text(reinterpret_cast<const char*>(start.data()), start.size());
  const bool json =
      text.size() > kLengthBytes && std::string_view("{ \t\r\n").find(text[8]) != std::string_view::npos;
  if (too_long || beyond || !json) {  // only then: any length may happen to look like something else
    if (const std::string_view other = looks_like(text); !other.empty()) {
      throw Error(Fault::format, cat(name, ": not a safetensors file; looks like ", other));
    }
  }
  if (too_long) {
    throw Error(Fault::limit,
                cat(name, ": a header of ", length, " bytes, wanted at most ", limits.header_bytes));
  }
  if (beyond) {
    throw Error(Fault::truncated, cat(name, ": the header takes ", length, " bytes, the file has ",
                                      file_size - kLengthBytes, " for it"));
  }
  return length;
}

SafetensorsHeader parse_safetensors_header(std::span<const std::byte> start, uint64_t file_size,
                                           std::string_view name, const SafetensorsLimits& limits) {
  const uint64_t length = safetensors_header_bytes(start, file_size, name, limits);
  if (start.size() - kLengthBytes < length) {
    throw Error(Fault::truncated, cat(name, ": the header takes ", length, " bytes, wanted all of them"));
  }
  const std::string_view text(reinterpret_cast<const char*>(start.data()) + kLengthBytes,
                              static_cast<size_t>(length));
  HeaderReader reader(name, limits);
  reader.parse(text, name, {.max_bytes = static_cast<size_t>(limits.header_bytes)});
  SafetensorsHeader header{.entries = reader.take(), .data_start = kLengthBytes + length};
  check_places(header.entries, file_size - header.data_start, name);
  if (!reader.unknown_field().empty()) {
    log(LogLevel::warning, cat(reader.unknown_field(), " is no field of safetensors; ignored"));
  }
  return header;
}

}  // namespace gptq
