#include "quant/gguf_export.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/folder.h"
#include "base/half.h"
#include "base/log.h"
#include "base/staged_file.h"
#include "base/text.h"
#include "format/gguf.h"
#include "format/gguf_blocks.h"
#include "format/gguf_writer.h"
#include "model/loader.h"
#include "quant/gguf_model.h"
#include "quant/gguf_settings.h"
#include "quant/gguf_tokenizer.h"

namespace gptq {
namespace {

constexpr size_t kPart = size_t{1} << 22;  // bytes written at once

/// A Linear, or a table of rows, on its way into the file.
struct MatrixOut {
  GgufTensor tensor;
  StoredLinear source;
  bool own_codes = false;  // goes into its blocks code by code
  int64_t head_dim = 0;    // of heads whose rows are paired, else 0
};

/// A norm, a bias, positions: small, F32.
struct VectorOut {
  GgufTensor tensor;
  std::string source;  // empty: `values`
  int64_t head_dim = 0;
  std::vector<float> values{};
};

/// What rounding did to some matrices, for one message about all of them.
struct Rounding {
  int64_t count = 0;
  double worst = 0;  // rms of the error by rms of the weights
  std::string first;
};

/// The first weight of which `test` is true.
template <class Test>
std::optional<float> find_weight(const Tensor& weight, const Test& test) {
  constexpr int64_t kMost = 1 << 16;
  std::vector<float> part(kMost);
  for (int64_t at = 0; at < weight.elements(); at += kMost) {
    const auto end = part.begin() + std::min(kMost, weight.elements() - at);
    to_float(weight, at, end - part.begin(), part.data());
    if (const auto found = std::find_if(part.begin(), end, test); found != end) return *found;
  }
  return std::nullopt;
}

template <class Test>
std::optional<float> find_weight(const QTensor& q, const Test& test) {
  std::vector<float> row(static_cast<size_t>(q.cols));
  for (int64_t n = 0; n < q.rows; ++n) {
    dequantize_row(q, n, row.data());
    if (const auto found = std::find_if(row.begin(), row.end(), test); found != row.end()) return *found;
  }
  return std::nullopt;
}

/// The first weight that is beyond the type.
template <class Weights>
std::optional<float> find_beyond(GgufType type, const Weights& weights) {
  return find_weight(weights, [=](float value) { return std::isfinite(value) && !can_hold(type, value); });
}

/// F16, but BF16 for what F16 would change: weights that are BF16, or are too large for it.
GgufType narrow_type(const Tensor& weight) {
  if (weight.dtype == DType::f16) return GgufType::f16;
  const bool exactly = weight.dtype == DType::bf16;
  const auto lost =
      exactly ? find_weight(weight, [](float value) { return fp16_to_float(float_to_fp16(value)) != value; })
              : find_beyond(GgufType::f16, weight);
  return lost ? GgufType::bf16 : GgufType::f16;
}

class Export {
 public:
  Export(const fs::path& source, const GgufOptions& options, const Progress& progress)
      : options_(options), progress_(progress), loader_(source), arch_(gguf_arch_of(*loader_.spec().family)) {
    collect();
  }

  void write(const fs::path& target) {
    StagedFile file(target, options_.overwrite);
    GgufSettings settings =
        gguf_model_settings(spec(), arch_, real_path(loader_.folder()).filename().native());
    add_gguf_tokenizer(settings, loader_.folder(), loader_.spec());
    for (MatrixOut& matrix : matrices_) {
      tick("inspect");
      choose_type(matrix);
    }
    settings.integer("general.file_type", gguf_file_type(most()));
    std::vector<GgufTensor> tensors;
    for (const VectorOut& vector : vectors_) tensors.push_back(vector.tensor);
    for (const MatrixOut& matrix : matrices_) tensors.push_back(matrix.tensor);
    GgufWriter writer(file.writer(), settings, std::move(tensors));
    for (const VectorOut& vector : vectors_) write_vector(writer, vector);
    for (const MatrixOut& matrix : matrices_) {
      tick("convert");
      write_matrix(writer, matrix);
    }
    writer.check_complete();
    loader_.checkpoint().check_unchanged();
    tell_roundings();
    file.commit();
  }

