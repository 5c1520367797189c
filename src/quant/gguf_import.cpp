#include "quant/gguf_import.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "format/gguf_blocks.h"
#include "quant/companions.h"
#include "quant/dense_bytes.h"
#include "quant/gguf_config.h"

namespace gptq {
namespace {

/// A tensor of the file and the one that it becomes.
struct Moved {
  const GgufTensor* from;
  TensorInfo to;
  Storage storage = Storage::out_in;
  int64_t head_dim = 0;  // of heads whose rows are paired in the file, else 0
};

class Import {
 public:
  Import(const fs::path& source, const ConvertOptions& options, const Progress& progress)
      : source_(source),
        options_(options),
        progress_(progress),
        file_(source),
        arch_(gguf_arch_named(architecture(), source.filename().native())),
        config_(gguf_config(file_, arch_, options.dtype)),
        spec_(read_spec(parse_json(config_, source.filename().native()), source.filename().native())) {
    collect();
  }

  void write(const fs::path& target) {
    refuse_in_place(source_, target);
    StagedFolder folder(target, options_.overwrite);
    std::vector<TensorInfo> tensors;
    for (const Moved& moved : moved_) tensors.push_back(moved.to);
    FolderWriter writer(folder.path(), std::move(tensors), options_.max_shard_bytes);
    for (size_t i = 0; i < moved_.size(); ++i) {
      progress_(static_cast<int64_t>(i), static_cast<int64_t>(moved_.size()), "convert");
      writer.write(moved_[i].to.name, bytes_of(moved_[i]));
    }
    writer.finish();
    file_.file().check_unchanged();
    folder.write_file("config.json", config_ + "\n");
    for (const auto& [name, text] : gguf_tokenizer_files(file_.header())) folder.write_file(name, text);
    folder.commit();
  }

 private:
  std::string_view architecture() const {
    const std::string* name = file_.header().text("general.architecture");
    return name != nullptr ? std::string_view(*name) : "";
  }

  void collect() {
    const Names& names = *spec_.family->names;
    const auto name = [&](std::string_view part) { return cat(names.base, part); };
    take("token_embd.weight", cat(name(names.embed), ".weight"), {spec_.vocab, spec_.hidden});
    if (!names.positions.empty())
      take("position_embd.weight", cat(name(names.positions), ".weight"), {spec_.context, spec_.hidden});
    for (int64_t i = 0; i < spec_.layers; ++i) take_layer(i);
    take_norm("output_norm", name(names.final_norm));
    if (file_.header().find("output.weight") != nullptr)
      take("output.weight", cat(names.head, ".weight"), {spec_.vocab, spec_.hidden});
    for (const GgufTensor& tensor : file_.header().tensors()) {
      if (taken_.contains(tensor.name) || tensor.name == "rope_freqs.weight") continue;
      file_.header().refuse(Fault::mismatch, tensor.name, cat("no tensor of a ", arch_.name));
    }
  }

  void take_layer(int64_t layer) {
    const Names& names = *spec_.family->names;
    const std::string prefix = cat(names.base, names.layers, layer, ".");
    take_norm(gguf_layer_name(layer, "attn_norm"), cat(prefix, names.attention_norm));
    take_norm(gguf_layer_name(layer, "ffn_norm"), cat(prefix, names.mlp_norm));
    for (const Module& module : names.modules) {
      const std::string from = gguf_layer_name(layer, gguf_part(module)), to = cat(prefix, module.name);
      const int64_t out = spec_.out_features(module), in = spec_.in_features(module);
      const int64_t head_dim = has_paired_rows(arch_, module) ? spec_.head_dim : 0;
      Moved& weight = take(from + ".weight", to + ".weight", {out, in});
      weight.head_dim = head_dim;
      weight.storage = spec_.family->storage;
      if (weight.storage == Storage::in_out) std::swap(weight.to.shape[0], weight.to.shape[1]);
      if (file_.header().find(from + ".bias") != nullptr)
        take(from + ".bias", to + ".bias", {out}).head_dim = head_dim;
    }
  }

  void take_norm(const std::string& from, const std::string& to) {
    take(from + ".weight", to + ".weight", {spec_.hidden});
    if (spec_.family->norm == Norm::layer) take(from + ".bias", to + ".bias", {spec_.hidden});
  }

  Moved& take(const std::string& from, const std::string& to, const std::vector<int64_t>& shape) {
    const GgufTensor* tensor = file_.header().find(from);
    if (tensor == nullptr) file_.header().refuse(Fault::mismatch, from, "is missing");
    if (tensor->shape != shape) {
      file_.header().refuse(Fault::mismatch, from,
                            cat("has shape ", shape_text(tensor->shape), ", wanted ", shape_text(shape)));
    }
    taken_.insert(tensor->name);
    moved_.push_back({.from = tensor, .to = {.name = to, .dtype = options_.dtype, .shape = shape}});
    return moved_.back();
  }

  /// The row of the file that holds row `row` of the folder's tensor.
  static int64_t stored_row(const Moved& moved, int64_t row) {
    if (moved.head_dim == 0) return row;
    const int64_t in_head = row % moved.head_dim, half = moved.head_dim / 2;
    return row - in_head + in_head % half * 2 + in_head / half;
  }

  std::vector<std::byte> bytes_of(const Moved& moved) const {
    const GgufTensor& tensor = *moved.from;
    const bool one_row = tensor.shape.size() == 1;
    const int64_t rows = one_row ? tensor.cols() : tensor.rows(), cols = one_row ? 1 : tensor.cols();
    const auto size = static_cast<size_t>(dtype_bits(options_.dtype) / 8);
    std::vector<float> values(static_cast<size_t>(tensor.cols()));
    std::vector<std::byte> out(static_cast<size_t>(rows * cols) * size), row_bytes(values.size() * size);
    if (one_row) unpack_gguf_row(tensor.type, file_.read_rows(tensor, 0, 1), values);
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t stored = stored_row(moved, row);
      if (one_row) {
        store_dense({&values[static_cast<size_t>(stored)], 1}, options_.dtype,
                    out.data() + static_cast<size_t>(row) * size, tensor.name);
        continue;
      }
      unpack_gguf_row(tensor.type, file_.read_rows(tensor, stored, 1), values);
      const bool in_blocks = block_of(tensor.type).elements > 1;
      if (in_blocks && !std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); })) {
        throw Error(Fault::numeric,
                    cat(tensor.name, ": row ", stored, ": a scale times its code is not finite"));
      }
      store_dense(values, options_.dtype, row_bytes.data(), tensor.name);
      for (int64_t col = 0; col < cols; ++col) {
        const int64_t at = moved.storage == Storage::out_in ? row * cols + col : col * rows + row;
        std::copy_n(row_bytes.data() + static_cast<size_t>(col) * size, size,
                    out.data() + static_cast<size_t>(at) * size);
      }
    }
    return out;
  }

  fs::path source_;
  const ConvertOptions& options_;
  const Progress& progress_;
  GgufFile file_;
  const GgufArch& arch_;
  std::string config_;
  Spec spec_;
  std::vector<Moved> moved_;
  std::unordered_set<std::string> taken_;
};

}  // namespace

void import_gguf(const fs::path& source, const fs::path& target, const ConvertOptions& options,
                 const Progress& progress) {
  if (options.container == Container::gguf || options.format) {
    throw Error(Fault::unsupported,
                cat(quoted(source.native(), 400),
                    " is a GGUF file: it becomes a folder of plain weights, format 'dense'; that "
                    "can be quantized"));
  }
  Import(source, options, progress).write(target);
}

}  // namespace gptq
