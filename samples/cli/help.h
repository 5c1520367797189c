// The pages that --help prints.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace cli {

/// Of the tool.
extern const char* const kManual;

/// Of one command: what it is, examples, usage, then its options by group.
std::string help_page(const CLI::App& command);

std::vector<const CLI::App*> commands_in(const CLI::App& app);

/// "--sym, --asym", "-v, --verbose", "--bits N"
std::string spelling(const CLI::Option& option);

/// What a command is, in one line.
std::string about_line(const CLI::App& command);

}  // namespace cli
