// gptq bench: speed and memory of a model on this machine.
#include <algorithm>
#include <chrono>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "command.h"
#include "interrupt.h"

namespace cli {
namespace {

struct Arguments {
  Common common;
  int64_t prompt = 512;
  int64_t generate = 64;
  int64_t repeat = 5;
  int64_t sessions = 1;
};

struct Speeds {
  std::vector<double> prefill, decode;  // tokens per second, one per repetition
};

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

/// Of this program alone: getrusage() counts what the one that has started it had, too.
int64_t peak_rss_bytes() {
  constexpr std::string_view kKey = "VmHWM:";
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(kKey)) return std::stoll(line.substr(kKey.size())) * 1024;
  }
  return 0;
}

/// The generation keeps its length where it can; the prompt takes what is left.
void clamp_to_context(Arguments& arguments, int64_t context) {
  const int64_t prompt = arguments.prompt;
  const int64_t generate = arguments.generate;
  arguments.generate = std::clamp<int64_t>(generate, 2, std::max<int64_t>(2, context / 2));
  arguments.prompt = std::clamp<int64_t>(prompt, 1, std::max<int64_t>(1, context - arguments.generate));
  if (prompt == arguments.prompt && generate == arguments.generate) return;
  say("note", "the model's context is " + std::to_string(context) + " tokens: prompt " +
                  std::to_string(arguments.prompt) + ", generate " + std::to_string(arguments.generate));
}

/// Ids spread over the vocabulary, the same each time.
std::vector<int32_t> prompt_ids(int64_t count, int64_t vocab) {
  std::vector<int32_t> ids;
  uint64_t state = 1;
  for (int64_t i = 0; i < count; ++i) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    ids.push_back(static_cast<int32_t>((state >> 33) % static_cast<uint64_t>(vocab)));
  }
  return ids;
}

/// Tokens that a step of all sessions together gives, and whether there are more.
int64_t step(const std::vector<gptq_session*>& sessions, bool& more) {
  std::vector<gptq_status> statuses(sessions.size());
  const auto count = static_cast<int64_t>(sessions.size());
  more = check(gptq_session_step_all(sessions.data(), count, statuses.data())) == GPTQ_OK;
  for (size_t i = 0; i < sessions.size(); ++i) {
    if (statuses[i] == GPTQ_ERROR_CANCELLED) throw Interrupted();
    if (statuses[i] < 0) throw Failure(gptq_session_error_message(sessions[i]));
  }
  return std::count_if(sessions.begin(), sessions.end(),
                       [](const gptq_session* session) { return gptq_session_token(session) >= 0; });
}

/// Prefill is timed to the logits of the last token; decoding from the first new token, which those logits give, to the
/// last: one pass through the model for each token between, of all sessions together.
void repeat_once(const std::vector<gptq_session*>& sessions, const Arguments& arguments,
                 const std::vector<int32_t>& ids, Speeds& speeds) {
  Options options;
  options.set(GPTQ_KEY_MAX_TOKENS, arguments.generate);
  options.set(GPTQ_KEY_IGNORE_EOS, int64_t{1});
  for (gptq_session* const session : sessions) {
    check(gptq_session_reset(session));
    check(gptq_session_append_tokens(session, ids.data(), static_cast<int64_t>(ids.size())));
  }
  const double start = seconds_now();
  for (gptq_session* const session : sessions) {
    const CancelOnSignal guard(session);
    throw_if_interrupted();
    check(gptq_session_begin(session, options.get()));
  }
  const double prefilled = seconds_now();
  const CancelOnSignal guard(sessions.front());
  throw_if_interrupted();
  bool more = true;
  step(sessions, more);
  const double first = seconds_now();
  int64_t tokens = 0;
  while (more) tokens += step(sessions, more);
  const double end = seconds_now();
  speeds.prefill.push_back(static_cast<double>(sessions.size() * ids.size()) / (prefilled - start));
  speeds.decode.push_back(static_cast<double>(tokens) / (end - first));
}

