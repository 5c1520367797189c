// Runs of one script, as the pre-tokenizer UnicodeScripts cuts them.
#pragma once

#include <string>

namespace gptq {

/// A regular expression whose matches are the runs. Hiragana, Katakana and U+30FC count as Han; spaces and code points
/// of no script go on with the run before them.
std::string script_runs_pattern();

}  // namespace gptq
