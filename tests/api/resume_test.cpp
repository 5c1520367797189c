// Going on with an unfinished job: what is the same job, what is another one and how that is told, who may work at it.
#include <gptq.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>

#include "support/test_data.h"

namespace {

namespace fs = std::filesystem;
using gptq::test::read_file;
using gptq::test::source_dir;
using gptq::test::TemporaryFolder;
using gptq::test::write_file;
using nlohmann::json;

std::string described(int64_t index) {
  gptq_buffer* buffer = nullptr;
  EXPECT_EQ(gptq_option_describe(index, &buffer), GPTQ_OK);
  std::string text = static_cast<const char*>(gptq_buffer_data(buffer));
  gptq_buffer_free(buffer);
  return text;
}

/// A copy of a model of two layers, the job's options, and where its output goes.
class Bench {
 public:
  explicit Bench(const char* model = "llama") {
    fs::copy(source_dir() / "tests/golden/models" / model, folder_ / "model");
    for (const auto& entry : fs::directory_iterator(folder_ / "model")) {
      fs::permissions(entry, fs::perms::owner_write, fs::perm_options::add);
    }
    fs::create_directory(folder_ / "to");
  }

  fs::path model() const { return folder_ / "model"; }
  fs::path output() const { return folder_ / "to/out"; }
  fs::path work() const { return folder_ / "to/.out.unfinished"; }
  json options = {{"group_size", 16}, {"threads", 1}};
  int32_t first_token = 1;

  /// Makes `steps` steps at most; the last status.
  gptq_status run(int steps = 100, const std::function<void(int)>& before_step = nullptr) {
    gptq_options* o = nullptr;
    gptq_quantizer* quantizer = nullptr;
    EXPECT_EQ(gptq_options_create(&o), GPTQ_OK);
    EXPECT_EQ(gptq_options_set_json(o, options.dump().c_str(), -1), GPTQ_OK) << gptq_last_error_message();
    gptq_status status = gptq_quantizer_create(model().c_str(), output().c_str(), o, &quantizer);
    const int32_t ids[] = {first_token, 10, 20, 30, 40, 50};
    if (status == GPTQ_OK) status = gptq_quantizer_add_calibration_tokens(quantizer, ids, std::size(ids));
    for (int i = 0; i < steps && status == GPTQ_OK; ++i) {
      if (before_step) before_step(i);
      status = gptq_quantizer_step(quantizer);
      if (status >= 0) gptq_quantizer_get_stat(quantizer, "progress", &progress);
    }
    if (quantizer != nullptr) {
      gptq_buffer* buffer = nullptr;
      EXPECT_EQ(gptq_quantizer_report_json(quantizer, &buffer), GPTQ_OK);
      report = json::parse(static_cast<const char*>(gptq_buffer_data(buffer)));
      gptq_buffer_free(buffer);
    }
    gptq_quantizer_free(quantizer);
    gptq_options_free(o);
    return status;
  }

  /// A calibration and one layer of two.
  void begin() {
    ASSERT_EQ(run(2), GPTQ_OK) << gptq_last_error_message();
    ASSERT_TRUE(fs::exists(work()));
    ASSERT_FALSE(fs::exists(output()));
  }

  /// What a run that nothing disturbs writes.
  std::string whole() {
    fs::rename(folder_ / "to", folder_ / "aside");
    fs::create_directory(folder_ / "to");
    EXPECT_EQ(run(), GPTQ_DONE) << gptq_last_error_message();
    std::string bytes = weights();
    fs::remove_all(folder_ / "to");
    fs::rename(folder_ / "aside", folder_ / "to");
    return bytes;
  }
  std::string weights() const { return read_file(output() / "model.safetensors"); }

