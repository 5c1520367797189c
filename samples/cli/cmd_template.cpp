// gptq template: the text that a folder's chat template makes of messages.
#include <memory>

#include "command.h"

namespace cli {
namespace {

struct Arguments {
  Common common;
  std::string messages;
};

void run(const Arguments& arguments) {
  const std::string chat = read_file(arguments.messages);
  const Model model = load_model(arguments.common, arguments.common.model, Weights::leave);
  const auto text = make<Buffer>(gptq_model_apply_chat_template, static_cast<const gptq_model*>(model.get()),
                                 chat.data(), static_cast<int64_t>(chat.size()));
  if (arguments.common.json) {
    put_json({{"text", text_of(text)}});
    return;
  }
  put(text_of(text));
  flush_output();
}

}  // namespace

void add_template(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  Command command(
      app, "template", "Print the text that the chat template makes of messages, and nothing besides.",
      {"gptq template Llama-3.2-1B-Instruct --messages chat.json",
       "echo '[{\"role\": \"user\", \"content\": \"Hi\"}]' | gptq template Qwen3-0.6B --messages -"});
  arguments->common.add_to(command, "Folder with tokenizer files or a chat template; it needs no weights",
                           Common::Computes::no);
  command.required("--messages", "FILE", arguments->messages,
                   "Messages as OpenAI has them, in JSON; '-' for standard input");
  command.note(
      "FILE is an array of messages, or an object with 'messages' and any of 'tools', "
      "'add_generation_prompt' (true: end in what begins the answer), 'chat_template' (one of the folder's "
      "by name, or a template itself) and further variables of the template, which win over the "
      "tokenizer's 'bos_token' and so on.");
  command.run([arguments] { run(*arguments); });
}

}  // namespace cli
