// The dense twin of a GPTQ folder, by a reading of the packed tensors that shares nothing with the library's: bit by
// bit, in fp64, group by g_idx, zero points as the configuration says.
#pragma once

#include <string>
#include <vector>

#include "support/test_data.h"

namespace gptq::test {

/// weight [out][in] of a quantized module of the folder.
std::vector<float> dequantize_module(const fs::path& folder, const std::string& module);

/// Writes `target`, a folder of F32 weights without quantization_config, whose modules are those of `folder`,
/// dequantized. `transposed` where the family stores [in, out].
enum class Stored { out_in, in_out };
void write_dequantized(const fs::path& folder, const fs::path& target, Stored stored = Stored::out_in);

}  // namespace gptq::test
