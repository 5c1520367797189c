// gptq tokenize, gptq detokenize: text to ids and back, with the tokenizer files of a folder alone.
#include <memory>

#include "command.h"

namespace cli {
namespace {

struct TokenizeArguments {
  Common common;
  std::optional<std::string> text, file;
  bool no_special = false;
};

struct DetokenizeArguments {
  Common common;
  std::string tokens;
  bool skip_special = false;
};

void run_tokenize(const TokenizeArguments& arguments) {
  want_one_of({{"--text", arguments.text.has_value()}, {"--file", arguments.file.has_value()}});
  const std::string text = arguments.text ? *arguments.text : read_file(*arguments.file);
  const Model model = load_model(arguments.common, arguments.common.model, Weights::leave);
  const int32_t flags = GPTQ_TOKENIZE_PARSE_SPECIAL | (arguments.no_special ? 0 : GPTQ_TOKENIZE_ADD_SPECIAL);
  const std::vector<int32_t> ids = tokenize(model, text, flags);
  if (arguments.common.json) {
    put_json({{"ids", ids}});
    return;
  }
  std::string line;
  for (const int32_t id : ids) line += (line.empty() ? "" : " ") + std::to_string(id);
  put(line + "\n");
  flush_output();
}

void run_detokenize(const DetokenizeArguments& arguments) {
  const std::vector<int32_t> ids = parse_ids(arguments.tokens);
  const Model model = load_model(arguments.common, arguments.common.model, Weights::leave);
  const int32_t flags = arguments.skip_special ? GPTQ_DETOKENIZE_SKIP_SPECIAL : 0;
  const auto text = make<Buffer>(gptq_model_detokenize, static_cast<const gptq_model*>(model.get()),
                                 ids.data(), static_cast<int64_t>(ids.size()), flags);
  if (arguments.common.json) {
    put_json({{"text", text_of(text)}});
    return;
  }
  put(text_of(text));
  put("\n");
  flush_output();
}

}  // namespace

void add_tokenize(CLI::App& app) {
  auto arguments = std::make_shared<TokenizeArguments>();
  Command command(app, "tokenize", "Print the token ids of a text.",
                  {"gptq tokenize Llama-3.2-1B --text \"Hello world\"",
                   "gptq tokenize Llama-3.2-1B --file story.txt --no-special --json"});
  arguments->common.add_to(command, "Folder with tokenizer files, or a GGUF file; it needs no weights",
                           Common::Computes::no);
  command.option("--text", "TEXT", arguments->text, "Text, UTF-8");
  command.option("--file", "FILE", arguments->file, "File to read it from; '-' for standard input");
  command.flag("--no-special", arguments->no_special,
               "Add no special tokens, such as a beginning-of-text token");
  command.run([arguments] { run_tokenize(*arguments); });
}

void add_detokenize(CLI::App& app) {
  auto arguments = std::make_shared<DetokenizeArguments>();
  Command command(app, "detokenize", "Print the text of token ids.",
                  {"gptq detokenize Llama-3.2-1B --tokens 1,15043,3186"});
  arguments->common.add_to(command, "Folder with tokenizer files, or a GGUF file; it needs no weights",
                           Common::Computes::no);
  command.required("--tokens", "IDS", arguments->tokens, "Ids");
  command.flag("--skip-special", arguments->skip_special, "Leave special tokens out of the text");
  command.run([arguments] { run_detokenize(*arguments); });
}

}  // namespace cli
