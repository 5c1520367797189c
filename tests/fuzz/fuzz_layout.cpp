// Any bytes as a quantized module "m" in each layout: refused with an Error, or a QTensor that a backend may rely on.
//
//   byte 0  format   byte 1  bits   byte 2  group size: 0 is -1, else 16 times it   byte 3, 4  inputs and outputs / 8
//   the rest         a safetensors file
#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "format/layout.h"
#include "format/safetensors.h"
#include "format/written_module.h"

namespace {

using gptq::QuantFormat;

class BytesCheckpoint final : public gptq::Checkpoint {
 public:
  explicit BytesCheckpoint(std::span<const std::byte> file) : file_(file) {
    auto header = gptq::parse_safetensors_header(file, file.size(), "fuzz");
    std::sort(header.entries.begin(), header.entries.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
    for (auto& entry : header.entries) {
      places_.push_back(header.data_start + entry.begin);
      infos_.push_back({entry.name, entry.dtype, entry.shape, entry.end - entry.begin, "fuzz"});
    }
  }

  const std::vector<gptq::TensorInfo>& tensors() const override { return infos_; }
  const gptq::TensorInfo* find(std::string_view name) const override {
    for (const auto& info : infos_) {
      if (info.name == name) return &info;
    }
    return nullptr;
  }
  gptq::Tensor read(std::string_view name, gptq::Access) const override {
    const gptq::TensorInfo& info = *find(name);
    std::byte* bytes = nullptr;
    gptq::Tensor tensor = gptq::make_tensor(info.dtype, info.shape, &bytes);
    if (info.bytes != 0) read_part(name, 0, {bytes, info.bytes});
    return tensor;
  }
  void read_part(std::string_view name, uint64_t offset, std::span<std::byte> out) const override {
    const gptq::TensorInfo& info = *find(name);
    const std::byte* const at = file_.data() + places_[static_cast<size_t>(&info - infos_.data())] + offset;
    std::copy_n(at, out.size(), out.data());
  }
  void check_unchanged() const override {}

 private:
  std::span<const std::byte> file_;
  std::vector<gptq::TensorInfo> infos_;
  std::vector<uint64_t> places_;
};

/// What was read is written, where that can be done, and sizes are those announced.
void write_again(const gptq::QTensor& q) {
  for (auto format : {QuantFormat::gptq, QuantFormat::gptq_v2, QuantFormat::compressed_tensors}) {
    try {
      const auto shape = gptq::shape_of(q);
      const auto tensors = gptq::write_module(q, "m", shape, format);
      const auto infos = gptq::module_tensors("m", shape, format);
      for (size_t i = 0; i < infos.size(); ++i) {
        if (gptq::tensor_bytes(infos[i]) != tensors[i].bytes.size()) std::abort();
      }
    } catch (const gptq::Error&) {
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr std::array kFormats{QuantFormat::gptq,     QuantFormat::gptq_v2, QuantFormat::awq_gemm,
                                QuantFormat::awq_gemv, QuantFormat::marlin,  QuantFormat::compressed_tensors};
  if (size < 5) return 0;
  const gptq::QuantConfig config{
      .bits = gptq::kBitWidths[data[1] % 4],
      .group_size = data[2] == 0 ? -1 : 16 * int64_t{data[2]},
      .symmetry = data[0] & 64 ? gptq::Symmetry::asymmetric : gptq::Symmetry::symmetric,
      .format = kFormats[data[0] % 8 % kFormats.size()],
      .producer_is_gptqmodel = (data[0] & 128) != 0};
  try {
    const BytesCheckpoint checkpoint(std::as_bytes(std::span(data, size).subspan(5)));
    const gptq::QTensor q =
        gptq::read_module(checkpoint, "m", config, 8 * int64_t{data[3]}, 8 * int64_t{data[4]});
    gptq::validate(q, "m");
    write_again(q);
  } catch (const gptq::Error& error) {
    if (std::string_view(error.what()).starts_with("m: a code")) std::abort();  // of validate()
  }
  return 0;
}
