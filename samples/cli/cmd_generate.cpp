// gptq generate: text or ids in, text out as it comes.
#include <memory>

#include "command.h"
#include "interrupt.h"
#include "sampling_options.h"

namespace cli {
namespace {

struct Arguments {
  Common common;
  std::optional<std::string> prompt, prompt_file, tokens;
  SamplingArguments sampling;
  bool ignore_eos = false;
};

Options generation_options(const Arguments& arguments) {
  Options options;
  arguments.sampling.set_in(options);
  if (arguments.ignore_eos) options.set(GPTQ_KEY_IGNORE_EOS, int64_t{1});
  return options;
}

std::vector<int32_t> prompt_ids(const Arguments& arguments, const std::string& prompt, const Model& model) {
  const std::vector<int32_t> ids =
      arguments.tokens ? parse_ids(*arguments.tokens)
                       : tokenize(model, prompt, GPTQ_TOKENIZE_ADD_SPECIAL | GPTQ_TOKENIZE_PARSE_SPECIAL);
  if (ids.empty()) throw Failure("the prompt is empty, wanted at least one token to continue");
  return ids;
}

/// Room for what was asked, beyond the model's context where its positions allow that.
Session make_roomy_session(const Arguments& arguments, const Model& model, int64_t prompt) {
  const int64_t context = number(model, "context_length");
  const int64_t wanted = prompt + arguments.sampling.max_tokens.value_or(0);
  const bool beyond = wanted > context && wanted <= number(model, "context_limit");
  if (beyond) {
    say("warning", "the model was made for " + std::to_string(context) + " tokens; going up to " +
                       std::to_string(wanted) + " as asked");
  }
  return make_session(arguments.common, model, beyond ? wanted : 0);
}

double stat(const Session& session, const char* key) {
  double value = 0;
  check(gptq_session_get_stat(session.get(), key, &value));
  return value;
}

void say_speed(const Session& session) {
  char line[160];
  std::snprintf(line, sizeof line, "prompt %.0f tokens, %.1f tokens/s; generated %.0f tokens, %.1f tokens/s",
                stat(session, "prefill_tokens"), stat(session, "prefill_tokens_per_second"),
                stat(session, "decode_tokens"), stat(session, "decode_tokens_per_second"));
  say("info", line);
}

void run(const Arguments& arguments) {
  want_one_of({{"--prompt", arguments.prompt.has_value()},
               {"--prompt-file", arguments.prompt_file.has_value()},
               {"--tokens", arguments.tokens.has_value()}});
  Options options = generation_options(arguments);
  const std::string prompt =
      arguments.prompt_file ? read_file(*arguments.prompt_file) : arguments.prompt.value_or("");
  const Model model = load_model(arguments.common, arguments.common.model);
  const std::vector<int32_t> ids = prompt_ids(arguments, prompt, model);
  const Session session = make_roomy_session(arguments, model, static_cast<int64_t>(ids.size()));
  const CancelOnSignal guard(session.get());
  throw_if_interrupted();
  check(gptq_session_append_tokens(session.get(), ids.data(), static_cast<int64_t>(ids.size())));
  {
    Progress progress(Progress::Show::when_slow, "tokens");
    check(gptq_options_set_progress(options.get(), Progress::callback, nullptr));
    check(gptq_session_begin(session.get(), options.get()));
  }
  Json tokens = Json::array();
  std::string text;
  while (check(gptq_session_step(session.get())) == GPTQ_OK) {
    const int32_t token = gptq_session_token(session.get());
    if (token >= 0) tokens.push_back(token);
    const std::string_view chunk(gptq_session_text(session.get()),
                                 static_cast<size_t>(gptq_session_text_size(session.get())));
    text += chunk;
    if (!arguments.common.json && !chunk.empty()) {
      put(chunk);
      flush_output();
    }
  }
  if (verbosity() >= Verbosity::verbose) say_speed(session);
  if (arguments.common.json) {
    put_json(
        {{"tokens", tokens}, {"text", text}, {"finish_reason", gptq_session_finish_reason(session.get())}});
  } else if (!text.ends_with('\n')) {
    put("\n");
    flush_output();
  }
}

}  // namespace

void add_generate(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  Command command(app, "generate", "Continue a text; it is printed as it comes.",
                  {"gptq generate Llama-3.2-1B-gptq --prompt \"Once upon a time\"",
                   "gptq generate Llama-3.2-1B-gptq --prompt Hello --temperature 0.8 --top-p 0.9 --seed 1",
                   "gptq generate Llama-3.2-1B-gptq --prompt-file - --max-tokens 200 < story.txt",
                   "gptq generate Llama-3.2-1B-gptq --tokens 1,15043 --max-tokens 20 --json"});
  arguments->common.add_to(command, "Model folder, quantized or not");
  command.option("--prompt", "TEXT", arguments->prompt, "Text to continue");
  command.option("--prompt-file", "FILE", arguments->prompt_file,
                 "File to read it from, byte for byte; '-' for standard input");
  command.option("--tokens", "IDS", arguments->tokens, "Ids to continue, taken as they are");
  arguments->sampling.add_to(command, SamplingArguments::Defaults::library);
  command.flag("--ignore-eos", arguments->ignore_eos, "Go on after an end-of-text token");
  command.note("Special tokens that a prompt spells out, such as <|eot_id|>, become those tokens.");
  command.run([arguments] { run(*arguments); });
}

}  // namespace cli
