// Options, files and output, as all commands treat them.
#include "command.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>

#include "interrupt.h"

namespace cli {
namespace {

std::string describe_errno(const std::string& path) { return path + ": " + std::strerror(errno); }

/// Closes what it opened.
class InputFile {
 public:
  explicit InputFile(const std::string& path)
      : standard_input_(path == "-"),
        file_(standard_input_ ? STDIN_FILENO : open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (file_ < 0) throw Failure(describe_errno(path));
  }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;
  ~InputFile() {
    if (!standard_input_) close(file_);
  }
  int get() const { return file_; }

 private:
  bool standard_input_;
  int file_;
};

}  // namespace

void Common::add_to(Command& command, const std::string& model_help, Computes computes) {
  command.argument("MODEL", model, model_help);
  if (computes != Computes::no) {
    command.group("Machine");
    command.option("--threads", "N", threads, "CPU threads; 0 (default) takes all that this process may use");
    command.option(
        "--device", "NAME", device,
        computes == Computes::runs
            ? "cpu (default), cuda or cuda:N; several, as cuda:0,cpu, hold layers one behind the other"
            : "cpu (default), cuda or cuda:N");
    command.option("--compute", "MODE", compute, "fast (default) or exact");
    if (computes == Computes::runs) {
      command.option("--layer-split", "N,N", layer_split,
                     "Layers of each of several devices; default: by the memory that they have free");
      command.option("--head-bits", "N", head_bits,
                     "Round an unquantized output head to 4 or 8 bits; default 0: no");
      command.option("--kv-cache", "MODE", kv_cache,
                     "int8: keep keys and values in 8 bits; auto (default): as --compute has them");
    }
  }
  command.group(kCommonGroup);
  command.flag("--json", json, "Print one JSON object as the last line of standard output");
  const auto say_more = [] {
    set_verbosity(verbosity() == Verbosity::verbose ? Verbosity::debugging : Verbosity::verbose);
  };
  command.flag("-v,--verbose", say_more, "Say more on standard error; twice for debugging");
  command.flag(
      "-q,--quiet", [] { set_verbosity(Verbosity::quiet); }, "No progress, no warnings");
  command.group("Options");
}

Options Common::to_options() const {
  Options options;
  set_if_given(options, GPTQ_KEY_THREADS, threads);
  set_if_given(options, GPTQ_KEY_DEVICE, device);
  set_if_given(options, GPTQ_KEY_LAYER_SPLIT, layer_split);
  set_if_given(options, GPTQ_KEY_COMPUTE, compute);
  set_if_given(options, GPTQ_KEY_HEAD_BITS, head_bits);
  set_if_given(options, GPTQ_KEY_KV_CACHE, kv_cache);
  return options;
}

Model load_model(const Common& common, const std::string& path, Weights weights, int64_t context) {
  Options options = common.to_options();
  options.set(GPTQ_KEY_CONTEXT_LENGTH, context);
  if (weights == Weights::leave) options.set(GPTQ_KEY_LOAD_WEIGHTS, int64_t{0});
  Progress progress(Progress::Show::when_slow);
  check(gptq_options_set_progress(options.get(), Progress::callback, nullptr));
  auto model = make<Model>(gptq_model_load, path.c_str(), static_cast<const gptq_options*>(options.get()));
  if (verbosity() >= Verbosity::verbose) {
    const char* family = nullptr;  // a tokenizer can do without
    if (gptq_model_get_string(model.get(), "family", &family) != GPTQ_OK) family = "no family that is known";
    const std::string quantization = text(model, "quantization");
    say("info", path + ": " + family + (quantization.empty() ? "" : ", " + quantization));
    if (const std::string split = text(model, "layer_split"); split.find(',') != std::string::npos)
      say("info", path + ": " + split + " layers on " + text(model, "device"));
  }
  return model;
}

Session make_session(const Common& common, const Model& model, int64_t context) {
  Options options = common.to_options();
  options.set(GPTQ_KEY_CONTEXT_LENGTH, context);
  return make<Session>(gptq_session_create, static_cast<const gptq_model*>(model.get()),
                       static_cast<const gptq_options*>(options.get()));
}

void want_one_of(std::initializer_list<Given> options) {
  int given = 0;
  std::string all, chosen;
  for (const Given& option : options) {
    all += (all.empty() ? "" : ", ") + std::string(option.flag);
    if (!option.given) continue;
    chosen += (given++ == 0 ? "" : ", ") + std::string(option.flag);
  }
  if (given == 1) return;
  throw UsageError(given == 0 ? "one of these is needed: " + all
                              : "only one of these can be given: " + chosen);
}

std::vector<int32_t> parse_ids(std::string_view list) {
  std::vector<int32_t> ids;
  const char* at = list.data();
  const char* const end = at + list.size();
  const auto separator = [](char c) { return c == ',' || c == ' ' || c == '\n' || c == '\t' || c == '\r'; };
  while (at != end) {
    if (separator(*at)) {
      ++at;
      continue;
    }
    int32_t id = 0;
    const auto [next, error] = std::from_chars(at, end, id);
    if (error != std::errc() || (next != end && !separator(*next))) {
      throw UsageError("--tokens: wanted ids such as 1,2,3, found '" + std::string(at, end).substr(0, 20) +
                       "'");
    }
    ids.push_back(id);
    at = next;
  }
  return ids;
}

Json read_json_file(const std::string& path) {
  try {
    return Json::parse(read_file(path));
  } catch (const Json::parse_error& error) {
    throw Failure(path + ": ill-formed JSON at byte " + std::to_string(error.byte));
  }
}

std::vector<int32_t> read_ids_file(const std::string& path) {
  const Json document = read_json_file(path);
  if (!document.is_array()) throw Failure(path + ": wanted a JSON array of token ids");
  std::vector<int32_t> ids;
  ids.reserve(document.size());
  for (const Json& item : document) {
    if (!item.is_number_integer() || item < INT32_MIN || item > INT32_MAX) {
      throw Failure(path + ": item " + std::to_string(ids.size()) + " is " + item.dump().substr(0, 20) +
                    ", wanted a token id");
    }
    ids.push_back(item.get<int32_t>());
  }
  return ids;
}

void wait_for_bytes(int file) {
  constexpr int kMilliseconds = 50;
  pollfd wanted{.fd = file, .events = POLLIN, .revents = 0};
  while (poll(&wanted, 1, kMilliseconds) == 0) throw_if_interrupted();
  throw_if_interrupted();
}

std::string read_file(const std::string& path) {
  const InputFile file(path);
  std::string contents;
  char piece[1 << 16];
  for (;;) {
    wait_for_bytes(file.get());
    const ssize_t size = read(file.get(), piece, sizeof piece);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) throw Failure(describe_errno(path == "-" ? "standard input" : path));
    if (size == 0) return contents;
    contents.append(piece, static_cast<size_t>(size));
  }
}

void put(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size())
    throw Failure(describe_errno("standard output"));
}

void flush_output() {
  if (std::fflush(stdout) != 0) throw Failure(describe_errno("standard output"));
}

void put_json(const Json& object) {
  put(object.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  flush_output();
}

std::string in_megabytes(int64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f MB", static_cast<double>(bytes) / 1e6);
  return text;
}

int64_t folder_bytes(const std::filesystem::path& folder) {
  int64_t sum = 0;
  std::error_code error;
  if (std::filesystem::is_regular_file(folder, error))
    return static_cast<int64_t>(std::filesystem::file_size(folder, error));
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.is_regular_file(error)) sum += static_cast<int64_t>(entry.file_size(error));
  }
  return sum;
}

}  // namespace cli
