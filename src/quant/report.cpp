#include "quant/report.h"

#include "base/json_writer.h"
#include "quant/output.h"
#include "quant/report_page.h"

namespace gptq {
namespace {

std::string_view name_of(RangeSearch range) {
  switch (range) {
    case RangeSearch::minmax: return "minmax";
    case RangeSearch::mse: return "mse";
    case RangeSearch::hessian: return "hessian";
  }
  return "";
}

std::string_view name_of(Target target) {
  switch (target) {
    case Target::sequential: return "sequential";
    case Target::gptaq: return "gptaq";
    case Target::exact: return "exact";
  }
  return "";
}

std::string_view order_name(Order order) {
  switch (order) {
    case Order::none: return "none";
    case Order::act: return "act";
    case Order::gar: return "gar";
  }
  return "";
}

void write_options(JsonWriter& report, const QuantOptions& options) {
  const SolverOptions& solver = options.solver;
  report.begin_object();
  report.member("bits", solver.bits);
  report.member("group_size", solver.group_size);
  report.member("sym", solver.symmetric == Symmetric::yes);
  report.member("order", order_name(solver.order));
  report.member("static_groups", solver.static_groups == StaticGroups::yes);
  report.member("damp_percent", solver.damp_percent);
  report.member("damp_auto_increment", solver.damp_auto_increment);
  report.member("range", name_of(solver.range));
  if (solver.range == RangeSearch::mse) report.member("mse_norm", solver.mse_norm);
  report.member("target", name_of(solver.target));
  if (solver.target != Target::sequential) report.member("target_alpha", solver.target_alpha);
  if (solver.target == Target::exact) report.member("residual_alpha", solver.residual_alpha);
  report.member("sweeps", solver.sweeps);
  report.member("refit", solver.refits);
  report.member("compat", solver.compat == Compat::gptqmodel ? "gptqmodel" : "none");
  report.member("true_sequential", options.true_sequential == TrueSequential::yes);
  report.member("format", quant_format_name(output_format(options)));
  report.member("lm_head", options.lm_head == QuantizeHead::yes);
  if (!options.overrides.empty()) {
    report.key("dynamic");
    write_module_overrides(report, options.overrides);
  }
  report.end_object();
}

void write_plan(JsonWriter& report, const PlanReport& planned) {
  report.begin_object();
  report.member("modules", planned.modules);
  report.member("output_bytes", planned.output_bytes);
  report.member("peak_memory", planned.memory.peak);
  report.member("file_bytes", planned.memory.files);
  report.key("memory");
  report.begin_array();
  for (const MemoryPart& part : planned.memory.parts) {
    report.begin_object();
    report.member("name", part.name);
    report.member("bytes", part.bytes);
    report.end_object();
  }
  report.end_array();
  report.end_object();
}

}  // namespace

std::string report_json(const JobReport& job) {
  JsonWriter report;
  report.begin_object();
  report.member("model", job.model);
  report.key("options");
  write_options(report, job.options);
  report.key("calibration");
  report.begin_object();
  report.member("source", job.calibration.source);
  report.member("documents", job.calibration.documents);
  report.member("too_short", job.calibration.too_short);
  report.member("left_out", job.calibration.left_out);
  report.member("sequences", job.calibration.sequences);
  report.member("tokens", job.calibration.tokens);
  report.end_object();
  report.key("modules");
  report.begin_array();
  for (const ModuleReport& module : job.modules) {
    report.begin_object();
    write_members(report, module);
    report.end_object();
  }
  report.end_array();
  report.key("warnings");
  report.begin_array();
  for (const std::string& warning : job.warnings) report.value(warning);
  report.end_array();
  report.member("seconds", job.seconds);
  report.key("planned");
  write_plan(report, job.planned);
  report.end_object();
  return report.take();
}

std::string report_page(std::string_view json) {
  constexpr std::string_view kPlace = "__REPORT__";
  const size_t at = kReportPage.find(kPlace);
  std::string page(kReportPage.substr(0, at));
  // inside <script> only "<" could end the data or begin a comment
  for (char c : json) c == '<' ? page += "\\u003c" : page += c;
  page += kReportPage.substr(at + kPlace.size());
  return page;
}

}  // namespace gptq
