// What a job says of itself.
#include <algorithm>
#include <charconv>

#include "base/text.h"
#include "quant/job.h"

namespace gptq {
namespace {

/// "Llama-3.2-1B" of "models/Llama-3.2-1B/".
std::string folder_name(const fs::path& folder) {
  std::string_view name = folder.native();
  while (name.size() > 1 && name.ends_with('/')) name.remove_suffix(1);
  return std::string(name.substr(name.rfind('/') + 1));
}

}  // namespace

void Job::tell_module(const ModuleReport& module) {
  constexpr int kDigits = 3;
  char loss[32];
  const char* end =
      std::to_chars(loss, loss + sizeof loss, module.loss, std::chars_format::general, kDigits).ptr;
  std::string_view name = module.name;
  if (name.starts_with(stage_prefix_)) name.remove_prefix(stage_prefix_.size());
  const size_t base = std::min(stage_.find(": "), stage_.size());
  stage_.resize(base);
  stage_ += cat(": ", name == stage_ ? "" : cat(name, ", "), "loss ",
                std::string_view(loss, static_cast<size_t>(end - loss)));
  tick();
}

int64_t Job::units() const {
  int64_t units = options_.lm_head == QuantizeHead::yes ? 1 : 0;
  for (const auto& stages : stages_) units += static_cast<int64_t>(stages.size());
  return units;
}

JobProgress Job::progress() const {
  const int64_t layers = loader_.spec().layers;
  const auto done = static_cast<double>(units_done_), total = static_cast<double>(units());
  const double end = ended_at_, now = end < 0 ? clock_.seconds() : end;
  JobProgress progress{.fraction = done / total,
                       .layer = std::min(next_layer_ + 1, layers),
                       .layers = layers,
                       .seconds = first_step_at_ < 0 ? 0 : now - first_step_at_,
                       .layers_kept = layers_kept_};
  const double solved = done - static_cast<double>(units_before_);
  if (end >= 0 && done > 0) progress.seconds_left = 0;
  if (end < 0 && solved > 0) progress.seconds_left = (now - first_layer_at_) * (total - done) / solved;
  return progress;
}

std::string Job::report() const {
  CalibrationReport calibration{.source = calibration_source_,
                                .documents = document_count_,
                                .too_short = too_short_,
                                .left_out = left_out_,
                                .sequences = static_cast<int64_t>(sequences_.size())};
  for (const auto& sequence : sequences_) calibration.tokens += static_cast<int64_t>(sequence.size());
  return report_json({.model = folder_name(loader_.folder()),
                      .options = options_,
                      .calibration = calibration,
                      .modules = modules_,
                      .warnings = plan_.warnings(),
                      .seconds = seconds_,
                      .planned = {.modules = plan_.size(),
                                  .output_bytes = output_bytes_,
                                  .memory = memory_ ? *memory_ : memory_plan()}});
}

void Job::write_report() {
  const std::string json = report();
  output_->add_file("quantize_report.json", json + "\n");
  output_->add_file("quantize_report.html", report_page(json));
}

}  // namespace gptq