 private:
  const Spec& spec() const { return loader_.spec(); }
  const Names& names() const { return *spec().family->names; }

  void collect() {
    const std::string& base = loader_.base();
    StoredLinear table{.path = cat(base, names().embed), .full_name = {}};
    table.in_features = spec().hidden;
    table.out_features = spec().vocab;
    add_matrix("token_embd", table);
    if (!names().positions.empty())
      add_vector("position_embd.weight", cat(base, names().positions, ".weight"),
                 {spec().context, spec().hidden});
    for (int64_t i = 0; i < spec().layers; ++i) add_layer(i);
    add_norm("output_norm", cat(base, names().final_norm));
    if (!loader_.tied()) {
      if (loader_.checkpoint().find(loader_.head_name() + ".bias") != nullptr)
        throw Error(Fault::unsupported,
                    cat(loader_.head_name(), ".bias: llama.cpp's ", arch_.name, " has no place for it"));
      add_matrix("output", loader_.head());
    }
    if (std::vector<float> factors = gguf_rope_factors(spec().rope()); !factors.empty()) {
      add_vector("rope_freqs.weight", "", {static_cast<int64_t>(factors.size())});
      vectors_.back().values = std::move(factors);
    }
    total_ = static_cast<int64_t>(2 * matrices_.size());
  }

  void add_layer(int64_t layer) {
    const std::string prefix = loader_.layer_prefix(layer);
    add_norm(gguf_layer_name(layer, "attn_norm"), cat(prefix, names().norm(NormPlace::attention)));
    add_norm(gguf_layer_name(layer, "ffn_norm"), cat(prefix, names().norm(NormPlace::mlp)));
    for (const StoredLinear& linear : loader_.modules(layer)) {
      const std::string name = gguf_layer_name(layer, gguf_part(*linear.module));
      add_matrix(name, linear);
      if (has_paired_rows(arch_, *linear.module)) matrices_.back().head_dim = spec().head_dim;
      add_bias(name, linear.path, *linear.module, linear.out_features);
    }
  }

  void add_matrix(const std::string& name, const StoredLinear& linear) {
    matrices_.push_back({.tensor = {.name = name + ".weight",
                                    .type = GgufType::f16,
                                    .shape = {linear.out_features, linear.in_features}},
                         .source = linear});
  }

  void add_vector(const std::string& name, const std::string& source, std::vector<int64_t> shape) {
    vectors_.push_back(
        {.tensor = {.name = name, .type = GgufType::f32, .shape = std::move(shape)}, .source = source});
  }

  void add_norm(const std::string& name, const std::string& source) {
    add_vector(name + ".weight", source + ".weight", {spec().hidden});
    if (spec().traits.norm == NormKind::layer) add_vector(name + ".bias", source + ".bias", {spec().hidden});
  }

  void add_bias(const std::string& name, const std::string& path, const Module& module, int64_t out) {
    const bool there = loader_.checkpoint().find(path + ".bias") != nullptr;
    const bool placed =
        std::find(arch_.biased.begin(), arch_.biased.end(), module.roles[0]) != arch_.biased.end();
    const bool wanted = spec().traits.norm == NormKind::layer;  // GPT-2's all have one
    if (there && !placed) {
      const std::vector<float> bias = to_float(loader_.checkpoint().read(path + ".bias", Access::read));
      // some programs give every quantized Linear one
      if (std::all_of(bias.begin(), bias.end(), [](float value) { return value == 0; })) return;
      throw Error(Fault::unsupported, cat(path, ".bias: llama.cpp's ", arch_.name, " has no place for it"));
    }
    if (!there && !wanted) return;
    add_vector(name + ".bias", there ? path + ".bias" : "", {out});
    if (!there) vectors_.back().values.assign(static_cast<size_t>(out), 0.0f);
    if (has_paired_rows(arch_, module)) vectors_.back().head_dim = spec().head_dim;
  }

  QTensor read_quantized(const MatrixOut& matrix) const {
    return loader_.quantized_weight(matrix.source.path, matrix.tensor.shape[1], matrix.tensor.shape[0]);
  }

