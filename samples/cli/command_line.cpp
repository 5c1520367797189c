// Commands and options, told to CLI11.
#include "command_line.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>
#include <limits>
#include <string_view>

#include "handles.h"

namespace cli {
namespace {

/// The number that `text` is, all of it; CLI11's own conversion clips what is too large.
template <typename Number>
Number parse_number(const std::string& names, const char* wanted, const std::string& text) {
  const char* const end = text.data() + text.size();
  Number value{};
  const auto [next, error] = std::from_chars(text.data(), end, value);
  if (error == std::errc() && next == end && !text.empty()) return value;
  const bool large = error == std::errc::result_out_of_range && next == end;
  throw UsageError(names + " is '" + text + "', wanted " + (large ? "a number of 64 bits" : wanted));
}

int64_t parse_integer(const std::string& names, const std::string& text) {
  return parse_number<int64_t>(names, "a whole number", text);
}

double parse_real(const std::string& names, const std::string& text) {
  return parse_number<double>(names, "a number such as 0.7", text);
}

/// "4GB", "1.2G", "500M", "1048576": K, M and G are powers of 1024.
int64_t parse_size(const std::string& names, const std::string& text) {
  constexpr const char* kWanted = "a size such as 4GB";
  constexpr std::string_view kUnits = "KMG";
  std::string digits = text;
  if (digits.ends_with('B') || digits.ends_with('b')) digits.pop_back();
  const char letter = digits.empty() ? '\0' : static_cast<char>(digits.back() & ~0x20);  // upper case
  const size_t unit = kUnits.find(letter);
  if (unit != std::string_view::npos) digits.pop_back();
  if (unit != std::string_view::npos && digits.find('.') != std::string::npos) {
    const double bytes = parse_number<double>(names, kWanted, digits) * std::exp2(10 * (unit + 1));
    if (bytes >= 0 && bytes < 9e18) return static_cast<int64_t>(bytes);
  }
  const auto count = parse_number<int64_t>(names, kWanted, digits);
  const int64_t scale = unit == std::string_view::npos ? 1 : int64_t{1024} << (10 * unit);
  if (count < 0 || count > std::numeric_limits<int64_t>::max() / scale) {
    throw UsageError(names + " is '" + text + "', wanted " + kWanted);
  }
  return count * scale;
}

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
  // so that a script can put its own options behind its defaults
  if (option->nonpositional()) option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  return *option->group(group_);
}

void Command::argument(const std::string& name, std::string& value, const std::string& help) {
  finish(app_.add_option(name, value, help), "").required();
}

void Command::option(const std::string& names, const char* type, std::optional<int64_t>& value,
                     const std::string& help) {
  const auto take = [&value, names](const std::string& text) { value = parse_integer(names, text); };
  finish(app_.add_option_function<std::string>(names, take, help), type);
}

void Command::size(const std::string& names, std::optional<int64_t>& value, const std::string& help) {
  const auto take = [&value, names](const std::string& text) { value = parse_size(names, text); };
  finish(app_.add_option_function<std::string>(names, take, help), "SIZE");
}

void Command::option(const std::string& names, const char* type, std::optional<double>& value,
                     const std::string& help) {
  const auto take = [&value, names](const std::string& text) { value = parse_real(names, text); };
  finish(app_.add_option_function<std::string>(names, take, help), type);
}

void Command::option(const std::string& names, const char* type, std::optional<std::string>& value,
                     const std::string& help) {
  finish(app_.add_option(names, value, help), type);
}

void Command::option(const std::string& names, const char* type, int64_t& value, const std::string& help) {
  const auto take = [&value, names](const std::string& text) { value = parse_integer(names, text); };
  finish(app_.add_option_function<std::string>(names, take, help), type);
}

void Command::option(const std::string& names, const char* type, std::vector<std::string>& values,
                     const std::string& help) {
  finish(app_.add_option(names, values, help), type)
      .type_size(1)
      ->expected(1)
      ->allow_extra_args(false)
      ->take_all();
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
