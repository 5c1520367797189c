// From random weights to tokens: a model of the shape of Llama is written, quantized on the device and run, each step with
// its time.
//   gpu_pipeline [--device cuda] [--shape tiny|1b|7b|7b-layer] [--samples N] [--length N] [--json FILE] FOLDER
// FOLDER is made, and taken away again. Exit code 77 where the device can't be used.
#include <gptq.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "report.h"

namespace {

constexpr int kNoDevice = 77;
using Json = nlohmann::ordered_json;
using gptq::test::Report;

struct Shape {
  const char* name;
  int64_t hidden, intermediate, layers, heads, kv_heads, vocab, context;
};
constexpr Shape kShapes[] = {{"tiny", 64, 96, 2, 4, 2, 96, 96},
                             {"1b", 2048, 5632, 22, 32, 4, 32000, 4096},
                             {"7b", 4096, 11008, 32, 32, 32, 32000, 4096},
                             {"7b-layer", 4096, 11008, 1, 32, 32, 32000, 4096}};

void check(gptq_status status, const char* what) {
  if (status < 0) throw std::runtime_error(std::string(what) + ": " + gptq_last_error_message());
}

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Tensor {
  std::string name;
  int64_t rows, cols;  // rows 0: a vector
};

std::vector<Tensor> tensors_of(const Shape& s) {
  const int64_t head = s.hidden / s.heads;
  std::vector<Tensor> tensors{{"model.embed_tokens.weight", s.vocab, s.hidden}};
  for (int64_t i = 0; i < s.layers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    const auto add = [&](const char* name, int64_t rows, int64_t cols) {
      tensors.push_back({layer + name + ".weight", rows, cols});
    };
    add("input_layernorm", 0, s.hidden);
    add("self_attn.q_proj", s.hidden, s.hidden);
    add("self_attn.k_proj", s.kv_heads * head, s.hidden);
    add("self_attn.v_proj", s.kv_heads * head, s.hidden);
    add("self_attn.o_proj", s.hidden, s.hidden);
    add("post_attention_layernorm", 0, s.hidden);
    add("mlp.gate_proj", s.intermediate, s.hidden);
    add("mlp.up_proj", s.intermediate, s.hidden);
    add("mlp.down_proj", s.hidden, s.intermediate);
  }
  tensors.push_back({"model.norm.weight", 0, s.hidden});
  tensors.push_back({"lm_head.weight", s.vocab, s.hidden});
  return tensors;
}

/// bf16: ones in vectors, elsewhere numbers of both signs from 2^-7 to 2^-4.
void write_weights(const Shape& shape, const std::filesystem::path& file) {
  Json header = Json::object();
  int64_t end = 0;
  const std::vector<Tensor> tensors = tensors_of(shape);
  for (const Tensor& t : tensors) {
    const int64_t begin = end;
    end += std::max<int64_t>(t.rows, 1) * t.cols * 2;
    const Json size = t.rows > 0 ? Json{t.rows, t.cols} : Json{t.cols};
    header[t.name] = {{"dtype", "BF16"}, {"shape", size}, {"data_offsets", {begin, end}}};
  }
  std::ofstream out(file, std::ios::binary);
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  out.write(reinterpret_cast<const char*>(&length), sizeof length);
  out << text;
  std::mt19937_64 random(1);
  std::vector<uint16_t> row;
  for (const Tensor& t : tensors) {
    row.assign(static_cast<size_t>(t.cols), 0x3F80);
    for (int64_t r = 0; r < std::max<int64_t>(t.rows, 1); ++r) {
      for (size_t i = 0; t.rows > 0 && i < row.size(); ++i) {
        // a sign, one of three exponents, seven bits of mantissa
        const uint64_t bits = random();
        row[i] = static_cast<uint16_t>((bits & 0x807F) | (120 + (bits >> 20) % 3) << 7);
      }
      out.write(reinterpret_cast<const char*>(row.data()), static_cast<std::streamsize>(row.size() * 2));
    }
  }
  if (!out.flush()) throw std::runtime_error("can't write " + file.string());
}

void write_model(const Shape& s, const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  const Json config{{"architectures", {"LlamaForCausalLM"}},
                    {"model_type", "llama"},
                    {"hidden_size", s.hidden},
                    {"intermediate_size", s.intermediate},
                    {"num_hidden_layers", s.layers},
                    {"num_attention_heads", s.heads},
                    {"num_key_value_heads", s.kv_heads},
                    {"vocab_size", s.vocab},
                    {"max_position_embeddings", s.context},
                    {"rms_norm_eps", 1e-5},
                    {"rope_theta", 10000.0},
                    {"hidden_act", "silu"},
                    {"tie_word_embeddings", false},
                    {"torch_dtype", "bfloat16"}};
  std::ofstream(folder / "config.json") << config.dump(2);
  write_weights(s, folder / "model.safetensors");
}

struct Arguments {
  std::string device = "cuda", json, folder;
  const Shape* shape = &kShapes[1];
  int64_t samples = 128, length = 2048;
};

std::vector<int32_t> tokens_of(const Shape& shape, int64_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < count; ++i)
    ids.push_back(static_cast<int32_t>(random() % static_cast<uint64_t>(shape.vocab)));
  return ids;
}

