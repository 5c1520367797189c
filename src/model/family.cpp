#include "model/family.h"

#include <vector>

#include "base/error.h"
#include "base/text.h"

namespace gptq {

const Family& find_family(std::string_view model_type, std::string_view file) {
  std::vector<std::string_view> known;
  for (std::span<const Family> kind :
       {llama_families(), gpt_families(), expert_families(), mixer_families()}) {
    for (const Family& family : kind) {
      if (family.model_type == model_type) return family;
      known.push_back(family.model_type);
    }
  }
  std::string message = cat(file, ": model_type ", quoted(model_type), " is not known",
                            nearest_hint(model_type, known), "; known are");
  for (std::string_view type : known) message += cat(type == known.front() ? " " : ", ", type);
  throw Error(Fault::unsupported, message);
}

}  // namespace gptq
