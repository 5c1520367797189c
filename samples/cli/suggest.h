// What was meant by a word that is not known.
#pragma once

#include <string>
#include <vector>

namespace cli {

/// "; did you mean 'quantize'?" for "quantise"; empty when no word is near.
std::string suggestion(const std::string& word, const std::vector<std::string>& known);

}  // namespace cli