  void choose_type(MatrixOut& matrix) {
    const bool linear = matrix.tensor.name.starts_with("blk.");
    const bool blocks = matrix.tensor.cols() % kGgufBlock == 0;
    const bool is_given = options_.type && (linear || matrix.source.quantized);
    GgufType given = options_.type.value_or(GgufType::f16);
    if (is_given && !blocks && block_of(given).elements > 1) {
      note("rows that are no multiple of 32 inputs: written as F16", matrix.source.path, 0);
      given = GgufType::f16;
    }
    if (!matrix.source.quantized) {
      const Tensor weight = loader_.checkpoint().read(matrix.source.path + ".weight", Access::read);
      matrix.tensor.type = is_given ? given : narrow_type(weight);
      if (is_given) check_given(matrix, find_beyond(given, weight));
      return;
    }
    const QTensor q = read_quantized(matrix);
    const GgufFit fit = fit_of(q);
    const bool narrow = q.bits <= 4;
    if (is_given) {
      matrix.tensor.type = given;
    } else if (fit.fits(GgufType::q4_0) && narrow) {
      matrix.tensor.type = GgufType::q4_0;
    } else if (fit.fits(GgufType::q4_1)) {
      matrix.tensor.type = GgufType::q4_1;
    } else if (fit.fits(GgufType::q8_0) || (narrow && blocks)) {
      matrix.tensor.type = GgufType::q8_0;
    } else {
      matrix.tensor.type = GgufType::f16;
    }
    matrix.own_codes = fit.fits(matrix.tensor.type);
    if (matrix.own_codes) return;
    const std::optional<float> lost = find_beyond(matrix.tensor.type, q);
    if (is_given) check_given(matrix, lost);
    if (lost) matrix.tensor.type = GgufType::bf16;
  }

  void check_given(const MatrixOut& matrix, std::optional<float> lost) const {
    if (!lost) return;
    const std::string type = gguf_type_name(static_cast<uint32_t>(matrix.tensor.type));
    throw Error(Status::invalid_argument,
                cat(matrix.source.path, ": a weight of ", *lost, " is beyond ", type,
                    "; BF16 holds it, which option 'gguf_type' = auto takes where it must"));
  }

  GgufType most() const {
    std::map<GgufType, int64_t> elements;
    for (const MatrixOut& matrix : matrices_) {
      if (matrix.tensor.name.starts_with("blk."))
        elements[matrix.tensor.type] += matrix.tensor.shape[0] * matrix.tensor.shape[1];
    }
    return std::max_element(elements.begin(), elements.end(),
                            [](const auto& a, const auto& b) { return a.second < b.second; })
        ->first;
  }

  void write_vector(GgufWriter& writer, const VectorOut& vector) const {
    std::vector<float> values = vector.source.empty()
                                    ? vector.values
                                    : to_float(loader_.checkpoint().read(vector.source, Access::read));
    if (vector.head_dim != 0) {
      const std::vector<float> before = values;
      for (size_t i = 0; i < values.size(); ++i)
        values[i] = before[static_cast<size_t>(paired_row(static_cast<int64_t>(i), vector.head_dim))];
    }
    writer.write_rows(vector.tensor.name, 0, std::as_bytes(std::span(values)));
  }

  /// Calls fill(row of the source, packed) for the rows of the file in their order.
  template <class Rows>
  void write_rows(GgufWriter& writer, const MatrixOut& matrix, const Rows& fill) {
    const auto cols = static_cast<size_t>(matrix.tensor.cols());
    const int64_t rows = matrix.tensor.rows();
    const GgufBlock block = block_of(matrix.tensor.type);
    const size_t row_bytes = cols / static_cast<size_t>(block.elements) * block.bytes;
    const auto at_once = static_cast<int64_t>(std::max<size_t>(1, kPart / row_bytes));
    std::vector<std::byte> part;
    for (int64_t begin = 0; begin < rows; begin += at_once) {
      const int64_t count = std::min(at_once, rows - begin);
      part.resize(static_cast<size_t>(count) * row_bytes);
      for (int64_t i = 0; i < count; ++i) {
        const int64_t row = matrix.head_dim == 0 ? begin + i : paired_row(begin + i, matrix.head_dim);
        fill(row, std::span(part).subspan(static_cast<size_t>(i) * row_bytes, row_bytes));
      }
      writer.write_rows(matrix.tensor.name, begin, part);
    }
  }

