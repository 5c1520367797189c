// gptq: quantize language models with GPTQ and run them.
#include <algorithm>

#include "command.h"
#include "help.h"
#include "interrupt.h"
#include "pages.h"
#include "suggest.h"

namespace cli {
namespace {

constexpr int kFailure = 1;
constexpr int kUsage = 2;
constexpr int kInterrupted = 130;
constexpr const char* kHidden = "";  // CLI11's name for the group that no help shows

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

/// For packages: the build writes them with the tool that they describe.
void print_page(const CLI::App& app, const std::string& name) {
  if (name == "man") {
    put(man_page(app));
  } else if (name == "bash") {
    put(bash_completion(app));
  } else if (name == "zsh") {
    put(zsh_completion(app));
  } else if (name == "fish") {
    put(fish_completion(app));
  } else {
    throw UsageError("--write-page is '" + name + "', wanted man, bash, zsh or fish");
  }
  flush_output();
  throw CLI::Success();
}

void fill(CLI::App& app) {
  app.require_subcommand(0, 1);
  app.set_help_flag("-h,--help", "This help");
  app.add_flag_callback("--version", print_version, "Version and build");
  const auto write_page = [&app](const std::string& name) { print_page(app, name); };
  app.add_option_function<std::string>("--write-page", write_page)->group(kHidden);
  add_quantize(app);
  add_convert(app);
  add_generate(app);
  add_chat(app);
  add_perplexity(app);
  add_bench(app);
  add_info(app);
  add_template(app);
  add_tokenize(app);
  add_detokenize(app);
  add_logits(app);
}

void print_manual() {
  put(kManual);
  flush_output();
}

std::vector<std::string> names_of_commands(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : commands_in(app)) names.push_back(command->get_name());
  return names;
}

std::vector<std::string> flags_of(const CLI::App& app) {
  std::vector<std::string> flags;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group() == kHidden) continue;
    for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
  }
  return flags;
}

std::string unknown_command(const CLI::App& app, const std::string& name) {
  return "unknown command '" + name + "'" + suggestion(name, names_of_commands(app));
}

/// What to say of the first argument that looks like an option, or else of the first, among those that nothing took.
std::string unexpected(const CLI::App& app) {
  const auto chosen = app.get_subcommands();
  const bool early = !app.remaining().empty();  // before the command
  const CLI::App& command = early || chosen.empty() ? app : *chosen.front();
  const std::vector<std::string> rest = command.remaining();
  for (const std::string& argument : rest) {
    if (argument.size() < 2 || argument[0] != '-') continue;
    const std::string flag = argument.substr(0, argument.find('='));
    const std::string guess = suggestion(flag, flags_of(command));
    const bool misplaced = early && guess.empty();
    return "unknown option '" + flag + "'" + (misplaced ? "; options of a command stand after it" : guess);
  }
  return rest.empty() ? "an argument was not expected" : "argument '" + rest.front() + "' was not expected";
}

std::string describe(const CLI::App& app, const CLI::ParseError& error) {
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) return unexpected(app);
  const std::string text = error.what();
  const bool lacks = dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr;
  return lacks ? text.substr(0, text.find(':')) + ": its value is missing" : text;
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

/// "gptq help COMMAND" is "gptq COMMAND --help".
std::vector<std::string> arguments_of(int argc, char** argv) {
  std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  if (!arguments.empty() && arguments.front() == "help") {
    arguments.erase(arguments.begin());
    arguments.resize(std::min<size_t>(arguments.size(), 1));
    arguments.push_back("--help");
  }
  return arguments;
}

int run(CLI::App& app, std::vector<std::string> arguments) {
  const std::string first = arguments.empty() ? "" : arguments.front();
  std::reverse(arguments.begin(), arguments.end());  // as CLI11 takes them
  try {
    app.parse(std::move(arguments));
    if (app.get_subcommands().empty()) print_manual();
    return 0;
  } catch (const CLI::Success& success) {
    const bool known = first.starts_with('-') || !app.get_subcommands().empty();
    return known ? finish(app, success) : usage_error(app, unknown_command(app, first));
  } catch (const CLI::ParseError& error) {
    const bool no_command = app.get_subcommands().empty() && !first.empty() && first[0] != '-';
    if (no_command) return usage_error(app, unknown_command(app, first));
    return usage_error(app, describe(app, error));
  } catch (const UsageError& error) {
    return usage_error(app, error.what());
  } catch (const Interrupted& interruption) {
    say("", interruption.what());
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
    return cli::run(app, cli::arguments_of(argc, argv));
  } catch (const std::exception& error) {
    cli::say("error", error.what());
    return cli::kFailure;
  }
}
