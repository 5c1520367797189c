// What the report says of one module.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "quant/solver.h"

namespace gptq {

class JsonObject;
class JsonWriter;

/// A new member also goes into each_field() in module_report.cpp, which is all that reading and writing need.
struct ModuleReport {
  std::string name;
  int bits = 0;
  int64_t group_size = 0;  // -1: all inputs
  int64_t weights = 0;
  double bits_per_weight = 0;  // with scales and zero points
  SolveResult::Method method = SolveResult::Method::gptq;
  double loss = 0, damp = 0, seconds = 0;
  std::optional<double> relative_error;  // loss over output_energy(), where that is known
  std::array<double, 5> scales{};        // least, first tenth, median, last tenth, largest
  int64_t memory = 0;                    // most bytes that the process has held up to its end
  std::string note;
};

/// Fills in what follows from the result; name, group_size and seconds are the caller's.
ModuleReport describe(const SolveResult& result, double energy);

/// The members of its JSON object, in the report and in the manifest of an unfinished job.
void write_members(JsonWriter& json, const ModuleReport& module);
/// The same again. Fault::range or format for what no job writes, naming the key: a manifest may come from anywhere.
ModuleReport read_module_report(const JsonObject& json);

/// Rows of a matrix from which its output_energy() is estimated: some hundred, evenly spaced.
struct SampledRows {
  explicit SampledRows(int64_t rows) : rows(rows), count(std::min<int64_t>(rows, 512)) {}
  int64_t at(int64_t i) const { return i * rows / count; }
  int64_t rows, count;
};

/// Mean of |x W^T|^2 over the tokens of the Hessian, for weights of which `part` has the sampled rows,
/// [sampled.count, hessian.size()]: what a loss is to be compared with. 0 where no token came by.
double output_energy(Stream& stream, const Hessian& hessian, const std::vector<float>& part,
                     const SampledRows& sampled);

}  // namespace gptq
