#include "quant/report.h"

#include "base/json_writer.h"
#include "quant/output.h"

namespace gptq {
namespace {

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
  report.member("true_sequential", options.true_sequential == TrueSequential::yes);
  report.member("format", gptq_format_name(output_format(options)));
  report.end_object();
}

void write_module(JsonWriter& report, const QuantOptions& options, const ModuleReport& module) {
  report.begin_object();
  report.member("name", module.name);
  report.member("bits", options.solver.bits);
  report.member("loss", module.loss);
  report.member("damp", module.damp);
  report.member("method", module.method == SolveResult::Method::gptq ? "gptq" : "rounded");
  report.member("seconds", module.seconds);
  report.member("note", module.note);
  report.end_object();
}

}  // namespace

std::string report_json(const QuantOptions& options, const CalibrationReport& calibration,
                        std::span<const ModuleReport> modules, double seconds) {
  JsonWriter report;
  report.begin_object();
  report.key("options");
  write_options(report, options);
  report.key("calibration");
  report.begin_object();
  report.member("source", calibration.source);
  report.member("sequences", calibration.sequences);
  report.member("tokens", calibration.tokens);
  report.end_object();
  report.key("modules");
  report.begin_array();
  for (const ModuleReport& module : modules) write_module(report, options, module);
  report.end_array();
  report.member("seconds", seconds);
  report.end_object();
  return report.take();
}

}  // namespace gptq
