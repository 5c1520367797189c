#include "quant/convert.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/folder.h"
#include "base/json_writer.h"
#include "base/text.h"
#include "format/layout.h"
#include "format/written_module.h"
#include "quant/companions.h"
#include "quant/converted_config.h"
#include "quant/dense_bytes.h"
#include "quant/gguf_export.h"
#include "quant/gguf_import.h"

namespace gptq {
namespace {

bool is_float(DType dtype) { return dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16; }

std::vector<std::byte> cast(const Tensor& tensor, DType dtype, std::string_view name) {
  constexpr int64_t kPart = 1 << 16;
  const auto size = static_cast<size_t>(dtype_bits(dtype) / 8);
  std::vector<std::byte> bytes(static_cast<size_t>(tensor.elements()) * size);
  std::vector<float> part(kPart);
  for (int64_t at = 0; at < tensor.elements(); at += kPart) {
    const int64_t count = std::min(kPart, tensor.elements() - at);
    to_float(tensor, at, count, part.data());
    store_dense(std::span(part).first(static_cast<size_t>(count)), dtype,
                bytes.data() + static_cast<size_t>(at) * size, name);
  }
  return bytes;
}

/// The weight as it lay there before it was quantized: [out, in], or [in, out] for Conv1D.
std::vector<std::byte> dequantize(const QTensor& q, DType dtype, Storage storage, std::string_view name) {
  const auto size = static_cast<size_t>(dtype_bits(dtype) / 8);
  const auto rows = static_cast<size_t>(q.rows), cols = static_cast<size_t>(q.cols);
  std::vector<std::byte> bytes(rows * cols * size);
  std::vector<float> row(cols);
  std::vector<std::byte> stored(cols * size);
  for (size_t n = 0; n < rows; ++n) {
    dequantize_row(q, static_cast<int64_t>(n), row.data());
    if (!std::all_of(row.begin(), row.end(), [](float value) { return std::isfinite(value); })) {
      throw Error(Fault::numeric, cat(name, ": row ", n, ": a scale times its code is not finite"));
    }
    if (storage == Storage::out_in) {
      store_dense(row, dtype, bytes.data() + n * cols * size, name);
      continue;
    }
    store_dense(row, dtype, stored.data(), name);
    for (size_t k = 0; k < cols; ++k) {
      std::memcpy(bytes.data() + (k * rows + n) * size, stored.data() + k * size, size);
    }
  }
  return bytes;
}

class Conversion {
 public:
  Conversion(const fs::path& source, const ConvertOptions& options, const Progress& progress)
      : options_(options), progress_(progress), loader_(source) {
    check_source();
    for (StoredLinear& linear : loader_.linears()) {
      if (!loader_.is_quantized(linear.path)) {
        dense_.push_back(linear.full_name);
        continue;
      }
      const Layout& layout = layout_of(loader_.quantization()->format);
      for (std::string& name : module_tensor_names(linear.path, layout)) {
        owner_.emplace(std::move(name), modules_.size());
      }
      modules_.push_back({.linear = std::move(linear), .shape = {}});
    }
    if (loader_.tied()) leave_head();
    total_ = static_cast<int64_t>(modules_.size() * (options.format ? 2 : 1));
  }

  void write(const fs::path& target) {
    refuse_in_place(loader_.folder(), target);
    StagedFolder folder(target, options_.overwrite);
    if (options_.format) inspect();
    FolderWriter writer(folder.descriptor(), folder.path(), plan(), options_.max_shard_bytes);
    write_tensors(writer);
    writer.finish();
    copy_companions(loader_.folder(), folder);
    loader_.checkpoint().check_unchanged();
    write_configs(folder);
    folder.commit();
  }

 private:
  static constexpr size_t kNobody = SIZE_MAX;

  struct Converted {
    StoredLinear linear;
    ModuleShape shape;  // in the output, where that is quantized
  };

  /// A head that is the embedding may have weights all the same, which nobody reads.
  void leave_head() {
    const std::string head = loader_.head_name();
    dense_.push_back(head);
    owner_.emplace(head + ".weight", kNobody);
    if (!loader_.quantization()) return;
    for (std::string& name : module_tensor_names(head, layout_of(loader_.quantization()->format))) {
      owner_.emplace(std::move(name), kNobody);
    }
  }

  void check_source() const {
    if (!options_.format) return;
    if (!loader_.quantization()) {
      throw Error(Fault::unsupported, cat(quoted(loader_.folder().string(), 400),
                                          " is not quantized: wanted a model that is, or format 'dense'"));
    }
    refuse_storage(loader_.spec(), *options_.format);
  }

  QTensor read(const StoredLinear& linear) const {
    QTensor q = loader_.quantized_weight(linear.path, linear.in_features, linear.out_features);
    if (options_.format == QuantFormat::gptq && !raise_zero_points(q)) {
      throw Error(Fault::unsupported, cat(linear.path,
                                          ": has zero points of 0, which format gptq can't hold; "
                                          "wanted gptq_v2"));
    }
    return q;
  }