  void write_matrix(GgufWriter& writer, const MatrixOut& matrix) {
    const auto cols = static_cast<size_t>(matrix.tensor.cols());
    std::vector<float> wanted(cols), found(cols);
    double error = 0, power = 0;
    const auto compare = [&](std::span<const std::byte> packed) {
      unpack_gguf_row(matrix.tensor.type, packed, found);
      for (size_t k = 0; k < cols; ++k) {
        error += std::pow(double{found[k]} - double{wanted[k]}, 2);
        power += std::pow(double{wanted[k]}, 2);
      }
    };
    if (matrix.source.quantized) {
      const QTensor q = read_quantized(matrix);
      write_rows(writer, matrix, [&](int64_t row, std::span<std::byte> packed) {
        dequantize_row(q, row, wanted.data());
        if (matrix.own_codes) {
          pack_gguf_row(matrix.tensor.type, q, row, packed, matrix.source.path);
        } else {
          pack_gguf_row(matrix.tensor.type, wanted, packed, matrix.source.path);
        }
        compare(packed);
      });
    } else {
      const Tensor dense = matrix.source.storage == Storage::in_out
                               ? loader_.dense_weight(matrix.source, Access::read)
                               : loader_.checkpoint().read(matrix.source.path + ".weight", Access::read);
      write_rows(writer, matrix, [&](int64_t row, std::span<std::byte> packed) {
        to_float(dense, row * static_cast<int64_t>(cols), static_cast<int64_t>(cols), wanted.data());
        pack_gguf_row(matrix.tensor.type, wanted, packed, matrix.source.path);
        compare(packed);
      });
    }
    if (error > 0) note(reason(matrix), matrix.source.path, std::sqrt(error / power));
  }

  std::string reason(const MatrixOut& matrix) const {
    const std::string type = gguf_type_name(static_cast<uint32_t>(matrix.tensor.type));
    if (!matrix.source.quantized) return cat("weights rounded to ", type);
    if (!matrix.own_codes && options_.type)
      return cat("their codes rounded anew to ", type, ", as asked for");
    if (!matrix.own_codes) return cat("groups or codes that no block of GGUF holds: rounded anew to ", type);
    return matrix.tensor.type == GgufType::q4_1 ? "zero points and scales rounded to the F16 of Q4_1"
                                                : cat("scales rounded to the F16 of ", type);
  }

  void note(const std::string& what, const std::string& path, double error) {
    Rounding& rounding = roundings_[what];
    if (rounding.count++ == 0) rounding.first = path;
    rounding.worst = std::max(rounding.worst, error);
  }

  void tell_roundings() const {
    for (const auto& [what, rounding] : roundings_) {
      // a thousandth is far below what quantization itself changed
      const LogLevel level = rounding.worst < 1e-3 ? LogLevel::info : LogLevel::warning;
      log(level,
          cat(rounding.count, " of ", matrices_.size(), " matrices have ", what,
              "; the relative error (rms) is at most ", rounding.worst, "; the first is ", rounding.first));
    }
  }

  void tick(const char* stage) { progress_(std::min(done_++, total_), total_, stage); }

  const GgufOptions& options_;
  const Progress& progress_;
  Loader loader_;
  const GgufArch& arch_;
  std::vector<MatrixOut> matrices_;
  std::vector<VectorOut> vectors_;
  std::map<std::string, Rounding> roundings_;
  int64_t done_ = 0, total_ = 0;
};

/// A file of the model itself is no target.
void refuse_own_file(const fs::path& source, const fs::path& target) {
  const fs::path parent = target.has_parent_path() ? target.parent_path() : fs::path(".");
  if (path_kind(target) != PathKind::file || real_path(parent) != real_path(source) || is_gguf(target))
    return;
  throw Error(Status::invalid_argument,
              cat(quoted(target.native(), 400), ": is a file of the model that is converted"));
}

}  // namespace

void export_gguf(const fs::path& source, const fs::path& target, const GgufOptions& options,
                 const Progress& progress) {
  refuse_own_file(source, target);
  Export(source, options, progress).write(target);
}

}  // namespace gptq
