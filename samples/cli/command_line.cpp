// Commands and options, told to CLI11.
#include "command_line.h"

#include <CLI/CLI.hpp>

namespace cli {
namespace {

CLI::App* add_subcommand(CLI::App& app, const std::string& name, const std::string& about,
                         const std::vector<std::string>& examples) {
  std::string text = "Examples:\n";
  for (const std::string& example : examples) text += "  " + example + "\n";
  CLI::App* command = app.add_subcommand(name, text + "\n" + about + "\n");
  command->get_help_ptr()->group(kCommonGroup);
  return command;
}

}  // namespace

Command::Command(CLI::App& app, const std::string& name, const std::string& about,
                 const std::vector<std::string>& examples)
    : app_(*add_subcommand(app, name, about, examples)) {}

CLI::Option& Command::finish(CLI::Option* option, const char* type) {
  if (type != nullptr) option->type_name(type);
  return *option->group(group_);
}

void Command::argument(const std::string& name, std::string& value, const std::string& help) {
  finish(app_.add_option(name, value, help), "").required();
}

void Command::option(const std::string& names, const char* type, std::optional<int64_t>& value,
                     const std::string& help) {
  finish(app_.add_option(names, value, help), type);
}

void Command::option(const std::string& names, const char* type, std::optional<double>& value,
                     const std::string& help) {
  finish(app_.add_option(names, value, help), type);
}

void Command::option(const std::string& names, const char* type, std::optional<std::string>& value,
                     const std::string& help) {
  finish(app_.add_option(names, value, help), type);
}

void Command::option(const std::string& names, const char* type, int64_t& value, const std::string& help) {
  finish(app_.add_option(names, value, help), type);
}

void Command::required(const std::string& names, const char* type, std::string& value,
                       const std::string& help) {
  finish(app_.add_option(names, value, help), type).required();
}

void Command::flag(const std::string& names, bool& value, const std::string& help) {
  finish(app_.add_flag(names, value, help), nullptr);
}

void Command::flag(const std::string& names, std::function<void()> call, const std::string& help) {
  finish(app_.add_flag_callback(names, std::move(call), help), nullptr);
}

void Command::toggle(const std::string& names, std::optional<bool>& value, const std::string& help) {
  finish(app_.add_flag_function(
             names, [&value](int64_t count) { value = count > 0; }, help),
         nullptr);
}

void Command::note(const std::string& text) { app_.footer(text); }

void Command::run(std::function<void()> work) { app_.callback(std::move(work)); }

}  // namespace cli
