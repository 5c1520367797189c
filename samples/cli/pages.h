// The manual page and the completions of shells, from the tool's own help and options.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace cli {

/// gptq(1) in roff: kManual, then the options of every command.
std::string man_page(const CLI::App& app);

std::string bash_completion(const CLI::App& app);
std::string zsh_completion(const CLI::App& app);
std::string fish_completion(const CLI::App& app);

}  // namespace cli
