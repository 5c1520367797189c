// A GGUF file as a model folder of plain weights.
//
// What the file does not hold can't be restored: which of Llama and Mistral a "llama" was, and a sliding window; how
// unknown ways of cutting words work (the tokenizer is left out then); the original files of the tokenizer.
#pragma once

#include "base/file.h"
#include "quant/convert.h"

namespace gptq {

/// Writes the folder `target` from the file `source`, one tensor in memory at a time; it appears by one rename. Values
/// are rounded to options.dtype. Fault::unsupported for tensor types and architectures that are not known here,
/// Fault::mismatch where tensors and settings contradict each other.
void import_gguf(const fs::path& source, const fs::path& target, const ConvertOptions& options,
                 const Progress& progress);

}  // namespace gptq