  /// The run is refused, saying so, and the work stays.
  void expect_refused(const std::string& subject) {
    EXPECT_EQ(run(), GPTQ_ERROR_IO);
    const std::string message = gptq_last_error_message();
    EXPECT_NE(message.find(subject), std::string::npos) << message;
    EXPECT_NE(message.find(".out.unfinished"), std::string::npos) << message;
    EXPECT_TRUE(fs::exists(work() / "layer-0"));
    EXPECT_FALSE(fs::exists(output()));
  }

  json report;
  double progress = 0;

 private:
  TemporaryFolder folder_;
};

/// Changes a byte of a tensor's data in a file of safetensors.
void change_tensor(const fs::path& file, const std::string& name) {
  std::string bytes = read_file(file);
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  const json header = json::parse(bytes.substr(8, length));
  bytes[8 + length + header[name]["data_offsets"][0].get<size_t>()] ^= 1;
  write_file(file, bytes);
}

TEST(Resume, GoesOnAfterTheLastLayer) {
  Bench bench;
  const std::string whole = bench.whole();
  const json modules = bench.report["modules"];
  bench.begin();
  EXPECT_EQ(bench.report["modules"].size(), modules.size() / 2);
  bench.options["threads"] = 2;
  ASSERT_EQ(bench.run(2), GPTQ_OK);
  EXPECT_EQ(bench.progress, 0.5);
  ASSERT_EQ(bench.run(), GPTQ_DONE) << gptq_last_error_message();
  EXPECT_EQ(bench.weights(), whole);
  EXPECT_FALSE(fs::exists(bench.work()));
  ASSERT_EQ(bench.report["modules"].size(), modules.size());
  double solving = 0;  // in both runs
  for (const json& module : bench.report["modules"]) solving += module["seconds"].get<double>();
  EXPECT_GT(bench.report["seconds"], solving);
  for (size_t i = 0; i < modules.size(); ++i) {
    for (const char* key : {"name", "bits", "group_size", "weights", "bits_per_weight", "relative_error",
                            "loss", "damp", "method", "note"}) {
      EXPECT_EQ(bench.report["modules"][i][key], modules[i][key]);
    }
  }
}

TEST(Resume, TextThatTheModelWroteIsNotWrittenAgain) {
  const TemporaryFolder folder;
  const auto model = (source_dir() / "samples/model").string(), out = (folder / "out").string();
  gptq_options* options = nullptr;
  ASSERT_EQ(gptq_options_create(&options), GPTQ_OK);
  ASSERT_EQ(gptq_options_set_json(options, R"({"calibration_samples": 3, "calibration_length": 40})", -1),
            GPTQ_OK);
  std::string kept;
  for (int run = 0; run < 2; ++run) {
    gptq_quantizer* quantizer = nullptr;
    ASSERT_EQ(gptq_quantizer_create(model.c_str(), out.c_str(), options, &quantizer), GPTQ_OK);
    ASSERT_EQ(gptq_quantizer_step(quantizer), GPTQ_OK);
    const std::string now = read_file(folder / ".out.unfinished/calibration");
    EXPECT_EQ(now.size(), 4u * (1 + 3 + 3 * 40));
    EXPECT_TRUE(run == 0 || now == kept);
    kept = now;
    EXPECT_TRUE(run == 0 || gptq_quantizer_run(quantizer) == GPTQ_OK) << gptq_last_error_message();
    gptq_quantizer_free(quantizer);
  }
  EXPECT_TRUE(fs::exists(folder / "out/model.safetensors"));
  gptq_options_free(options);
}

/// Another value that the option may have.
json other_value(const json& option) {
  if (option.contains("values")) {
    for (const json& value : option["values"]) {
      if (value != option["default"]) return value;
    }
    return nullptr;
  }
  if (option["name"] == "bits") return 8;
  if (option["name"] == "calibration_length") return 5;
  if (option["name"] == "group_size") return 32;
  if (option["type"] == "float") return option["default"].get<double>() / 2 + 0.001;
  const int64_t value = option["default"];
  return value < option["max"] ? value + 1 : value - 1;
}

/// Options that finished layers know nothing of.
const std::set<std::string> kOfTheOutputAlone{"overwrite", "resume", "report", "max_shard_size",
                                              "memory_limit"};

TEST(Resume, EachOptionThatDecidesTheResultIsNamed) {
  Bench bench;
  bench.begin();
  const json usual = bench.options;
  int named = 0;
  for (int64_t i = 0; i < gptq_option_count(); ++i) {
    const json option = json::parse(described(i));
    const std::string name = option["name"], scope = option["scope"];
    if (scope.find("quantizer") == std::string::npos || kOfTheOutputAlone.contains(name)) continue;
    const json value = other_value(option);
    if (value.is_null()) continue;  // any text
    bench.options = usual;
    bench.options[name] = value;
    bench.expect_refused("option '" + name + "'");
    ++named;
  }
  EXPECT_GT(named, 10);
  bench.options = usual;
  bench.options["overwrite"] = 1;
  bench.options["report"] = 0;
  bench.options["max_shard_size"] = 100000;
  EXPECT_EQ(bench.run(), GPTQ_DONE) << gptq_last_error_message();
}

TEST(Resume, UnderAMemoryLimitWithStatesInFiles) {
  Bench bench;
  const std::string whole = bench.whole();
  EXPECT_EQ(bench.report["planned"]["file_bytes"], 0);
  EXPECT_EQ(bench.report["planned"]["modules"], bench.report["modules"].size());
  bench.begin();
  int64_t least = bench.report["planned"]["peak_memory"], files = 0;
  while (true) {  // ever less, until nothing more can go to files
    bench.options["memory_limit"] = least - 1;
    if (bench.run(1) != GPTQ_OK) break;
    EXPECT_LT(bench.report["planned"]["peak_memory"], least);
    least = bench.report["planned"]["peak_memory"];
    files = bench.report["planned"]["file_bytes"];
  }
  const std::string message = gptq_last_error_message();
  EXPECT_EQ(gptq_last_error_code(), GPTQ_ERROR_INVALID_ARGUMENT) << message;
  EXPECT_NE(message.find("option 'memory_limit' is " + std::to_string(least - 1)), std::string::npos)
      << message;
  EXPECT_NE(message.find("needs " + std::to_string(least)), std::string::npos) << message;
  EXPECT_GT(files, 0);
  EXPECT_FALSE(fs::exists(bench.output()));
  bench.options["memory_limit"] = least;
  ASSERT_EQ(bench.run(), GPTQ_DONE) << gptq_last_error_message();
  EXPECT_EQ(bench.weights(), whole);
  EXPECT_EQ(bench.whole(), whole);
}

TEST(Resume, AnotherCalibrationIsRefused) {
  Bench bench;
  bench.begin();
  bench.first_token = 2;
  bench.expect_refused("calibration");
  bench.first_token = 1;
  EXPECT_EQ(bench.run(), GPTQ_DONE) << gptq_last_error_message();
}

TEST(Resume, AnotherModelIsRefused) {
  for (const char* tensor : {"model.embed_tokens.weight", "model.layers.0.mlp.up_proj.weight",
                             "model.layers.0.input_layernorm.weight"}) {
    Bench bench;
    bench.begin();
    change_tensor(bench.model() / "model.safetensors", tensor);
    bench.expect_refused(std::string(tensor).find("layers") != std::string::npos ? "weights of layer 1"
                                                                                 : "outside the layers");
  }
  Bench bench;
  bench.begin();
  const std::string config = read_file(bench.model() / "config.json");
  write_file(bench.model() / "config.json", config + "\n");
  bench.expect_refused("config.json");
  write_file(bench.model() / "config.json", config);
  // what no finished layer was made from is not known yet
  change_tensor(bench.model() / "model.safetensors", "model.layers.1.mlp.up_proj.weight");
  EXPECT_EQ(bench.run(), GPTQ_DONE) << gptq_last_error_message();
  const std::string went_on = bench.weights();
  fs::remove_all(bench.output());
  EXPECT_EQ(went_on, bench.whole());
}

TEST(Resume, RestartAndNever) {
  Bench bench;
  bench.begin();
  bench.options["bits"] = 8;
  bench.expect_refused("option 'bits' is '4', that of this job '8'");
  bench.options["resume"] = "restart";
  ASSERT_EQ(bench.run(0), GPTQ_OK) << gptq_last_error_message();
  EXPECT_TRUE(fs::exists(bench.work() / "layer-0"));  // until the first step
  ASSERT_EQ(bench.run(2), GPTQ_OK) << gptq_last_error_message();
  bench.options["resume"] = "auto";
  ASSERT_EQ(bench.run(2), GPTQ_OK) << gptq_last_error_message();  // 8 bits by now
  bench.options["resume"] = "never";
  ASSERT_EQ(bench.run(0), GPTQ_OK) << gptq_last_error_message();
  EXPECT_TRUE(fs::exists(bench.work() / "layer-0"));
  ASSERT_EQ(bench.run(2), GPTQ_OK) << gptq_last_error_message();
  EXPECT_FALSE(fs::exists(bench.work()));
}

TEST(Resume, DamagedWorkIsDoneAgainOrRefused) {
  Bench bench;
  const std::string whole = bench.whole();
  const fs::path layer = bench.work() / "layer-0", manifest = bench.work() / "job.json";
  const std::function<void()> damages[] = {
      [&] { fs::remove(layer); },
      [&] { fs::resize_file(layer, fs::file_size(layer) - 1); },
      [&] {
        std::string bytes = read_file(layer);
        bytes[bytes.size() / 2] ^= 4;
        write_file(layer, bytes);
      },
  };
  for (const auto& damage : damages) {
    bench.begin();
    damage();
    ASSERT_EQ(bench.run(), GPTQ_DONE) << gptq_last_error_message();
    EXPECT_EQ(bench.weights(), whole);
    fs::remove_all(bench.output());
  }
  bench.begin();
  const json good = json::parse(read_file(manifest));
  const auto refused = [&](const std::string& text, gptq_status status, const char* says) {
    write_file(manifest, text);
    EXPECT_EQ(bench.run(), status);
    EXPECT_NE(std::string(gptq_last_error_message()).find(says), std::string::npos)
        << gptq_last_error_message();
  };
  const auto with = [&](const char* pointer, const json& value) {
    json changed = good;
    changed[json::json_pointer(pointer)] = value;
    return changed.dump();
  };
  refused("{", GPTQ_ERROR_CORRUPT, "job.json");
  refused(with("/format", 2), GPTQ_ERROR_UNSUPPORTED, "'format' is 2, wanted 1");
  refused(with("/library", "0.0.1"), GPTQ_ERROR_IO, "library is '0.0.1'");
  refused(with("/layers/0/modules/0/rows", -1), GPTQ_ERROR_CORRUPT, "'rows' is -1");
  refused(with("/layers", 7), GPTQ_ERROR_CORRUPT, "'layers'");
  const std::pair<const char*, json> odd[] = {{"bits_per_weight", 1e300},
                                              {"bits_per_weight", -1},
                                              {"seconds", -0.5},
                                              {"seconds", 1e12},
                                              {"weights", INT64_MAX},
                                              {"memory", INT64_MAX},
                                              {"memory", -1},
                                              {"damp", 2},
                                              {"loss", "x"},
                                              {"bits", 9},
                                              {"relative_error", -1e-9},
                                              {"scales", {1, 2}},
                                              {"method", "guessed"},
                                              {"group_size", -2},
                                              {"scales", {0, 0, 0, 0, -1}}};
  for (const auto& [key, value] : odd) {
    const std::string pointer = std::string("/layers/0/modules/0/") + key;
    refused(with(pointer.c_str(), value), GPTQ_ERROR_CORRUPT, ("'" + std::string(key) + "'").c_str());
  }
  refused(with("/seconds", -1), GPTQ_ERROR_CORRUPT, "'seconds'");
  json more = good;
  while (more["layers"].size() < 3) more["layers"].push_back(good["layers"][0]);
  refused(more.dump(), GPTQ_ERROR_CORRUPT, "'layers' has 3, the model 2");
  write_file(manifest, with("/layers/0/modules/0/groups", INT32_MAX));
  ASSERT_EQ(bench.run(), GPTQ_DONE) << gptq_last_error_message();  // the file is not that long: done again
  EXPECT_EQ(bench.weights(), whole);

  // layers of other matrices than the model's, of the same size
  const auto swapped = [](json& module) { std::swap(module["rows"], module["cols"]); };
  const auto renamed = [](json& module) { module["name"] = "another"; };
  for (const std::function<void(json&)>& change :
       {std::function<void(json&)>(swapped), std::function<void(json&)>(renamed)}) {
    fs::remove_all(bench.output());
    bench.begin();
    json other = json::parse(read_file(manifest));
    for (json& module : other["layers"][0]["modules"]) change(module);
    write_file(manifest, other.dump());
    ASSERT_EQ(bench.run(), GPTQ_DONE) << gptq_last_error_message();
    EXPECT_EQ(bench.weights(), whole);
  }
}

TEST(Resume, OneJobAtATime) {
  Bench bench;
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    bench.run(3, [&](int step) {
      if (step != 2) return;
      const bool told = write(ready[1], "x", 1) == 1;
      while (told) pause();
    });
    _exit(0);
  }
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  EXPECT_EQ(bench.run(), GPTQ_ERROR_BUSY);
  const std::string message = gptq_last_error_message();
  EXPECT_NE(message.find("process " + std::to_string(child) + " "), std::string::npos) << message;
  EXPECT_NE(message.find("out"), std::string::npos) << message;
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  close(ready[0]);
  close(ready[1]);
  EXPECT_EQ(bench.run(), GPTQ_DONE) << gptq_last_error_message();
  EXPECT_FALSE(fs::exists(bench.work()));
}

