// gptq perplexity: how well a model predicts a text, and how far it is from a reference model.
#include <algorithm>
#include <cmath>
#include <memory>

#include "command.h"
#include "interrupt.h"
#include "logits.h"

namespace cli {
namespace {

struct Arguments {
  Common common;
  std::string text;
  int64_t context = 512;
  int64_t chunks = 20;
  std::optional<std::string> reference, reference_compute;
};

/// What is measured is not done to the reference.
Common reference_settings(const Arguments& arguments) {
  Common common = arguments.common;
  if (arguments.reference_compute) common.compute = arguments.reference_compute;
  common.layer_split.reset();  // another model may have other layers
  common.head_bits.reset();
  common.kv_cache.reset();
  return common;
}

/// Sums over one chunk.
struct Score {
  double nll = 0;  // nat, over the predictions of the next token
  double kl = 0;   // nat, over all positions
  int64_t agreements = 0;
};

/// The mean over positions is taken per chunk, then over chunks.
struct Totals {
  double nll = 0, kl = 0, top1 = 0;
  int64_t chunks = 0;
};

double log_sum_exp(std::span<const float> row) {
  const double most = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (const float value : row) sum += std::exp(static_cast<double>(value) - most);
  return most + std::log(sum);
}

/// sum p_ref (log p_ref - log p)
double divergence(std::span<const float> reference, double reference_sum, std::span<const float> row,
                  double row_sum) {
  double kl = 0;
  for (size_t i = 0; i < row.size(); ++i) {
    const double log_reference = static_cast<double>(reference[i]) - reference_sum;
    const double p = std::exp(log_reference);
    if (p > 0) kl += p * (log_reference - (static_cast<double>(row[i]) - row_sum));
  }
  return kl;
}

/// Python's universal newlines, with which the reference definition reads its text.
std::string with_plain_newlines(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\r') {
      result += text[i];
    } else if (i + 1 == text.size() || text[i + 1] != '\n') {
      result += '\n';
    }
  }
  return result;
}

class Scorer {
 public:
  Scorer(const Arguments& arguments, const Model& model, const Model* reference)
      : vocab_(static_cast<size_t>(number(model, "vocab_size"))),
        session_(make_session(arguments.common, model, arguments.context)) {
    if (reference != nullptr)
      reference_ = make_session(reference_settings(arguments), *reference, arguments.context);
  }

  /// A fresh sequence of ids.
  Score score(std::span<const int32_t> ids) {
    check(gptq_session_reset(session_.get()));
    if (reference_) check(gptq_session_reset(reference_.get()));
    Score score;
    const auto step = static_cast<size_t>(slice_rows(static_cast<int64_t>(vocab_)));
    for (size_t done = 0; done < ids.size(); done += step) {
      throw_if_interrupted();
      const auto slice = ids.subspan(done, std::min(step, ids.size() - done));
      add_slice(slice, ids.subspan(done + 1), score);
    }
    return score;
  }

 private:
  /// @param next  next[i] follows slice[i]; one shorter than the slice at the end of the chunk
  void add_slice(std::span<const int32_t> slice, std::span<const int32_t> next, Score& score) {
    const Buffer logits = run(session_, slice);
    Buffer reference;
    if (reference_) reference = run(reference_, slice);
    for (size_t i = 0; i < slice.size(); ++i) {
      const auto row = items<float>(logits).subspan(i * vocab_, vocab_);
      const double sum = log_sum_exp(row);
      if (i < next.size()) score.nll -= static_cast<double>(row[static_cast<size_t>(next[i])]) - sum;
      if (!reference) continue;
      const auto wanted = items<float>(reference).subspan(i * vocab_, vocab_);
      score.kl += divergence(wanted, log_sum_exp(wanted), row, sum);
      const auto best = [](std::span<const float> values) {
        return std::max_element(values.begin(), values.end()) - values.begin();
      };
      score.agreements += best(row) == best(wanted) ? 1 : 0;
    }
  }

  static Buffer run(const Session& session, std::span<const int32_t> slice) {
    const CancelOnSignal guard(session.get());
    return append_and_score(session, slice);
  }

  size_t vocab_;
  Session session_;
  Session reference_;
};

std::vector<int32_t> text_ids(const Arguments& arguments, const Model& model) {
  const std::string text = with_plain_newlines(read_file(arguments.text));
  return tokenize(model, text, GPTQ_TOKENIZE_ADD_SPECIAL | GPTQ_TOKENIZE_PARSE_SPECIAL);
}

