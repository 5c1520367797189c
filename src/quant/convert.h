// From one way of storing a quantized model to another, or to plain weights, without changing what it computes.
#pragma once

#include <cstdint>
#include <optional>

#include "base/tensor.h"
#include "format/folder_writer.h"
#include "format/gguf.h"
#include "session/model.h"

namespace gptq {

/// A model folder, or one file for llama.cpp (gguf_export.h).
enum class Container : uint8_t { folder, gguf };

struct ConvertOptions {
  std::optional<QuantFormat> format{};  // empty: dense weights
  DType dtype = DType::bf16;            // of dense weights: bf16, f16 or f32
  uint64_t max_shard_bytes = kDefaultShardBytes;
  Overwrite overwrite = Overwrite::no;
  Container container = Container::folder;  // for gguf neither format nor dtype nor max_shard_bytes count
  std::optional<GgufType> gguf_type{};      // as GgufOptions::type
};

/// Writes `target` from the folder, or the GGUF file, `source`, one module in memory at a time; it appears by one
/// rename. What a format can't hold is refused before anything is written: Fault::unsupported naming the module.
void convert_model(const fs::path& source, const fs::path& target, const ConvertOptions& options,
                   const Progress& progress);

}  // namespace gptq