TEST(Resume, AShardThatGoesMissing) {
  Bench bench("llama-sharded");
  const std::string whole = bench.whole();
  const fs::path shard = bench.model() / "model-00002-of-00002.safetensors", away = bench.model() / "away";
  ASSERT_EQ(bench.run(100,
                      [&](int step) {
                        if (step == 2) fs::rename(shard, away);
                      }),
            GPTQ_ERROR_IO);
  EXPECT_NE(std::string(gptq_last_error_message()).find(shard.filename()), std::string::npos);
  EXPECT_EQ(bench.run(), GPTQ_ERROR_IO);
  EXPECT_TRUE(fs::exists(bench.work() / "layer-0"));
  fs::rename(away, shard);
  ASSERT_EQ(bench.run(), GPTQ_DONE) << gptq_last_error_message();
  EXPECT_EQ(bench.weights(), whole);
}

TEST(Resume, AFolderThatMayNotBeWritten) {
  if (geteuid() == 0) GTEST_SKIP() << "root writes everywhere";
  Bench bench;
  bench.begin();
  fs::permissions(bench.work(), fs::perms::owner_read | fs::perms::owner_exec);
  EXPECT_EQ(bench.run(), GPTQ_ERROR_IO);
  fs::permissions(bench.work(), fs::perms::owner_all);
  fs::permissions(bench.work().parent_path(), fs::perms::owner_read | fs::perms::owner_exec);
  EXPECT_EQ(bench.run(), GPTQ_ERROR_IO);  // the work goes on, but the output can't appear
  fs::permissions(bench.work().parent_path(), fs::perms::owner_all);
  EXPECT_EQ(bench.run(), GPTQ_DONE) << gptq_last_error_message();
}

}  // namespace