  /// Finds the shapes of the output's modules, and what its format can't hold.
  void inspect() {
    for (Converted& module : modules_) {
      tick("inspect");
      const QTensor q = read(module.linear);
      module.shape = shape_of(q);
      check_writable(q, module.linear.path, *options_.format);
      in_order_ = in_order_ && is_in_order(q);
    }
  }

  std::vector<TensorInfo> plan() const {
    std::vector<TensorInfo> tensors;
    std::vector<bool> planned(modules_.size());
    for (const TensorInfo& tensor : loader_.checkpoint().tensors()) {
      const auto owner = owner_.find(tensor.name);
      if (owner == owner_.end()) {
        refuse_other_words(tensor.name);
        tensors.push_back(tensor);
        if (!options_.format && is_float(tensor.dtype)) tensors.back().dtype = options_.dtype;
      } else if (owner->second != kNobody && !planned[owner->second]) {
        planned[owner->second] = true;
        plan_module(modules_[owner->second], tensors);
      }
    }
    return tensors;
  }

  /// Of layers that are not loaded and so can't be converted.
  void refuse_other_words(const std::string& tensor) const {
    const size_t dot = tensor.rfind('.');
    const std::string module = tensor.substr(0, dot == std::string::npos ? 0 : dot);
    if (!loader_.is_quantized(module)) return;
    const auto words = module_tensor_names(module, layout_of(loader_.quantization()->format));
    if (std::any_of(words.begin(), words.end(),
                    [&](const std::string& word) { return owner_.contains(word); }))
      return;  // a bias
    throw Error(Fault::unsupported, cat(loader_.folder().native(), ": ", tensor,
                                        " is quantized in a layer that generates no text and is not loaded"));
  }

  void plan_module(const Converted& module, std::vector<TensorInfo>& tensors) const {
    const std::string& path = module.linear.path;
    const int64_t in = module.linear.in_features, out = module.linear.out_features;
    if (!options_.format) {
      tensors.push_back(
          {.name = path + ".weight",
           .dtype = options_.dtype,
           .shape = module.linear.storage == Storage::out_in ? std::vector{out, in} : std::vector{in, out}});
      return;
    }
    for (TensorInfo& part : module_tensors(path, module.shape, *options_.format)) {
      tensors.push_back(std::move(part));
    }
  }

  void write_tensors(FolderWriter& writer) {
    for (const Converted& module : modules_) {
      tick("convert");
      const QTensor q = read(module.linear);
      const std::string& path = module.linear.path;
      if (!options_.format) {
        writer.write(path + ".weight", dequantize(q, options_.dtype, module.linear.storage, path));
        continue;
      }
      for (const NamedBytes& part : write_module(q, path, module.shape, *options_.format)) {
        writer.write(part.name, part.bytes);
      }
    }
    for (const TensorInfo& tensor : loader_.checkpoint().tensors()) {
      if (owner_.contains(tensor.name)) continue;
      tick("copy");
      if (!options_.format && is_float(tensor.dtype) && tensor.dtype != options_.dtype) {
        const Tensor data = loader_.checkpoint().read(tensor.name, Access::read);
        writer.write(tensor.name, cast(data, options_.dtype, tensor.name));
      } else {
        copy_tensor(loader_.checkpoint(), tensor, writer);
      }
    }
  }

  void write_configs(StagedFolder& folder) const {
    const std::string text = read_text_file(join(loader_.folder(), "config.json"), kMaxConfigBytes);
    if (!options_.format) {
      folder.write_file("config.json", dense_model_config(text, options_.dtype) + "\n");
      return;
    }
    std::vector<ConvertedModule> modules;
    for (const Converted& module : modules_) {
      modules.push_back(
          {module.linear.full_name, module.shape, loader_.labels_of(module.linear.path).group_size});
    }
    const std::string quantization = converted_quantization(
        *options_.format, modules, dense_, in_order_ ? InputOrder::natural : InputOrder::activation);
    folder.write_file("config.json",
                      set_json_member(text, "config.json", "quantization_config", quantization) + "\n");
    if (*options_.format != QuantFormat::compressed_tensors)
      folder.write_file("quantize_config.json", quantization + "\n");
  }

  /// Copies count as part of the last module's work.
  void tick(const char* stage) { progress_(std::min(done_++, total_), total_, stage); }

  const ConvertOptions& options_;
  const Progress& progress_;
  Loader loader_;
  std::vector<Converted> modules_;
  std::vector<std::string> dense_;  // Linears that are not quantized, as configurations name them
  std::unordered_map<std::string, size_t> owner_;  // tensor of the source -> its module
  bool in_order_ = true;
  int64_t done_ = 0, total_ = 0;
};

}  // namespace

void convert_model(const fs::path& source, const fs::path& target, const ConvertOptions& options,
                   const Progress& progress) {
  if (is_gguf(source)) {
    import_gguf(source, target, options, progress);
    return;
  }
  if (options.container == Container::gguf) {
    export_gguf(source, target, {.type = options.gguf_type, .overwrite = options.overwrite}, progress);
    return;
  }
  Conversion(source, options, progress).write(target);
}

}  // namespace gptq