void quantize(const Arguments& a, const std::string& model, const std::string& output, Report& report) {
  gptq_options* options = nullptr;
  gptq_quantizer* quantizer = nullptr;
  check(gptq_options_create(&options), "options");
  check(gptq_options_set_string(options, GPTQ_KEY_DEVICE, a.device.c_str()), "device");
  check(gptq_options_set_int(options, GPTQ_KEY_GROUP_SIZE, a.shape->hidden % 128 == 0 ? 128 : 32),
        "group_size");
  check(gptq_quantizer_create(model.c_str(), output.c_str(), options, &quantizer), "a quantizer");
  for (int64_t i = 0; i < a.samples; ++i) {
    const auto ids = tokens_of(*a.shape, a.length, static_cast<uint64_t>(i + 1));
    check(gptq_quantizer_add_calibration_tokens(quantizer, ids.data(), static_cast<int64_t>(ids.size())),
          "calibration");
  }
  const double begin = now();
  check(gptq_quantizer_run(quantizer), "quantization");
  const double seconds = now() - begin;
  gptq_quantizer_free(quantizer);
  gptq_options_free(options);
  report.add({{"name", "quantize"}, {"samples", a.samples}, {"length", a.length}, {"seconds", seconds}});
  std::printf("quantized by %ld x %ld tokens in %.1f s\n", static_cast<long>(a.samples),
              static_cast<long>(a.length), seconds);
}

void generate(const Arguments& a, const std::string& folder, Report& report) {
  gptq_options* options = nullptr;
  gptq_model* model = nullptr;
  check(gptq_options_create(&options), "options");
  check(gptq_options_set_string(options, GPTQ_KEY_DEVICE, a.device.c_str()), "device");
  const double begin = now();
  check(gptq_model_load(folder.c_str(), options, &model), "the quantized model");
  report.add({{"name", "load"}, {"seconds", now() - begin}});
  const int64_t tokens = std::min<int64_t>(256, a.shape->context / 4);
  for (const int64_t prompt : {a.shape->context / 32, a.shape->context / 2}) {
    double prefill = 1e30, decode = 1e30;
    for (int round = 0; round < 3; ++round) {
      gptq_session* session = nullptr;
      gptq_options* generation = nullptr;
      check(gptq_session_create(model, nullptr, &session), "a session");
      const auto ids = tokens_of(*a.shape, prompt, 99);
      check(gptq_options_create(&generation), "options");
      check(gptq_options_set_int(generation, GPTQ_KEY_MAX_TOKENS, tokens), "max_tokens");
      check(gptq_options_set_int(generation, GPTQ_KEY_IGNORE_EOS, 1), "ignore_eos");
      check(gptq_session_append_tokens(session, ids.data(), prompt), "a prompt");
      const double at = now();
      check(gptq_session_begin(session, generation), "prefill");
      prefill = std::min(prefill, now() - at);
      check(gptq_session_step(session), "a step");  // the first token is of the prompt's pass
      const double first = now();
      for (int64_t i = 1; i < tokens; ++i) check(gptq_session_step(session), "a step");
      decode = std::min(decode, (now() - first) / static_cast<double>(tokens - 1));
      gptq_options_free(generation);
      gptq_session_free(session);
    }
    report.add({{"name", "prefill"},
                {"tokens", prompt},
                {"tokens_per_second", static_cast<double>(prompt) / prefill}});
    report.add({{"name", "decode"}, {"behind", prompt}, {"tokens_per_second", 1 / decode}});
    std::printf("behind %ld tokens: prefill %.0f tokens/s, decode %.1f tokens/s\n", static_cast<long>(prompt),
                static_cast<double>(prompt) / prefill, 1 / decode);
  }
  gptq_model_free(model);
  gptq_options_free(options);
}

Arguments arguments_of(int argc, char** argv) {
  Arguments a;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const auto value = [&] {
      if (i + 1 == argc) throw std::invalid_argument(word + " without a value");
      return std::string(argv[++i]);
    };
    if (word == "--device") {
      a.device = value();
    } else if (word == "--json") {
      a.json = value();
    } else if (word == "--samples") {
      a.samples = std::stoll(value());
    } else if (word == "--length") {
      a.length = std::stoll(value());
    } else if (word == "--shape") {
      const std::string name = value();
      a.shape = std::find_if(std::begin(kShapes), std::end(kShapes),
                             [&](const Shape& s) { return name == s.name; });
      if (a.shape == std::end(kShapes))
        throw std::invalid_argument("shape " + name + ", wanted tiny, 1b, 7b or 7b-layer");
    } else if (a.folder.empty() && word[0] != '-') {
      a.folder = word;
    } else {
      throw std::invalid_argument("what is " + word + "?");
    }
  }
  if (a.folder.empty()) throw std::invalid_argument("no folder");
  a.length = std::min(a.length, a.shape->context);
  return a;
}

int run(const Arguments& a) {
  if (gptq_device_check(a.device.c_str()) != GPTQ_OK) {
    std::fprintf(stderr, "no device to run on: %s\n", gptq_last_error_message());
    return kNoDevice;
  }
  const std::filesystem::path folder = a.folder;
  if (std::filesystem::exists(folder)) {
    std::fprintf(stderr, "gpu_pipeline: %s is there already\n", a.folder.c_str());
    return 2;
  }
  int code = 0;
  try {
    Report report(a.json);
    report.set("shape", a.shape->name);
    write_model(*a.shape, folder / "model");
    quantize(a, (folder / "model").string(), (folder / "quantized").string(), report);
    generate(a, (folder / "quantized").string(), report);
    report.complete();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gpu_pipeline: %s\n", error.what());
    code = 1;
  }
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);  // what is said is there, also if time runs out
  try {
    return run(arguments_of(argc, argv));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gpu_pipeline: %s\n", error.what());
    return 2;
  }
}
