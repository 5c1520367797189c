// A model folder as one GGUF file, which llama.cpp runs.
//
// A matrix keeps its codes where a block of 32 inputs is in one group:
//
//   2, 3 and 4 bits, codes less zero point within -8 .. 7    Q4_0, exact
//   the same, others (4 bits asymmetric)                     Q4_1, its m = -zero * scale rounded to f16
//   8 bits, codes less zero point within -128 .. 127         Q8_0, exact
//
// and is rounded, with a warning, where it can't: 2, 3 and 4 bits to Q8_0, 8 bits to F16, as are rows that are no
// multiple of 32 inputs. What is not quantized is F16 where that is exact or nearly so (from F32), else BF16, as is what
// is too large for these.
#pragma once

#include <cstdint>
#include <optional>

#include "base/file.h"
#include "format/gguf.h"
#include "session/model.h"

namespace gptq {

struct GgufOptions {
  std::optional<GgufType> type{};  // of the layers' matrices, and of a quantized head; empty: as above
  Overwrite overwrite = Overwrite::no;
};

/// Writes the file `target` from the folder `source`, one matrix in memory at a time; it appears by one rename. What
/// llama.cpp can't run as it is meant is refused before anything is written, or told in the log; so are weights beyond
/// the type that is asked for (Status::invalid_argument).
void export_gguf(const fs::path& source, const fs::path& target, const GgufOptions& options,
                 const Progress& progress);

}  // namespace gptq
