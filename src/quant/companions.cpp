#include "quant/companions.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "base/error.h"
#include "base/folder.h"
#include "base/text.h"

namespace gptq {
namespace {

constexpr std::array<std::string_view, 12> kStarts{"tokenizer.json",
                                                   "tokenizer.model",
                                                   "tokenizer_config.json",
                                                   "special_tokens_map.json",
                                                   "added_tokens.json",
                                                   "vocab.json",
                                                   "merges.txt",
                                                   "generation_config.json",
                                                   "chat_template.",
                                                   "LICENSE",
                                                   "NOTICE",
                                                   "preprocessor_config.json"};

}  // namespace

void copy_companions(const fs::path& from, StagedFolder& to) {
  for (const std::string& name : list_folder(from)) {
    const bool wanted = std::any_of(kStarts.begin(), kStarts.end(),
                                    [&](std::string_view start) { return name.starts_with(start); });
    const fs::path path = join(from, name);
    if (wanted && file_exists(path)) to.copy_file(path, name);
  }
}

void refuse_in_place(const fs::path& source, const fs::path& target) {
  std::error_code ignored;
  if (fs::equivalent(source, target, ignored)) {
    throw Error(Status::invalid_argument,
                cat("the output ", quoted(target.string(), 400), " is the model itself"));
  }
  // one that takes the place of a folder deletes all that is in that
  const fs::path inner = real_path(source), outer = real_path(target);
  if (!outer.empty() && join(inner, "").native().starts_with(join(outer, "").native())) {
    throw Error(Status::invalid_argument,
                cat("the output ", quoted(target.string(), 400), " holds the model"));
  }
}

void refuse_storage(const Spec& spec, QuantFormat format) {
  if (format != QuantFormat::compressed_tensors || spec.traits.storage != Storage::in_out) return;
  throw Error(Fault::unsupported,
              cat("compressed-tensors has no place for the transposed weights of ", spec.family->name));
}

}  // namespace gptq
