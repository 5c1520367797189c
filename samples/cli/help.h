// The pages that --help prints.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace cli {

/// Of the tool.
extern const char* const kManual;

/// Of one command: what it is, examples, usage, then its options by group.
std::string help_page(const CLI::App& command);

}  // namespace cli
