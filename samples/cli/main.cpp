// gptq: quantize language models with GPTQ and run them.
#include "command.h"
#include "help.h"
#include "interrupt.h"

namespace cli {
namespace {

constexpr int kFailure = 1;
constexpr int kUsage = 2;
constexpr int kInterrupted = 130;

void print_log(void*, int32_t level, const char* text, int64_t size) {
  static constexpr const char* kKinds[] = {"error", "warning", "info", "debug"};
  const int32_t index = level < 1 ? 0 : level > 4 ? 3 : level - 1;
  say(kKinds[index], {text, static_cast<size_t>(size)});
}

void print_version() {
  put(std::string("gptq ") + gptq_version_string() + "\n" + gptq_build_info() + "\n");
  flush_output();
  throw CLI::Success();
}

void fill(CLI::App& app) {
  app.require_subcommand(0, 1);
  app.set_help_flag("-h,--help", "This help");
  app.add_flag_callback("--version", print_version, "Version and build");
  add_quantize(app);
  add_generate(app);
  add_perplexity(app);
  add_bench(app);
  add_info(app);
  add_tokenize(app);
  add_detokenize(app);
  add_logits(app);
}

void print_manual() {
  put(kManual);
  flush_output();
}

int usage_error(const CLI::App& app, const std::string& message) {
  say("error", message);
  const auto chosen = app.get_subcommands();
  const std::string command = chosen.empty() ? "gptq" : "gptq " + chosen.front()->get_name();
  say("", "see " + command + " --help");
  return kUsage;
}

/// After an option that ends the parsing: help, or the version, which is printed by then.
int finish(const CLI::App& app, const CLI::Success& success) {
  if (dynamic_cast<const CLI::CallForHelp*>(&success) == nullptr) return 0;
  const auto chosen = app.get_subcommands();
  if (chosen.empty()) {
    print_manual();
  } else {
    put(help_page(*chosen.front()));
    flush_output();
  }
  return 0;
}

int run(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
    if (app.get_subcommands().empty()) print_manual();
    return 0;
  } catch (const CLI::Success& success) {
    return finish(app, success);
  } catch (const CLI::ParseError& error) {
    const bool no_command = app.get_subcommands().empty() && argc > 1 && argv[1][0] != '-';
    return usage_error(app, no_command ? "unknown command '" + std::string(argv[1]) + "'" : error.what());
  } catch (const UsageError& error) {
    return usage_error(app, error.what());
  } catch (const Interrupted&) {
    say("", "interrupted");
    return kInterrupted;
  } catch (const std::exception& error) {
    say("error", error.what());
    return interrupted() ? kInterrupted : kFailure;
  }
}

}  // namespace
}  // namespace cli

int main(int argc, char** argv) {
  const cli::SignalWatcher watcher;
  gptq_set_log_callback(cli::print_log, nullptr);
  try {
    CLI::App app("", "gptq");
    cli::fill(app);
    return cli::run(app, argc, argv);
  } catch (const std::exception& error) {
    cli::say("error", error.what());
    return cli::kFailure;
  }
}
