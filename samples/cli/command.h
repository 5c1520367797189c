// What the commands share: the options that all of them take, the reading of their arguments, and their output.
#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "command_line.h"
#include "handles.h"
#include "terminal.h"

namespace cli {

using Json = nlohmann::ordered_json;

/// Registers one command with its options; its callback does the work.
void add_quantize(CLI::App& app);
void add_convert(CLI::App& app);
void add_generate(CLI::App& app);
void add_perplexity(CLI::App& app);
void add_logits(CLI::App& app);
void add_chat(CLI::App& app);
void add_template(CLI::App& app);
void add_tokenize(CLI::App& app);
void add_detokenize(CLI::App& app);
void add_bench(CLI::App& app);
void add_info(CLI::App& app);

/// Values of the options of every command.
struct Common {
  std::string model;
  std::optional<int64_t> threads;
  std::optional<std::string> device, layer_split;
  std::optional<std::string> compute;
  std::optional<int64_t> head_bits;
  std::optional<std::string> kv_cache;
  bool json = false;

  /// Whether the command computes: only then it takes --threads, --device and --compute, and, where it runs the model as it
  /// loads it, --layer-split, --head-bits and --kv-cache.
  enum class Computes { no, yes, runs };

  /// Adds the MODEL argument and the options to a command.
  void add_to(Command& command, const std::string& model_help, Computes computes = Computes::runs);
  /// The part of them that the library takes.
  Options to_options() const;
};

enum class Weights { load, leave };

/// Loads a folder, with progress where that takes long. Layers are placed on devices for sessions of `context` tokens; 0: it is
/// not known how many.
Model load_model(const Common& common, const std::string& path, Weights weights = Weights::load,
                 int64_t context = 0);

/// A session for at most `context` tokens; 0: the model's context.
Session make_session(const Common& common, const Model& model, int64_t context = 0);

template <typename T>
void set_if_given(Options& options, const char* key, const std::optional<T>& value) {
  if (value) options.set_from(key, *value);
}

struct Given {
  const char* flag;
  bool given;
};

/// Ends in a UsageError unless exactly one of these options was given.
void want_one_of(std::initializer_list<Given> options);

/// "1,2,3" or "1 2 3".
std::vector<int32_t> parse_ids(std::string_view list);
/// A JSON document.
Json read_json_file(const std::string& path);
/// A JSON array of ids.
std::vector<int32_t> read_ids_file(const std::string& path);
/// The bytes of a file; "-" reads standard input. Waiting for them ends with Ctrl-C.
std::string read_file(const std::string& path);

/// Returns when a file has bytes or its end; a terminal or a pipe may take for ever, or until Ctrl-C.
void wait_for_bytes(int file);

/// Writes to standard output; a failure to write ends the command.
void put(std::string_view text);
/// The last line of standard output.
void put_json(const Json& object);
void flush_output();

std::string in_megabytes(int64_t bytes);
/// Bytes of the regular files directly in a folder, or of a file.
int64_t folder_bytes(const std::filesystem::path& folder);

}  // namespace cli
