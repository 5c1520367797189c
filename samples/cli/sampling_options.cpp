// See sampling_options.h.
#include "sampling_options.h"

namespace cli {

void SamplingArguments::add_to(Command& command, Defaults defaults) {
  const bool own = defaults == Defaults::library;
  const auto help = [own](const char* what, const char* library) {
    return std::string(what) + (own ? library : "; default: the model's");
  };
  command.group("Sampling");
  command.option("--max-tokens", "N", max_tokens, "Most new tokens; 0 (default) until the context is full");
  command.option("--temperature", "X", temperature,
                 own ? "0 (default) takes the most likely token"
                     : "0 takes the most likely token; default: what generation_config.json says, else 0");
  command.option("--top-k", "N", top_k, help("Keep the N most likely tokens; 0", " (default) all"));
  command.option("--top-p", "X", top_p,
                 help("Keep the fewest tokens of this total probability", "; default 1"));
  command.option("--min-p", "X", min_p,
                 help("Drop tokens below this part of the most likely one", "; default 0"));
  command.option("--repetition-penalty", "X", repetition_penalty,
                 help("As CTRL, arXiv 1909.05858", "; default 1, none"));
  command.option("--stop", "TEXT", stop,
                 "Text, taken as it is, that ends a generation and is not printed; may be given again");
  command.option("--seed", "N", seed, "Equal seeds give equal text; default 0");
}

void SamplingArguments::set_in(Options& options) const {
  set_if_given(options, GPTQ_KEY_MAX_TOKENS, max_tokens);
  set_if_given(options, GPTQ_KEY_TEMPERATURE, temperature);
  set_if_given(options, GPTQ_KEY_TOP_K, top_k);
  set_if_given(options, GPTQ_KEY_TOP_P, top_p);
  set_if_given(options, GPTQ_KEY_MIN_P, min_p);
  set_if_given(options, GPTQ_KEY_REPETITION_PENALTY, repetition_penalty);
  set_if_given(options, GPTQ_KEY_SEED, seed);
  for (const std::string& text : stop)
    check(gptq_options_add_string(options.get(), GPTQ_KEY_STOP, text.c_str()));
}

}  // namespace cli
