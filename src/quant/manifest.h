// What a job writes down so that another process can go on with it, as JSON: what it works on, and which layers are done.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "quant/layer_file.h"
#include "quant/report.h"

namespace gptq {

/// CalibrationRecord::source where the model wrote it itself.
inline constexpr std::string_view kWrittenByModel = "written by the model";

struct ModelFile {
  std::string name;
  std::string
      identity;  // of config.json its hash; of weights the size and the hash of names, types and shapes
};

struct CalibrationRecord {
  std::string source, hash;
  int64_t sequences = 0, tokens = 0;
};

struct FinishedModule {
  MatrixShape shape;
  ModuleReport report;
};

struct FinishedLayer {
  uint64_t bytes = 0;   // of its file
  std::string hash;     // of its file
  std::string weights;  // hash of the model's tensors that it was made from
  std::vector<FinishedModule> modules{};
};

struct Manifest {
  std::string library = GPTQ_VERSION_TEXT;
  std::vector<ModelFile> model{};
  std::string outer_weights;  // hash of the tensors outside the layers
  NamedOptions options{};
  CalibrationRecord calibration{};
  double seconds = 0;  // until the last layer was done, of all runs
  std::vector<FinishedLayer> layers{};
};

std::string write_manifest(const Manifest& manifest);
/// `name` is the file's, for messages. Fault::unsupported for one of another version of the format.
Manifest read_manifest(std::string_view text, std::string_view name);

/// Fault::exists naming the first thing in which the job that left `found` in `folder` differs from this one: the
/// library, the model, or an option. The calibration is not compared.
void check_same_job(const Manifest& found, const Manifest& wanted, const fs::path& folder);
/// Likewise for anything else that a job is known by.
[[noreturn]] void refuse_other_job(const fs::path& folder, std::string_view subject, std::string_view found,
                                   std::string_view wanted);

}  // namespace gptq
