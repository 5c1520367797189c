// How llama.cpp calls what this library calls otherwise: architectures, tensors, and the order of rows.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "model/spec.h"

namespace gptq {

/// How the rows of a query or key head lie: the halves that rotate against each other one after the other, as in
/// Hugging Face's files, or element by element beside each other.
enum class HeadRows : uint8_t { halves, pairs };

struct GgufArch {
  std::string_view family;       // of this library
  std::string_view model_class;  // "LlamaForCausalLM"
  std::string_view name;         // of llama.cpp; the first row of a name is what a file is read as
  HeadRows head_rows = HeadRows::halves;
  std::span<const Role> biased;  // roles whose Linears may have a bias
};

/// Fault::unsupported for a family or a name that has none.
const GgufArch& gguf_arch_of(const Family& family);
const GgufArch& gguf_arch_named(std::string_view name, std::string_view file);

/// "blk.3.attn_q" of a layer's module, or of a norm ("attn_norm", "ffn_norm").
std::string gguf_layer_name(int64_t layer, std::string_view part);
/// "attn_q", "attn_qkv", "ffn_up", ... without layer.
std::string_view gguf_part(const Module& module);

/// Row of Hugging Face's tensor that becomes row `row` of llama.cpp's, heads of `head_dim` rows in pairs.
constexpr int64_t paired_row(int64_t row, int64_t head_dim) {
  const int64_t in_head = row % head_dim;
  return row - in_head + in_head % 2 * (head_dim / 2) + in_head / 2;
}
/// Whether the rows of this module are put in that order.
bool has_paired_rows(const GgufArch& arch, const Module& module);

}  // namespace gptq
