// Writing one safetensors file whose tensors arrive in any order.
#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "base/checked.h"
#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "format/checkpoint.h"
#include "format/safetensors.h"

namespace gptq {
namespace {

std::string json_text(std::string_view text) { return print_json(Json(text)); }

/// The length and the JSON part, padded with spaces so that the data starts at a multiple of 8.
std::string header_text(const std::vector<TensorInfo>& tensors,
                        const std::vector<std::pair<std::string, std::string>>& metadata) {
  std::string json = "{";
  if (!metadata.empty()) {
    json += "\"__metadata__\":{";
    for (const auto& [key, value] : metadata) json += cat(json_text(key), ":", json_text(value), ",");
    json.back() = '}';
    json += ',';
  }
  uint64_t offset = 0;
  for (const TensorInfo& info : tensors) {
    json += cat(json_text(info.name), ":{\"dtype\":\"", dtype_name(info.dtype), "\",\"shape\":[");
    for (size_t d = 0; d < info.shape.size(); ++d) json += cat(d == 0 ? "" : ",", info.shape[d]);
    json += cat("],\"data_offsets\":[", offset, ",", offset + info.bytes, "]},");
    offset += info.bytes;
  }
  if (json.back() == ',') json.pop_back();
  json += '}';
  json.append((8 - json.size() % 8) % 8, ' ');
  std::string length;
  for (int shift = 0; shift < 64; shift += 8) length += static_cast<char>(json.size() >> shift & 0xFF);
  return length + json;
}

}  // namespace

uint64_t tensor_bytes(const TensorInfo& info) {
  const auto elements = checked_product(info.shape);
  const auto bits =
      elements ? checked_mul(*elements, static_cast<uint64_t>(dtype_bits(info.dtype))) : std::nullopt;
  if (!bits || *bits % 8 != 0) {
    throw Error(Fault::range, cat("tensor ", quoted(info.name), ": shape ", shape_text(info.shape), " of ",
                                  dtype_name(info.dtype), " has no size in bytes"));
  }
  return *bits / 8;
}

struct SafetensorsWriter::State {
  struct Place {
    uint64_t offset, bytes;
    uint64_t written = 0;
    bool begun = false;
  };

  State(std::string file_name, std::vector<TensorInfo> tensors, const Metadata& metadata);
  void begin(FileWriter file);

  std::string name, header;
  uint64_t file_bytes = 0;
  std::map<std::string, Place, std::less<>> places;
  std::optional<FileWriter> writer;
};

SafetensorsWriter::State::State(std::string file_name, std::vector<TensorInfo> tensors,
                                const Metadata& metadata)
    : name(std::move(file_name)) {
  uint64_t data_bytes = 0;
  for (TensorInfo& info : tensors) {
    info.bytes = tensor_bytes(info);
    const auto sum = checked_add(data_bytes, info.bytes);
    if (!sum) throw Error(Fault::range, cat(name, ": the tensors together have no size in bytes"));
    data_bytes = *sum;
  }
  std::stable_sort(tensors.begin(), tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return dtype_bits(a.dtype) > dtype_bits(b.dtype);
  });
  header = header_text(tensors, metadata);
  const auto all_bytes = checked_add(header.size(), data_bytes);
  if (!all_bytes) throw Error(Fault::range, cat(name, ": the tensors together have no size in bytes"));
  file_bytes = *all_bytes;
  // nothing is written that could not be read back: names, counts and sizes have the reader's limits
  const SafetensorsHeader checked =
      parse_safetensors_header(std::as_bytes(std::span(header)), file_bytes, name);
  for (const SafetensorsEntry& entry : checked.entries) {
    places.emplace(entry.name, Place{checked.data_start + entry.begin, entry.end - entry.begin});
  }
}

void SafetensorsWriter::State::begin(FileWriter file) {
  writer.emplace(std::move(file));
  writer->reserve(file_bytes);
  writer->write_at(0, std::as_bytes(std::span(header)));
}

SafetensorsWriter::SafetensorsWriter(const fs::path& file, std::vector<TensorInfo> tensors,
                                     const Metadata& metadata)
    : state_(std::make_unique<State>(file.filename().string(), std::move(tensors), metadata)) {
  state_->begin(FileWriter(file));
}

SafetensorsWriter::SafetensorsWriter(const Descriptor& folder, const fs::path& file,
                                     std::vector<TensorInfo> tensors, const Metadata& metadata)
    : state_(std::make_unique<State>(file.filename().string(), std::move(tensors), metadata)) {
  state_->begin(FileWriter(folder, state_->name, file));
}

SafetensorsWriter::~SafetensorsWriter() = default;

void SafetensorsWriter::write(std::string_view name, std::span<const std::byte> bytes) {
  const auto it = state_->places.find(name);
  if (it != state_->places.end() && bytes.size() != it->second.bytes) {
    throw Error(Status::internal, cat(state_->name, ": tensor ", quoted(name), " has ", bytes.size(),
                                      " bytes, announced were ", it->second.bytes));
  }
  write_part(name, 0, bytes);
}

void SafetensorsWriter::write_part(std::string_view name, uint64_t offset, std::span<const std::byte> bytes) {
  const auto it = state_->places.find(name);
  if (it == state_->places.end()) {
    throw Error(Status::internal, cat(state_->name, ": tensor ", quoted(name), " was not announced"));
  }
  State::Place& place = it->second;
  if (place.begun && offset == 0) {
    throw Error(Status::internal, cat(state_->name, ": tensor ", quoted(name), " is written twice"));
  }
  if (offset != place.written || bytes.size() > place.bytes - offset) {
    throw Error(Status::internal,
                cat(state_->name, ": tensor ", quoted(name), ": ", bytes.size(), " bytes at byte ", offset,
                    ", ", place.written, " of ", place.bytes, " are written"));
  }
  state_->writer->write_at(place.offset + offset, bytes);
  place.written += bytes.size();
  place.begun = true;
}

void SafetensorsWriter::finish() {
  for (const auto& [name, place] : state_->places) {
    if (!place.begun || place.written != place.bytes) {
      throw Error(Status::internal, cat(state_->name, ": tensor ", quoted(name), " was never written",
                                        place.begun ? " to its end" : ""));
    }
  }
  state_->writer->finish();
}

}  // namespace gptq
