#include "quant/dequantized.h"

#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <span>

#include "base/half.h"
#include "format/checkpoint.h"

namespace gptq::test {
namespace {

using nlohmann::json;

template <class T>
std::vector<T> values(const Tensor& tensor) {
  std::vector<T> out(tensor.bytes / sizeof(T));
  std::memcpy(out.data(), tensor.data, tensor.bytes);
  return out;
}

/// The number of `bits` bits from bit `first` on of a stream whose words are `stride` apart.
int field(const std::vector<uint32_t>& words, size_t start, size_t stride, size_t first, int bits) {
  int value = 0;
  for (int b = 0; b < bits; ++b) {
    const size_t at = first + static_cast<size_t>(b);
    value |= static_cast<int>(words[start + at / 32 * stride] >> at % 32 & 1) << b;
  }
  return value;
}

}  // namespace

std::vector<float> dequantize_module(const fs::path& folder, const std::string& module) {
  const auto checkpoint = open_checkpoint(folder);
  const json config = json::parse(read_file(folder / "quantize_config.json"));
  const int add = config.at("checkpoint_format") == "gptq" ? 1 : 0;
  const auto read = [&](const char* part) { return checkpoint->read(module + part, Access::read); };
  const Tensor qweight = read(".qweight"), scales = read(".scales");
  const auto codes = values<uint32_t>(qweight), zeros = values<uint32_t>(read(".qzeros"));
  const auto group = values<int32_t>(read(".g_idx"));
  const auto halves = values<uint16_t>(scales);
  const auto in = group.size(), out = static_cast<size_t>(qweight.shape[1]);
  int bits = 0;  // the only width whose codes fill the words
  for (int candidate : {2, 3, 4, 8}) {
    if ((in * static_cast<size_t>(candidate) + 31) / 32 == static_cast<size_t>(qweight.shape[0]))
      bits = candidate;
  }
  const size_t zero_words = (out * static_cast<size_t>(bits) + 31) / 32;
  std::vector<float> weight(out * in);
  for (size_t n = 0; n < out; ++n) {
    for (size_t k = 0; k < in; ++k) {
      const auto g = static_cast<size_t>(group[k]);
      const int code = field(codes, n, out, k * static_cast<size_t>(bits), bits);
      const int zero = field(zeros, g * zero_words, 1, n * static_cast<size_t>(bits), bits) + add;
      weight[n * in + k] = static_cast<float>(double{fp16_to_float(halves[g * out + n])} * (code - zero));
    }
  }
  return weight;
}

void write_dequantized(const fs::path& folder, const fs::path& target, Stored stored) {
  fs::create_directory(target);
  const auto source = open_checkpoint(folder);
  std::map<std::string, std::pair<std::vector<int64_t>, std::vector<float>>> dense;
  for (const TensorInfo& info : source->tensors()) {
    const std::string& name = info.name;
    if (name.ends_with(".qweight")) {
      const std::string module = name.substr(0, name.size() - 8);
      std::vector<float> weight = dequantize_module(folder, module);
      const int64_t out = info.shape[1], in = static_cast<int64_t>(weight.size()) / out;
      if (stored == Stored::in_out && module != "lm_head") {
        std::vector<float> transposed(weight.size());
        for (int64_t n = 0; n < out; ++n) {
          for (int64_t k = 0; k < in; ++k)
            transposed[static_cast<size_t>(k * out + n)] = weight[static_cast<size_t>(n * in + k)];
        }
        dense[module + ".weight"] = {{in, out}, std::move(transposed)};
      } else {
        dense[module + ".weight"] = {{out, in}, std::move(weight)};
      }
    } else if (info.dtype != DType::i32 && !name.ends_with(".scales")) {
      dense[name] = {info.shape, to_float(source->read(name, Access::read))};
    }
  }
  std::vector<TensorInfo> infos;
  for (const auto& [name, tensor] : dense)
    infos.push_back({.name = name, .dtype = DType::f32, .shape = tensor.first});
  for (TensorInfo& info : infos) info.bytes = dense[info.name].second.size() * sizeof(float);
  SafetensorsWriter writer(target / "model.safetensors", infos, {});
  for (const auto& [name, tensor] : dense) writer.write(name, std::as_bytes(std::span(tensor.second)));
  writer.finish();
  json config = json::parse(read_file(folder / "config.json"));
  config.erase("quantization_config");
  write_file(target / "config.json", config.dump());
}

}  // namespace gptq::test
