// gptq convert: a quantized folder in, the same model in another format out.
#include <chrono>
#include <memory>

#include "command.h"
#include "interrupt.h"

namespace cli {
namespace {

struct Arguments {
  Common common;
  std::string out, format;
  std::optional<std::string> dtype, type;
  std::optional<int64_t> max_shard_size;
  bool overwrite = false;
};

void run(const Arguments& arguments) {
  if (arguments.dtype && arguments.format != "dense") throw UsageError("--dtype is for --format dense");
  if (arguments.type && arguments.format != "gguf") throw UsageError("--type is for --format gguf");
  if (arguments.max_shard_size && arguments.format == "gguf")
    throw UsageError("--max-shard-size is for folders; a GGUF file is one");
  Options options = arguments.common.to_options();
  options.set_from(GPTQ_KEY_FORMAT, arguments.format);
  set_if_given(options, GPTQ_KEY_DTYPE, arguments.dtype);
  set_if_given(options, GPTQ_KEY_GGUF_TYPE, arguments.type);
  set_if_given(options, GPTQ_KEY_MAX_SHARD_SIZE, arguments.max_shard_size);
  if (arguments.overwrite) options.set(GPTQ_KEY_OVERWRITE, int64_t{1});
  check(gptq_options_set_progress(options.get(), Progress::callback, nullptr));
  throw_if_interrupted();
  const auto started = std::chrono::steady_clock::now();
  {
    Progress progress(Progress::Show::when_slow);
    check(gptq_model_convert(arguments.common.model.c_str(), arguments.out.c_str(), options.get()));
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  const int64_t before = folder_bytes(arguments.common.model), after = folder_bytes(arguments.out);
  if (arguments.common.json) {
    put_json({{"output", arguments.out},
              {"format", arguments.format},
              {"seconds", seconds},
              {"bytes_before", before},
              {"bytes_after", after}});
    return;
  }
  put(arguments.out + ": " + in_megabytes(before) + " -> " + in_megabytes(after) + "\n");
  flush_output();
}

}  // namespace

void add_convert(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  Command command(app, "convert", "Write a quantized model in another format, or as plain weights.",
                  {"gptq convert Llama-3.2-1B-AWQ Llama-3.2-1B-gptq --format gptq_v2",
                   "gptq convert Llama-3.2-1B-gptq out --format compressed_tensors",
                   "gptq convert Llama-3.2-1B-gptq Llama-3.2-1B.gguf --format gguf",
                   "gptq convert Llama-3.2-1B.gguf Llama-3.2-1B-plain --format dense",
                   "gptq convert Llama-3.2-1B-gptq Llama-3.2-1B-again --format dense --dtype f16"});
  arguments->common.add_to(command,
                           "Model folder: GPTQ, AWQ, Marlin or compressed-tensors; for dense and gguf any; "
                           "for dense a GGUF file, too",
                           Common::Computes::no);
  command.argument("OUT", arguments->out, "Folder to make; for gguf the file");
  command.group("What is written");
  command.required("--format", "NAME", arguments->format,
                   "Must be given: gptq, gptq_v2, compressed_tensors, dense or gguf (llama.cpp)");
  command.option("--dtype", "NAME", arguments->dtype, "Type of dense weights: bf16 (default), f16 or f32");
  command.option(
      "--type", "NAME", arguments->type,
      "Type of the layers' matrices, and of a quantized head, in gguf: q4_0, q4_1, q8_0, f16, or auto "
      "(default): for each what holds it best");
  command.size("--max-shard-size", arguments->max_shard_size,
               "Bytes of tensors in one file, such as 500MB; default 4GB");
  command.flag("--overwrite", arguments->overwrite, "Replace OUT if it exists");
  command.run([arguments] { run(*arguments); });
}

}  // namespace cli
