// Completions for bash, zsh and fish: commands, options, and files or folders where an option takes one.
#include <set>
#include <vector>

#include "command_line.h"
#include "help.h"
#include "pages.h"

namespace cli {
namespace {

enum class Value { none, file, folder, other };

/// By what the help calls the value.
Value value_of(const CLI::Option& option) {
  if (option.get_items_expected_max() == 0) return Value::none;
  const std::string type = option.get_positional() ? option.get_name(true) : option.get_type_name();
  if (type == "FILE") return Value::file;
  return type == "MODEL" || type == "OUT" ? Value::folder : Value::other;
}

/// "-v", "--verbose"
std::vector<std::string> flags_of(const CLI::Option& option) {
  std::vector<std::string> flags;
  for (const std::string& name : option.get_snames()) flags.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) flags.push_back("--" + name);
  return flags;
}

/// All flags whose value is one of `values`, separated by spaces.
std::string flags_with(const CLI::App& command, const std::set<Value>& values) {
  std::string list;
  for (const CLI::Option* option : command.get_options()) {
    if (option->get_positional() || !values.contains(value_of(*option))) continue;
    for (const std::string& flag : flags_of(*option)) list += (list.empty() ? "" : " ") + flag;
  }
  return list;
}

std::string names_of(const CLI::App& app) {
  std::string list;
  for (const CLI::App* command : commands_in(app)) list += command->get_name() + " ";
  return list + "help";
}

/// `text` with a backslash before each character of `special`.
std::string escaped(const std::string& text, const std::string& special) {
  std::string result;
  for (const char c : text) {
    if (special.find(c) != std::string::npos) result += '\\';
    result += c;
  }
  return result;
}

/// In single quotes, as bash and zsh read them.
std::string quoted(const std::string& text) {
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + "'";
}

/// In single quotes, as fish reads them.
std::string fish_quoted(const std::string& text) { return "'" + escaped(text, "'\\") + "'"; }

std::string zsh_action(const CLI::Option& option, const std::string& name) {
  switch (value_of(option)) {
    case Value::none: return "";
    case Value::file: return ":" + name + ":_files";
    case Value::folder: return ":" + name + ":_files -/";
    case Value::other: return ":" + name + ": ";
  }
  return "";
}

std::string zsh_arguments(const CLI::App& command) {
  std::string text;
  int position = 0;
  for (const CLI::Option* option : command.get_options()) {
    if (option->get_positional()) {
      text +=
          " \\\n        " + quoted(std::to_string(++position) + zsh_action(*option, option->get_name(true)));
      continue;
    }
    const std::string about = "[" + escaped(option->get_description(), "[]:\\") + "]";
    for (const std::string& flag : flags_of(*option)) {
      text += " \\\n        " + quoted("*" + flag + about + zsh_action(*option, option->get_type_name()));
    }
  }
  return text;
}

}  // namespace

std::string bash_completion(const CLI::App& app) {
  std::string text = R"(# Completion of gptq for bash, written by gptq itself.
_gptq() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} all= files= folders= others=
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    mapfile -t COMPREPLY < <(compgen -W ")" +
                     names_of(app) + R"( --help --version" -- "$word")
    return
  fi
  case ${COMP_WORDS[1]} in
)";
  for (const CLI::App* command : commands_in(app)) {
    text += "    " + command->get_name() + ")\n";
    text +=
        "      all=" + quoted(flags_with(*command, {Value::none, Value::file, Value::folder, Value::other})) +
        "\n";
    text += "      files=" + quoted(flags_with(*command, {Value::file})) + "\n";
    text += "      folders=" + quoted(flags_with(*command, {Value::folder})) + "\n";
    text += "      others=" + quoted(flags_with(*command, {Value::other})) + " ;;\n";
  }
  return text + "    help)\n      mapfile -t COMPREPLY < <(compgen -W \"" + names_of(app) + R"(" -- "$word")
      return ;;
  esac
  case " $others " in *" $before "*) return ;; esac
  case $word in
    -*) mapfile -t COMPREPLY < <(compgen -W "$all" -- "$word"); return ;;
  esac
  compopt -o filenames 2>/dev/null
  case " $files " in
    *" $before "*) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    *) mapfile -t COMPREPLY < <(compgen -d -- "$word") ;;
  esac
}
complete -F _gptq gptq
)";
}

std::string zsh_completion(const CLI::App& app) {
  std::string commands, cases;
  for (const CLI::App* command : commands_in(app)) {
    commands += "\n      " + quoted(command->get_name() + ":" + about_line(*command));
    cases += "    " + command->get_name() + ")\n      _arguments -s" + zsh_arguments(*command) + " ;;\n";
  }
  return R"(#compdef gptq
# Completion of gptq for zsh, written by gptq itself.
_gptq() {
  local -a commands
  if (( CURRENT == 2 )) || [[ $words[2] == help && CURRENT -eq 3 ]]; then
    commands=()" +
         commands + R"(
    )
    _describe command commands
    return
  fi
  shift words
  (( CURRENT-- ))
  case $words[1] in
)" + cases +
         R"(  esac
}
_gptq "$@"
)";
}

std::string fish_completion(const CLI::App& app) {
  std::string text = "# Completion of gptq for fish, written by gptq itself.\ncomplete -c gptq -f\n";
  for (const CLI::App* command : commands_in(app)) {
    text += "complete -c gptq -n __fish_use_subcommand -a " + command->get_name() + " -d " +
            fish_quoted(about_line(*command)) + "\n";
  }
  text += "complete -c gptq -n __fish_use_subcommand -l version -d 'Version and build'\n";
  for (const CLI::App* command : commands_in(app)) {
    const std::string start = "complete -c gptq -n '__fish_seen_subcommand_from " + command->get_name() + "'";
    text += start + " -a '(__fish_complete_directories)'\n";
    for (const CLI::Option* option : command->get_options()) {
      if (option->get_positional()) continue;
      text += start;
      for (const std::string& name : option->get_snames()) text += " -s " + name;
      for (const std::string& name : option->get_lnames()) text += " -l " + name;
      const Value value = value_of(*option);
      if (value == Value::file) text += " -rF";
      if (value == Value::folder) text += " -x -a '(__fish_complete_directories)'";
      if (value == Value::other) text += " -x";
      text += " -d " + fish_quoted(option->get_description()) + "\n";
    }
  }
  return text;
}

}  // namespace cli
