#include "scenarios.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace gptq::test {
namespace {

std::string tiny_tokenizer() {
  std::string vocabulary =
      R"("<unk>":0,"<s>":1,"</s>":2," ":3,"<0xC3>":4,"<0xA9>":5,"<0xE2>":6,"th":7,"the":8)";
  int id = 9;
  for (char c = 'a'; c <= 'z'; ++c) vocabulary += std::string(",\"") + c + "\":" + std::to_string(id++);
  for (char c = 'A'; c <= 'Z'; ++c) vocabulary += std::string(",\"") + c + "\":" + std::to_string(id++);
  for (char c : {'.', ',', '!'}) vocabulary += std::string(",\"") + c + "\":" + std::to_string(id++);
  return R"({"added_tokens": [{"id": 1, "content": "<s>", "special": true},
                              {"id": 2, "content": "</s>", "special": true}],
    "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"},
                   {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "}]},
    "pre_tokenizer": {"type": "Split", "pattern": {"Regex": " ?\\p{L}+|\\p{P}"}, "behavior": "Isolated",
                      "invert": false},
    "post_processor": {"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
      "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
      "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
    "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
    "model": {"type": "BPE", "unk_token": "<unk>", "byte_fallback": true, "vocab": {)" +
         vocabulary + R"(}, "merges": ["t h", ["th", "e"]]}})";
}

}  // namespace

TinyModel::TinyModel() {
  fs::create_directory(folder_ / "outputs");
  fs::create_directory(folder_ / "model");
  for (const char* name : {"config.json", "model.safetensors"}) {
    fs::copy_file(source_dir() / "tests/golden/models/llama" / name, folder_ / "model" / name);
  }
  write_file(folder_ / "model/tokenizer.json", tiny_tokenizer());
  write_file(folder_ / "model/tokenizer_config.json",
             R"({"bos_token": {"content": "<s>"}, "eos_token": "</s>"})");
  write_file(folder_ / "model/generation_config.json", R"({"eos_token_id": [2]})");
}

gptq_status load(const char* folder, int threads, HeldModel& model, const char* device) {
  HeldOptions options;
  gptq_status status = gptq_options_create(options.out());
  if (status >= 0) status = gptq_options_set_int(options.get(), GPTQ_KEY_THREADS, threads);
  if (status >= 0) status = gptq_options_set_string(options.get(), GPTQ_KEY_DEVICE, device);
  if (status >= 0) status = gptq_model_load(folder, options.get(), model.out());
  return status;
}

namespace {

gptq_status quantize(const char* folder, const char* output, int threads, const char* resume,
                     int64_t memory_limit, HeldBuffer& report) {
  static constexpr char kSettings[] =
      R"({"bits": 4, "group_size": 16, "calibration_samples": 2, "calibration_length": 16, "order": "gar"})";
  static constexpr int32_t kIds[] = {1, 10, 20, 30, 40, 50};
  HeldOptions options;
  HeldQuantizer quantizer;
  gptq_status status = gptq_options_create(options.out());
  if (status >= 0) status = gptq_options_set_json(options.get(), kSettings, -1);
  if (status >= 0) status = gptq_options_set_int(options.get(), GPTQ_KEY_THREADS, threads);
  if (status >= 0) status = gptq_options_set_string(options.get(), GPTQ_KEY_RESUME, resume);
  if (status >= 0 && memory_limit != 0) {
    status = gptq_options_set_int(options.get(), GPTQ_KEY_MEMORY_LIMIT, memory_limit);
  }
  if (status >= 0) status = gptq_quantizer_create(folder, output, options.get(), quantizer.out());
  if (status >= 0) status = gptq_quantizer_add_calibration_tokens(quantizer.get(), kIds, std::size(kIds));
  if (status >= 0) {
    status = gptq_quantizer_add_calibration_text(quantizer.get(), "the cat sat on the mat, and the dog!", -1);
  }
  while (status == GPTQ_OK) status = gptq_quantizer_step(quantizer.get());
  // what was done can be told after a failure, too
  if (quantizer.get() == nullptr) return status;
  const gptq_status told = gptq_quantizer_report_json(quantizer.get(), report.out());
  return told < 0 && told != GPTQ_ERROR_OUT_OF_MEMORY ? told : status;
}

}  // namespace

gptq_status quantize(const char* folder, const char* output, int threads, const char* resume,
                     int64_t memory_limit) {
  HeldBuffer report;
  return quantize(folder, output, threads, resume, memory_limit, report);
}

int64_t least_memory_limit(const char* folder, const char* output) {
  int64_t least = 0;
  for (int64_t limit = 0;;) {
    HeldBuffer report;
    if (quantize(folder, output, 1, "never", limit, report) != GPTQ_DONE) return least;
    fs::remove_all(output);
    const std::string text = text_of(report.get()), key = "\"peak_memory\":";
    least = std::strtoll(text.c_str() + text.find(key) + key.size(), nullptr, 10);
    limit = least - 1;
  }
}

void expect_named(gptq_status status, int code) {
  const std::string message = gptq_last_error_message();
  EXPECT_EQ(status, code == ENOMEM ? GPTQ_ERROR_OUT_OF_MEMORY : GPTQ_ERROR_IO) << message;
  EXPECT_NE(message.find(strerrordesc_np(code)), std::string::npos) << message;
  EXPECT_NE(message.find('/'), std::string::npos) << "no path: " << message;
}

std::string text_of(const gptq_buffer* buffer) {
  return {static_cast<const char*>(gptq_buffer_data(buffer)), static_cast<size_t>(gptq_buffer_size(buffer))};
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

bool is_whole(const fs::path& folder) {
  const std::vector<std::string> wanted{
      "config.json",          "generation_config.json", "model.safetensors", "quantize_config.json",
      "quantize_report.html", "quantize_report.json",   "tokenizer.json",    "tokenizer_config.json"};
  HeldModel model;
  return names_in(folder) == wanted && load(folder.c_str(), 1, model) == GPTQ_OK;
}

int64_t open_files() {
  const fs::directory_iterator all("/proc/self/fd");
  return std::distance(begin(all), end(all));
}

}  // namespace gptq::test
