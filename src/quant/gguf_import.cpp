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
#include "quant/gguf_tokenizer.h"

namespace gptq {
namespace {

constexpr uint64_t kPart = uint64_t{1} << 22;  // bytes read at once

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
    const auto tokenizer = restored_tokenizer(file_.header());
    StagedFolder folder(target, options_.overwrite);
    std::vector<TensorInfo> tensors;
    for (const Moved& moved : moved_) tensors.push_back(moved.to);
    FolderWriter writer(folder.descriptor(), folder.path(), std::move(tensors), options_.max_shard_bytes);
    for (size_t i = 0; i < moved_.size(); ++i) {
      progress_(static_cast<int64_t>(i), static_cast<int64_t>(moved_.size()), "convert");
      writer.write(moved_[i].to.name, bytes_of(moved_[i]));
    }
    writer.finish();
    file_.file().check_unchanged();
    folder.write_file("config.json", config_ + "\n");
    for (const auto& [name, text] : tokenizer) folder.write_file(name, text);
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
    take_norm(gguf_layer_name(layer, "attn_norm"), cat(prefix, names.norm(NormPlace::attention)));
    take_norm(gguf_layer_name(layer, "ffn_norm"), cat(prefix, names.norm(NormPlace::mlp)));
    for (const Module& module : names.modules) {
      const std::string from = gguf_layer_name(layer, gguf_part(module)), to = cat(prefix, module.name);
      const int64_t out = spec_.out_features(module, layer), in = spec_.in_features(module, layer);
      const int64_t head_dim = has_paired_rows(arch_, module) ? spec_.head_dim : 0;
      Moved& weight = take(from + ".weight", to + ".weight", {out, in});
      weight.head_dim = head_dim;
      weight.storage = spec_.traits.storage;
      if (weight.storage == Storage::in_out) std::swap(weight.to.shape[0], weight.to.shape[1]);
      if (file_.header().find(from + ".bias") != nullptr)
        take(from + ".bias", to + ".bias", {out}).head_dim = head_dim;
    }
  }

  void take_norm(const std::string& from, const std::string& to) {
    take(from + ".weight", to + ".weight", {spec_.hidden});
    if (spec_.traits.norm == NormKind::layer) take(from + ".bias", to + ".bias", {spec_.hidden});
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

  size_t element() const { return static_cast<size_t>(dtype_bits(options_.dtype) / 8); }

  std::vector<std::byte> bytes_of(const Moved& moved) const {
    return moved.from->shape.size() == 1 ? vector_bytes(moved) : matrix_bytes(moved);
  }

  std::vector<std::byte> vector_bytes(const Moved& moved) const {
    const GgufTensor& tensor = *moved.from;
    std::vector<float> stored(static_cast<size_t>(tensor.cols())), values(stored.size());
    unpack_gguf_row(tensor.type, file_.read_rows(tensor, 0, 1), stored);
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = stored[static_cast<size_t>(stored_row(moved, static_cast<int64_t>(i)))];
    std::vector<std::byte> out(values.size() * element());
    store_dense(values, options_.dtype, out.data(), tensor.name);
    return out;
  }

  std::vector<std::byte> matrix_bytes(const Moved& moved) const {
    const GgufTensor& tensor = *moved.from;
    const int64_t rows = tensor.rows(), cols = tensor.cols();
    const uint64_t stored_bytes = tensor.bytes / static_cast<uint64_t>(rows);
    // paired rows stay within their head
    const int64_t unit = std::max<int64_t>(1, moved.head_dim);
    const auto fitting = static_cast<int64_t>(kPart / stored_bytes);
    const int64_t together = std::max<int64_t>(1, fitting / unit) * unit;
    const size_t row_size = static_cast<size_t>(cols) * element();
    std::vector<std::byte> out(static_cast<size_t>(rows) * row_size), row_bytes(row_size);
    for (int64_t begin = 0; begin < rows; begin += together) {
      const int64_t count = std::min(together, rows - begin);
      const std::vector<std::byte> part = file_.read_rows(tensor, begin, count);
      for (int64_t row = begin; row < begin + count; ++row) {
        const int64_t stored = stored_row(moved, row);
        const size_t at = static_cast<size_t>(stored - begin) * static_cast<size_t>(stored_bytes);
        take_row(tensor, stored, std::span(part).subspan(at, static_cast<size_t>(stored_bytes)), row_bytes);
        if (moved.storage == Storage::out_in) {
          std::copy(row_bytes.begin(), row_bytes.end(),
                    out.begin() + static_cast<ptrdiff_t>(row) * static_cast<ptrdiff_t>(row_size));
          continue;
        }
        for (int64_t col = 0; col < cols; ++col) {
          std::copy_n(row_bytes.data() + static_cast<size_t>(col) * element(), element(),
                      out.data() + static_cast<size_t>(col * rows + row) * element());
        }
      }
    }
    return out;
  }

  void take_row(const GgufTensor& tensor, int64_t row, std::span<const std::byte> packed,
                std::span<std::byte> out) const {
    std::vector<float> values(static_cast<size_t>(tensor.cols()));
    unpack_gguf_row(tensor.type, packed, values);
    const bool in_blocks = block_of(tensor.type).elements > 1;
    if (in_blocks && !std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); })) {
      throw Error(Fault::numeric, cat(tensor.name, ": row ", row, ": a scale times its code is not finite"));
    }
    store_dense(values, options_.dtype, out.data(), tensor.name);
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
    throw Error(
        Fault::unsupported,
        cat("option 'format': ", quoted(source.native(), 400),
            " is a GGUF file, wanted 'dense': it becomes a folder of plain weights, which can then be "
            "quantized"));
  }
  Import(source, options, progress).write(target);
}

}  // namespace gptq
