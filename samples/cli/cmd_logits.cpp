// gptq logits: the logits of one causal pass, as a safetensors file.
#include <memory>

#include "command.h"
#include "interrupt.h"
#include "logits.h"

namespace cli {
namespace {

struct Arguments {
  Common common;
  std::optional<std::string> tokens, tokens_file;
  std::string out;
};

void run(Arguments arguments) {
  want_one_of(
      {{"--tokens", arguments.tokens.has_value()}, {"--tokens-file", arguments.tokens_file.has_value()}});
  arguments.common.compute = "exact";
  const std::vector<int32_t> ids =
      arguments.tokens ? parse_ids(*arguments.tokens) : read_ids_file(*arguments.tokens_file);
  if (ids.empty()) throw UsageError("no tokens: wanted at least one id");
  const auto count = static_cast<int64_t>(ids.size());
  const Model model = load_model(arguments.common, arguments.common.model, Weights::load, count);
  const int64_t vocab = number(model, "vocab_size");
  const int64_t context = number(model, "context_length");
  const Session session = make_session(arguments.common, model, count);
  const CancelOnSignal guard(session.get());
  LogitsFile file(arguments.out, count, vocab);
  Progress progress(Progress::Show::when_slow, "tokens");
  // beyond the context some models stretch their positions by the length of the pass: it must be one
  const int64_t step = count > context ? count : slice_rows(vocab);
  for (int64_t done = 0; done < count; done += step) {
    throw_if_interrupted();
    const auto slice =
        std::span(ids).subspan(static_cast<size_t>(done), static_cast<size_t>(std::min(step, count - done)));
    const Buffer logits = append_and_score(session, slice);
    file.append(items<float>(logits));
    progress.update(done + static_cast<int64_t>(slice.size()), count, "logits");
  }
  file.finish();
  if (arguments.common.json) put_json({{"out", arguments.out}, {"tokens", count}, {"vocab_size", vocab}});
}

}  // namespace

void add_logits(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  Command command(app, "logits", "Write the logits after each token of one causal pass, computed exactly.",
                  {"gptq logits Llama-3.2-1B --tokens 1,15043,3186 --out logits.safetensors",
                   "gptq logits Llama-3.2-1B --tokens-file ids.json --out logits.safetensors"});
  arguments->common.add_to(command, "Model folder, quantized or not");
  command.option("--tokens", "IDS", arguments->tokens, "Ids");
  command.option("--tokens-file", "FILE", arguments->tokens_file, "JSON array of ids");
  command.required("--out", "FILE", arguments->out,
                   "File to write: one tensor \"logits\", f32 [tokens, vocabulary]");
  command.run([arguments] { run(*arguments); });
}

}  // namespace cli
