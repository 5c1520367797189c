// Tokenizer::load(): which files of a folder make its tokenizer.
#include "text/tokenizer.h"

#include "base/error.h"
#include "base/folder.h"
#include "base/text.h"
#include "text/sentencepiece.h"
#include "text/tokenizer_config.h"
#include "text/tokenizer_json.h"

namespace gptq {

namespace {

constexpr size_t kLargestFile = size_t{256} << 20;

}  // namespace

std::shared_ptr<const Tokenizer> Tokenizer::load(const fs::path& folder) {
  const fs::path json = join(folder, "tokenizer.json"), model = join(folder, "tokenizer.model");
  if (file_exists(json)) {
    return load_tokenizer_json(read_text_file(json, kLargestFile), "tokenizer.json",
                               read_tokenizer_config(folder));
  }
  if (file_exists(model)) {
    return load_sentencepiece(read_text_file(model, kLargestFile), "tokenizer.model",
                              read_tokenizer_config(folder));
  }
  throw Error(Status::not_found,
              cat(folder.string(), ": neither tokenizer.json nor tokenizer.model is there"));
}

}  // namespace gptq