Totals measure(const Arguments& arguments, const Model& model, const Model* reference) {
  const std::vector<int32_t> ids = text_ids(arguments, model);
  const int64_t chunks = std::min(arguments.chunks, static_cast<int64_t>(ids.size()) / arguments.context);
  if (chunks == 0) {
    throw Failure(arguments.text + ": " + std::to_string(ids.size()) +
                  " tokens, wanted at least one chunk of " + std::to_string(arguments.context));
  }
  const auto context = static_cast<size_t>(arguments.context);
  Scorer scorer(arguments, model, reference);
  Progress progress(Progress::Show::when_slow, "tokens");
  Totals totals;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const Score score = scorer.score(std::span(ids).subspan(static_cast<size_t>(chunk) * context, context));
    totals.nll += score.nll / static_cast<double>(context - 1);
    totals.kl += score.kl / static_cast<double>(context);
    totals.top1 += static_cast<double>(score.agreements) / static_cast<double>(context);
    progress.update((chunk + 1) * arguments.context, chunks * arguments.context, "perplexity");
  }
  totals.chunks = chunks;
  totals.nll /= static_cast<double>(chunks);
  totals.kl /= static_cast<double>(chunks);
  totals.top1 /= static_cast<double>(chunks);
  return totals;
}

void print(const Arguments& arguments, const Totals& totals) {
  const double perplexity = std::exp(totals.nll);
  const int64_t tokens = totals.chunks * (arguments.context - 1);
  if (arguments.common.json) {
    Json object = {
        {"perplexity", perplexity}, {"nll", totals.nll}, {"tokens", tokens}, {"chunks", totals.chunks}};
    if (arguments.reference) object.update({{"kl", totals.kl}, {"top1", totals.top1}});
    put_json(object);
    return;
  }
  char line[160];
  std::snprintf(line, sizeof line, "perplexity %.4f  (%.5f nat per token, %lld predictions)\n", perplexity,
                totals.nll, static_cast<long long>(tokens));
  put(line);
  if (arguments.reference) {
    std::snprintf(line, sizeof line, "to the reference: KL %.6f nat per token, same best token %.2f %%\n",
                  totals.kl, 100 * totals.top1);
    put(line);
  }
  flush_output();
}

void check_reference(const Arguments& arguments, const Model& model, const Model& reference) {
  const int64_t vocab = number(model, "vocab_size");
  const int64_t wanted = number(reference, "vocab_size");
  if (vocab == wanted) return;
  throw Failure(arguments.common.model + ": vocabulary of " + std::to_string(vocab) +
                " tokens, the reference's is of " + std::to_string(wanted));
}

void run(Arguments arguments) {
  if (!arguments.common.compute) arguments.common.compute = "exact";
  if (arguments.context < 2) throw UsageError("--context: wanted at least 2 tokens");
  if (arguments.chunks < 1) throw UsageError("--chunks: wanted at least 1");
  const Model model = load_model(arguments.common, arguments.common.model, Weights::load, arguments.context);
  Model reference;
  if (arguments.reference_compute && !arguments.reference)
    throw UsageError("--reference-compute: there is no --reference");
  if (arguments.reference) {
    reference =
        load_model(reference_settings(arguments), *arguments.reference, Weights::load, arguments.context);
    check_reference(arguments, model, reference);
  }
  print(arguments, measure(arguments, model, reference ? &reference : nullptr));
}

}  // namespace

void add_perplexity(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  Command command(app, "perplexity",
                  "Measure how well a model predicts a text, and how far it is from a reference model.",
                  {"gptq perplexity Llama-3.2-1B-gptq --text wiki.test.raw",
                   "gptq perplexity Llama-3.2-1B-gptq --text wiki.test.raw --reference Llama-3.2-1B --json"});
  arguments->common.add_to(command, "Model folder, quantized or not");
  command.required("--text", "FILE", arguments->text, "Text to predict, UTF-8; '-' for standard input");
  command.option("--context", "N", arguments->context, "Tokens of a chunk; each starts afresh; default 512");
  command.option("--chunks", "N", arguments->chunks, "Most chunks, from the start of the text; default 20");
  command.option("--reference", "MODEL", arguments->reference,
                 "Model folder to compare with: KL divergence, best token");
  command.option("--reference-compute", "MODE", arguments->reference_compute,
                 "How to compute it; default as --compute");
  command.note(
      "Each chunk's mean is taken over its predictions, then the mean over chunks. --compute is exact here\n"
      "unless it is given. What fast arithmetic costs a model is its divergence from itself:\n"
      "--reference MODEL --compute fast --reference-compute exact. --layer-split, --head-bits and\n"
      "--kv-cache do not apply to the reference: --reference MODEL --kv-cache int8 is what a cache of\n"
      "8 bits costs.");
  command.run([arguments] { run(*arguments); });
}

}  // namespace cli