void print(const Arguments& arguments, const Model& model, const Speeds& speeds, double load_seconds,
           int64_t cache_bytes) {
  const double prefill = median(speeds.prefill);
  const double decode = median(speeds.decode);
  const std::string of = arguments.sessions > 1 ? std::to_string(arguments.sessions) + " sessions of " : "";
  const double passes = decode / static_cast<double>(arguments.sessions);
  const int64_t bytes = number(model, "weight_bytes_per_token");
  const int64_t rss = peak_rss_bytes();
  if (arguments.common.json) {
    put_json({{"prefill_tokens_per_second", prefill},
              {"decode_tokens_per_second", decode},
              {"weight_bytes_per_token", bytes},
              {"cache_bytes", cache_bytes},
              {"peak_rss_bytes", rss},
              {"load_seconds", load_seconds},
              {"prompt_tokens", arguments.prompt},
              {"generated_tokens", arguments.generate},
              {"repeat", arguments.repeat},
              {"sessions", arguments.sessions},
              {"threads", number(model, "threads")}});
    return;
  }
  char text[512];
  std::snprintf(text, sizeof text,
                "prefill  %10.1f tokens/s  (%s%lld tokens)\n"
                "decode   %10.1f tokens/s  (%s%lld tokens, %.2f GB/s of weights)\n"
                "load     %10.2f s\n"
                "memory   %10.1f MB at most, %.1f MB of weights read per step, %.1f MB of keys and values\n",
                prefill, of.c_str(), static_cast<long long>(arguments.prompt), decode, of.c_str(),
                static_cast<long long>(arguments.generate), passes * static_cast<double>(bytes) / 1e9,
                load_seconds, static_cast<double>(rss) / 1e6, static_cast<double>(bytes) / 1e6,
                static_cast<double>(cache_bytes) / 1e6);
  put(text);
  flush_output();
}

void run(Arguments arguments) {
  const auto want = [](const char* flag, int64_t value, int64_t least) {
    if (value >= least) return;
    throw UsageError(std::string(flag) + " is " + std::to_string(value) + ", wanted at least " +
                     std::to_string(least));
  };
  want("--prompt", arguments.prompt, 1);
  want("--generate", arguments.generate, 2);
  want("--repeat", arguments.repeat, 1);
  want("--sessions", arguments.sessions, 1);
  const double start = seconds_now();
  constexpr int64_t kLongest = int64_t{1} << 30;  // that the library takes; the model's context is less
  const int64_t context =
      std::min(arguments.prompt, kLongest / 2) + std::min(arguments.generate, kLongest / 2);
  const Model model = load_model(arguments.common, arguments.common.model, Weights::load, context);
  const double load_seconds = seconds_now() - start;
  clamp_to_context(arguments, number(model, "context_length"));
  const std::vector<int32_t> ids = prompt_ids(arguments.prompt, number(model, "vocab_size"));
  std::vector<Session> held;
  std::vector<gptq_session*> sessions;
  for (int64_t i = 0; i < arguments.sessions; ++i) {
    held.push_back(make_session(arguments.common, model));
    sessions.push_back(held.back().get());
  }
  Speeds speeds;
  {
    Progress progress(Progress::Show::when_slow);
    for (int64_t i = 0; i < arguments.repeat; ++i) {
      throw_if_interrupted();
      repeat_once(sessions, arguments, ids, speeds);
      progress.update(i + 1, arguments.repeat, "bench");
    }
  }
  double cache_bytes = 0;
  for (const gptq_session* const session : sessions) {
    double bytes = 0;
    check(gptq_session_get_stat(session, "cache_bytes", &bytes));
    cache_bytes += bytes;
  }
  print(arguments, model, speeds, load_seconds, static_cast<int64_t>(cache_bytes));
}

}  // namespace

void add_bench(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  Command command(
      app, "bench", "Measure speed and memory: medians over repetitions.",
      {"gptq bench Llama-3.2-1B-gptq", "gptq bench Llama-3.2-1B-gptq --prompt 128 --threads 1 --json",
       "gptq bench Llama-3.2-1B-gptq --sessions 8"});
  arguments->common.add_to(command, "Model folder, quantized or not");
  command.option("--prompt", "N", arguments->prompt, "Tokens of the prompt; default 512");
  command.option("--generate", "N", arguments->generate, "Tokens to generate, at least 2; default 64");
  command.option("--repeat", "N", arguments->repeat, "Repetitions; default 5");
  command.option("--sessions", "N", arguments->sessions,
                 "Sessions that generate together; default 1. Speeds and memory are of all of them, counts "
                 "of tokens of each");
  command.run([arguments] { run(*arguments); });
}

}  // namespace cli
