// gptq quantize: a 16-bit folder in, a GPTQ folder out.
#include <memory>

#include "command.h"
#include "interrupt.h"
#include "option_flags.h"

namespace cli {
namespace {

struct Arguments {
  Common common;
  std::string out;
  std::optional<int64_t> bits, group_size, samples, seq_len, seed, sweeps, refit, max_shard_size,
      memory_limit;
  std::optional<bool> sym, static_groups, true_sequential, packing, report;
  std::optional<std::string> order, format, calibration, calibration_format, dynamic, range, target, compat;
  std::optional<double> damp, mse_norm, target_alpha, residual_alpha;
  bool overwrite = false, restart = false, no_resume = false, lm_head = false, dry_run = false;
};

Options quantizer_options(const Arguments& arguments) {
  if (arguments.format == "dense" || arguments.format == "gguf") {
    throw UsageError("--format is '" + *arguments.format +
                     "', which is to convert to; wanted gptq, gptq_v2 or compressed_tensors");
  }
  Options options = arguments.common.to_options();
  const auto set_switch = [&](const char* key, const std::optional<bool>& value) {
    if (value) options.set(key, int64_t{*value ? 1 : 0});
  };
  set_if_given(options, GPTQ_KEY_BITS, arguments.bits);
  set_if_given(options, GPTQ_KEY_GROUP_SIZE, arguments.group_size);
  set_if_given(options, GPTQ_KEY_ORDER, arguments.order);
  set_if_given(options, GPTQ_KEY_DAMP_PERCENT, arguments.damp);
  set_if_given(options, GPTQ_KEY_RANGE, arguments.range);
  set_if_given(options, GPTQ_KEY_MSE_NORM, arguments.mse_norm);
  set_if_given(options, GPTQ_KEY_TARGET, arguments.target);
  set_if_given(options, GPTQ_KEY_TARGET_ALPHA, arguments.target_alpha);
  set_if_given(options, GPTQ_KEY_RESIDUAL_ALPHA, arguments.residual_alpha);
  set_if_given(options, GPTQ_KEY_SWEEPS, arguments.sweeps);
  set_if_given(options, GPTQ_KEY_REFIT, arguments.refit);
  set_if_given(options, GPTQ_KEY_COMPAT, arguments.compat);
  set_if_given(options, GPTQ_KEY_CALIBRATION_SAMPLES, arguments.samples);
  set_if_given(options, GPTQ_KEY_CALIBRATION_LENGTH, arguments.seq_len);
  set_if_given(options, GPTQ_KEY_SEED, arguments.seed);
  set_if_given(options, GPTQ_KEY_FORMAT, arguments.format);
  set_if_given(options, GPTQ_KEY_MAX_SHARD_SIZE, arguments.max_shard_size);
  set_if_given(options, GPTQ_KEY_MEMORY_LIMIT, arguments.memory_limit);
  set_switch(GPTQ_KEY_SYM, arguments.sym);
  set_switch(GPTQ_KEY_STATIC_GROUPS, arguments.static_groups);
  set_switch(GPTQ_KEY_TRUE_SEQUENTIAL, arguments.true_sequential);
  set_switch(GPTQ_KEY_CALIBRATION_PACKING, arguments.packing);
  set_switch(GPTQ_KEY_REPORT, arguments.report);
  if (arguments.calibration) {
    for (const char* kind : {"jsonl", "json"}) {
      if (arguments.calibration->ends_with(std::string(".") + kind))
        options.set(GPTQ_KEY_CALIBRATION_FORMAT, std::string(kind));
    }
  }
  set_if_given(options, GPTQ_KEY_CALIBRATION_FORMAT, arguments.calibration_format);
  if (arguments.dynamic) {
    const std::string& given = *arguments.dynamic;
    const bool is_json = given.find_first_not_of(" \t\r\n") != std::string::npos &&
                         given[given.find_first_not_of(" \t\r\n")] == '{';
    options.set_from(GPTQ_KEY_DYNAMIC, is_json ? given : read_file(given));
  }
  if (arguments.lm_head) options.set(GPTQ_KEY_LM_HEAD, int64_t{1});
  if (arguments.overwrite) options.set(GPTQ_KEY_OVERWRITE, int64_t{1});
  if (arguments.restart) options.set(GPTQ_KEY_RESUME, std::string("restart"));
  if (arguments.no_resume) options.set(GPTQ_KEY_RESUME, std::string("never"));
  return options;
}

/// A module that did not go the usual way says so in its note.
int64_t warn_of_notes(const Json& modules) {
  int64_t noted = 0;
  for (const Json& module : modules) {
    const std::string note = module.value("note", "");
    if (note.empty()) continue;
    ++noted;
    if (verbosity() >= Verbosity::normal) say("warning", module.value("name", "") + ": " + note);
  }
  return noted;
}

Json report_of(const Quantizer& quantizer) {
  const auto buffer =
      make<Buffer>(gptq_quantizer_report_json, static_cast<const gptq_quantizer*>(quantizer.get()));
  return Json::parse(text_of(buffer));
}

/// What would be done, from the report of a job that has not begun.
void describe_plan(const Arguments& arguments, const Quantizer& quantizer) {
  const Json planned = report_of(quantizer).at("planned");
  if (arguments.common.json) {
    put_json({{"output", arguments.out}, {"planned", planned}});
    return;
  }
  put("modules  " + planned.at("modules").dump() + "\n");
  put("output   " + in_megabytes(planned.at("output_bytes")) + "\n");
  put("files    " + in_megabytes(planned.at("file_bytes")) + " of hidden states meanwhile\n");
  put("memory   " + in_megabytes(planned.at("peak_memory")) + " at most, about:\n");
  for (const Json& part : planned.at("memory")) {
    put("  " + in_megabytes(part.at("bytes")) + "  " + part.at("name").get<std::string>() + "\n");
  }
  flush_output();
}

void refuse_too_much(const Arguments& arguments, const Quantizer& quantizer) {
  const int64_t limit = arguments.memory_limit.value_or(0);
  const int64_t peak = report_of(quantizer).at("planned").at("peak_memory");
  if (limit != 0 && peak > limit) {
    throw Failure("--memory-limit is " + std::to_string(limit) + " bytes, the job needs " +
                  std::to_string(peak));
  }
}

void report(const Arguments& arguments, const Quantizer& quantizer) {
  const Json report = report_of(quantizer);
  const int64_t before = folder_bytes(arguments.common.model);
  const int64_t after = folder_bytes(arguments.out);
  const Json modules = report.value("modules", Json::array());
  const int64_t noted = warn_of_notes(modules);
  for (const Json& warning : report.value("warnings", Json::array())) {
    if (verbosity() >= Verbosity::normal) say("warning", warning.get<std::string>());
  }
  const double seconds = report.value("seconds", 0.0);
  if (arguments.common.json) {
    put_json({{"output", arguments.out},
              {"seconds", seconds},
              {"modules", modules.size()},
              {"modules_with_notes", noted},
              {"bytes_before", before},
              {"bytes_after", after},
              {"report", report}});
    return;
  }
  char line[128];
  std::snprintf(line, sizeof line, "%zu modules in %.1f s", modules.size(), seconds);
  put(arguments.out + ": " + line + ", " + in_megabytes(before) + " -> " + in_megabytes(after) + "\n");
  flush_output();
}

double figure(const Quantizer& quantizer, const char* key) {
  double value = 0;
  check(gptq_quantizer_get_stat(quantizer.get(), key, &value));
  return value;
}

/// "layer 3 of 32", the last that is finished and on disk; empty if none is.
std::string kept_layers(const Quantizer& quantizer) {
  const auto kept = static_cast<int64_t>(figure(quantizer, "layers_kept"));
  const auto all = static_cast<int64_t>(figure(quantizer, "n_layer"));
  return kept == 0 ? "" : "layer " + std::to_string(kept) + " of " + std::to_string(all);
}

void run(const Arguments& arguments) {
  Options options = quantizer_options(arguments);
  check(gptq_options_set_progress(options.get(), Progress::callback, nullptr));
  // The text first: a file that can't be read is noticed before any work.
  std::string calibration;
  if (arguments.calibration) {
    calibration = read_file(*arguments.calibration);
    if (calibration.empty()) throw Failure(*arguments.calibration + ": it is empty, wanted calibration text");
  }
  const auto quantizer =
      make<Quantizer>(gptq_quantizer_create, arguments.common.model.c_str(), arguments.out.c_str(),
                      static_cast<const gptq_options*>(options.get()));
  const CancelOnSignal guard(quantizer.get());
  throw_if_interrupted();
  if (const std::string kept = kept_layers(quantizer); !kept.empty() && verbosity() == Verbosity::normal)
    say("", "goes on after " + kept);
  if (arguments.calibration) {
    check(gptq_quantizer_add_calibration_text(quantizer.get(), calibration.data(),
                                              static_cast<int64_t>(calibration.size())));
  }
  if (arguments.dry_run) {
    refuse_too_much(arguments, quantizer);
    return describe_plan(arguments, quantizer);
  }
  {
    Progress progress(Progress::Show::always);
    // layers of an earlier run go by at another rate than those to come
    progress.estimate_by([&]() -> std::optional<double> {
      if (figure(quantizer, "layer") == 0) return std::nullopt;
      return figure(quantizer, "seconds_left");
    });
    const gptq_status status = gptq_quantizer_run(quantizer.get());
    const std::string kept = status < 0 ? kept_layers(quantizer) : "";
    const std::string goes_on = kept.empty() ? "" : "; the same command goes on after " + kept;
    if (status == GPTQ_ERROR_CANCELLED) throw Interrupted(goes_on);
    if (status < 0) throw Failure(in_flags(gptq_last_error_message()) + goes_on);
  }
  report(arguments, quantizer);
}

void add_method_options(Command& command, Arguments& arguments) {
  command.group("What is written");
  command.option("--bits", "N", arguments.bits, "2, 3, 4 (default) or 8");
  command.option("--group-size", "N", arguments.group_size,
                 "Inputs that share a scale, or -1 for one group; default 128; vLLM has fast kernels for -1, "
                 "32, 64 and 128");
  command.toggle("--sym,!--asym", arguments.sym,
                 "Zero points fixed in the middle (--sym, default) or free (--asym)");
  command.option("--format", "NAME", arguments.format,
                 "gptq, gptq_v2 or compressed_tensors; default gptq for --sym, gptq_v2 for --asym");
  command.size("--max-shard-size", arguments.max_shard_size,
               "Bytes of tensors in one file, such as 500MB; default 4GB");
  command.toggle("--report,!--no-report", arguments.report,
                 "quantize_report.json and quantize_report.html: the error of each module (default), or not");
  command.size("--memory-limit", arguments.memory_limit,
               "Most memory to take, such as 1.2G: hidden states go to files beside OUT where they must; "
               "without it memory is not limited");
  command.flag("--dry-run", arguments.dry_run,
               "Only say what would be done: modules, size of the output, memory at most");
  command.flag("--overwrite", arguments.overwrite, "Replace OUT if it exists");
  command.flag("--restart", arguments.restart,
               "Start anew, not where an unfinished run of the same command stopped");
  command.flag("--no-resume", arguments.no_resume,
               "The same, and leave nothing for a later run to go on with");
  command.flag("--lm-head", arguments.lm_head,
               "Quantize the output head, too: 8 bits, groups of 32, unless --dynamic says otherwise");
  command.option("--dynamic", "FILE|JSON", arguments.dynamic,
                 "Settings of single modules by regular expressions on their names, as in GPTQModel: "
                 "{\".*down_proj\": {\"bits\": 8}, \"-:.*layers.0.\": {}}; -: leaves them as they are");
  command.group("How");
  command.option(
      "--order", "NAME", arguments.order,
      "Order of the inputs: none, act (by falling activation) or gar (default: as act, inside groups "
      "and among them, at no cost when running)");
  command.toggle("--static-groups", arguments.static_groups, "Ranges from the weights as they were");
  command.option("--damp", "X", arguments.damp,
                 "Part of the Hessian's mean diagonal added to it; default 0.05");
  command.toggle("--true-sequential,!--no-true-sequential", arguments.true_sequential,
                 "Modules of a layer see the quantized ones before them, or not; default: they do");
}

void add_accuracy_options(Command& command, Arguments& arguments) {
  command.group("Accuracy");
  command.option(
      "--range", "NAME", arguments.range,
      "Scale of a group: hessian (default: of least loss), mse (of least error) or minmax (covers all)");
  command.option("--mse-norm", "P", arguments.mse_norm, "Power of the error for --range mse; default 2.4");
  command.option(
      "--target", "NAME", arguments.target,
      "What weights are to reproduce: exact (default: the unquantized model's outputs), gptaq (likewise, "
      "by an approximation) or sequential (plain GPTQ, in two thirds of the time)");
  command.option("--target-alpha", "X", arguments.target_alpha, "Part of the way to there; default 0.75");
  command.option("--residual-alpha", "X", arguments.residual_alpha,
                 "Part of earlier layers' error that --target exact makes up for; default 0.5");
  command.option("--sweeps", "N", arguments.sweeps, "Rounds of coordinate descent afterwards; default 4");
  command.option("--refit", "N", arguments.refit,
                 "Of the last sweeps that fit the scales, too; default 2, at most --sweeps");
  command.option("--compat", "NAME", arguments.compat,
                 "gptqmodel: that package's faults and its defaults of the options above, for comparison");
}

void add_calibration_options(Command& command, Arguments& arguments) {
  command.group("Calibration");
  command.option(
      "--calibration", "FILE", arguments.calibration,
      "Text to calibrate on, UTF-8, '-' for standard input; .jsonl and .json hold a text or an array of "
      "tokens a line or item, {\"text\": ...} or {\"input_ids\": [...]}; without it the model writes "
      "its own");
  command.option("--calibration-format", "NAME", arguments.calibration_format,
                 "text, jsonl or json; default by the file's ending, else text");
  command.option("--samples", "N", arguments.samples,
                 "Most sequences, cut from text or given as tokens; default 128");
  command.option("--seq-len", "N", arguments.seq_len,
                 "Tokens of each; default 2048 or the model's context, whichever is less");
  command.toggle("--packing,!--no-packing", arguments.packing,
                 "Texts follow one another and are cut as one (default), or each on its own");
  command.option(
      "--seed", "N", arguments.seed,
      "Take sequences at random by this seed, instead of the first ones; seeds the model's own text too");
}

}  // namespace

void add_quantize(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  Command command(app, "quantize", "Quantize a 16-bit or 32-bit model folder with GPTQ.",
                  {"gptq quantize Llama-3.2-1B Llama-3.2-1B-gptq",
                   "gptq quantize Llama-3.2-1B out --bits 3 --group-size 64 --calibration wiki.txt",
                   "gptq quantize Llama-3.2-1B out --asym --order act --samples 256 --seq-len 1024"});
  arguments->common.add_to(command, "Model folder: config.json, tokenizer files, safetensors",
                           Common::Computes::yes);
  command.argument("OUT", arguments->out, "Folder to make");
  add_method_options(command, *arguments);
  add_accuracy_options(command, *arguments);
  add_calibration_options(command, *arguments);
  command.run([arguments] { run(*arguments); });
}

}  // namespace cli
