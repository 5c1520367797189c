// Post-processors: the special tokens around a text.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json_fwd.h"

namespace gptq {

/// What one step makes of a list of ids: fixed ids with the list between them.
struct Template {
  struct Part {
    bool text;                 // the list so far
    std::vector<int32_t> ids;  // or these
  };
  std::vector<Part> parts;
};

class PostProcessor {
 public:
  PostProcessor() = default;
  explicit PostProcessor(std::vector<Template> steps) : steps_(std::move(steps)) {}

  /// Puts special tokens around `ids`.
  void apply(std::vector<int32_t>& ids) const;

 private:
  std::vector<Template> steps_;
};

/// The value of "post_processor", null included. Ids must be below `vocab_size`.
PostProcessor read_post_processor(const Json& json, const std::string& where, int32_t vocab_size);

}  // namespace gptq
