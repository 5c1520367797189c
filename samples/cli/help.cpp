// Help: the manual of the tool, and a page per command from its options.
#include "help.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "command.h"

namespace cli {

const char* const kManual = R"(gptq - quantize language models with GPTQ and run them

Examples:
  gptq quantize Llama-3.2-1B Llama-3.2-1B-gptq         4 bits, groups of 128
  gptq generate Llama-3.2-1B-gptq --prompt "Once upon a time"
  gptq perplexity Llama-3.2-1B-gptq --text wiki.test.raw --reference Llama-3.2-1B
  gptq bench Llama-3.2-1B-gptq

Usage:
  gptq COMMAND [arguments]
  gptq COMMAND --help    or gptq help COMMAND
  gptq --version

Commands:
  quantize    a 16-bit or 32-bit Hugging Face folder in, a GPTQ folder out that transformers,
              GPTQModel and vLLM load
  convert     a quantized folder in another format, or as plain weights
  generate    continue a text; it is printed as it comes
  chat        talk with a model in the terminal
  perplexity  how well a model predicts a text, and how far it is from a reference model
  bench       tokens per second and memory
  info        what a folder holds
  template    messages to the text that the chat template makes of them
  tokenize    text to token ids
  detokenize  token ids to text
  logits      the logits of a sequence, as a safetensors file

Options of every command:
  --threads N     CPU threads; 0 (default) takes all that this process may use
  --device NAME   cpu (default), cuda or cuda:N
  --compute MODE  fast (default) or exact
  --json          the last line of standard output is one JSON object, and the only one; on
                  failure there is none
  -v, --verbose   say more on standard error; twice for debugging
  -q, --quiet     no progress, no warnings
  -h, --help      help of the command

Options of commands that run a model:
  --device A,B       several devices, such as cuda:0,cpu: layers lie one behind the other on them
  --layer-split N,N  layers of each; default: by the memory that they have free
  --head-bits N      4 or 8: round an unquantized output head so; default 0: no
  --kv-cache MODE    auto (default) or int8: keep keys and values in 8 bits

  Options stand after the command. One that is given twice counts as it was given last.

Output:
  Results go to standard output, progress and messages to standard error. A model is a folder with
  config.json, tokenizer files and *.safetensors. Text is UTF-8. Ctrl-C ends a command cleanly:
  quantize then leaves no output, but its finished layers in .OUT.unfinished: the same
  command goes on after them (--no-resume keeps none).

Exit codes:
  0    done
  1    failure; standard error says why
  2    wrong usage
  130  interrupted

Environment:
  GPTQ_CPU_MASK  instruction sets not to use, of amx, bf16, vnni, avx512 and
                 avx2, or on arm64 of i8mm, dotprod and neon, such as "avx512,avx2"
  GPTQ_TRACE     a file for what is computed when, in the Trace Event Format (Perfetto)
  NO_COLOR       no colours when set and not empty
)";

namespace {

constexpr size_t kColumn = 30;
constexpr size_t kWidth = 100;

/// `text` in the right column, wrapped; the cursor is after `left`.
std::string two_columns(const std::string& left, std::string_view text) {
  std::string result = "  " + left;
  if (result.size() + 2 > kColumn) {
    result += "\n" + std::string(kColumn, ' ');
  } else {
    result.resize(kColumn, ' ');
  }
  size_t column = kColumn;
  while (!text.empty()) {
    const size_t space = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, space);
    text.remove_prefix(std::min(space + 1, text.size()));
    if (column != kColumn && column + 1 + word.size() > kWidth) {
      result += "\n" + std::string(kColumn, ' ');
      column = kColumn;
    }
    if (column != kColumn) result += ' ';
    column += word.size() + (column != kColumn ? 1 : 0);
    result += word;
  }
  return result + "\n";
}

/// Groups in the order in which their options were added, those of every command last.
std::vector<std::string> groups_of(const CLI::App& command) {
  std::vector<std::string> groups;
  for (const CLI::Option* option : command.get_options()) {
    const std::string group = option->get_group();
    if (std::find(groups.begin(), groups.end(), group) == groups.end()) groups.push_back(group);
  }
  std::stable_partition(groups.begin(), groups.end(),
                        [](const std::string& group) { return group != kCommonGroup; });
  return groups;
}

}  // namespace

std::vector<const CLI::App*> commands_in(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App*) { return true; });
}

std::string spelling(const CLI::Option& option) {
  if (option.get_positional()) return option.get_name(true);
  std::string text;
  const auto add = [&](const std::string& dashes, const std::string& name) {
    text += (text.empty() ? "" : ", ") + dashes + name;
  };
  for (const std::string& name : option.get_snames()) add("-", name);
  for (const std::string& name : option.get_lnames()) add("--", name);
  const std::string type = option.get_items_expected_max() > 0 ? option.get_type_name() : "";
  return type.empty() ? text : text + " " + type;
}

std::string about_line(const CLI::App& command) {
  // the description is examples, an empty line, the line, a line feed
  const std::string text = command.get_description();
  const size_t start = text.rfind("\n\n") + 2;
  return text.substr(start, text.size() - 1 - start);
}

std::string help_page(const CLI::App& command) {
  std::string usage = "gptq " + command.get_name();
  std::string arguments;
  for (const CLI::Option* option : command.get_options()) {
    if (!option->get_positional()) continue;
    usage += " " + spelling(*option);
    arguments += two_columns(spelling(*option), option->get_description());
  }
  std::string page =
      command.get_description() + "\nUsage:\n  " + usage + " [options]\n\nArguments:\n" + arguments;
  for (const std::string& group : groups_of(command)) {
    std::string lines;
    for (const CLI::Option* option : command.get_options()) {
      if (option->get_positional() || option->get_group() != group) continue;
      lines += two_columns(spelling(*option), option->get_description());
    }
    if (!lines.empty()) page += "\n" + group + ":\n" + lines;
  }
  if (!command.get_footer().empty()) page += "\n" + command.get_footer() + "\n";
  return page;
}

}  // namespace cli
