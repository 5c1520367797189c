// One command of the tool and its options. CLI11 parses them; this is all of it that the commands see.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace cli {

/// Heading of the options of every command.
inline constexpr const char* kCommonGroup = "Options of every command";

/// Names are such as "-v,--verbose"; `type` is what the help calls a value. Values are kept by reference.
class Command {
 public:
  /// `about` is one line, `examples` are lines that start with "gptq".
  Command(CLI::App& app, const std::string& name, const std::string& about,
          const std::vector<std::string>& examples);

  /// Heading of the options that follow.
  void group(const std::string& heading) { group_ = heading; }

  void argument(const std::string& name, std::string& value, const std::string& help);
  void option(const std::string& names, const char* type, std::optional<int64_t>& value,
              const std::string& help);
  void option(const std::string& names, const char* type, std::optional<double>& value,
              const std::string& help);
  void option(const std::string& names, const char* type, std::optional<std::string>& value,
              const std::string& help);
  void option(const std::string& names, const char* type, int64_t& value, const std::string& help);
  /// May be given several times, a value each.
  void option(const std::string& names, const char* type, std::vector<std::string>& values,
              const std::string& help);
  /// Bytes, given as "4GB", "500M" or a number.
  void size(const std::string& names, std::optional<int64_t>& value, const std::string& help);
  void required(const std::string& names, const char* type, std::string& value, const std::string& help);
  void flag(const std::string& names, bool& value, const std::string& help);
  void flag(const std::string& names, std::function<void()> call, const std::string& help);
  /// "--sym,!--asym": one sets it to true, the other to false; neither leaves it empty.
  void toggle(const std::string& names, std::optional<bool>& value, const std::string& help);

  /// A paragraph below the options.
  void note(const std::string& text);
  void run(std::function<void()> work);

 private:
  CLI::Option& finish(CLI::Option* option, const char* type);
  CLI::App& app_;
  std::string group_ = "Options";
};

}  // namespace cli
