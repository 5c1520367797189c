// The flags of a generation, which "generate" and "chat" share.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "command.h"

namespace cli {

struct SamplingArguments {
  std::optional<int64_t> max_tokens, top_k, seed;
  std::optional<double> temperature, top_p, min_p, repetition_penalty;
  std::vector<std::string> stop;

  /// @param defaults  what the help calls the values of flags that are not given: those of the library, or the model's
  enum class Defaults { library, model };
  void add_to(Command& command, Defaults defaults);
  /// Sets those that were given.
  void set_in(Options& options) const;
};

}  // namespace cli
