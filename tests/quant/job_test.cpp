// Whole jobs on the sample model: what comes out loads, is near the original, and appears whole or not at all.
#include "quant/job.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "format/gptq_layout.h"
#include "support/reference.h"

namespace gptq::test {
namespace {

using nlohmann::json;

const Progress kQuiet = [](int64_t, int64_t, const std::string&) {};

fs::path sample_folder() { return source_dir() / "samples/model"; }

QuantOptions small_options() {
  QuantOptions options;
  options.calibration_samples = 8;
  options.calibration_length = 64;
  return options;
}

std::string stories() { return read_file(source_dir() / "samples/stories.txt"); }

void run(Job& job) {
  while (job.step() == JobStep::more) continue;
}

void quantize(const fs::path& source, const fs::path& target, const QuantOptions& options, int threads = 2) {
  ModelOptions model;
  model.backend.threads = threads;
  Job job(source, target, model, options, kQuiet);
  job.add_text(stories());
  run(job);
}

/// Mean KL divergence in nat per token of the quantized model from the original, over the stories.
double divergence(const fs::path& quantized) {
  const auto original = load_model(sample_folder()), other = load_model(quantized);
  auto ids = original->tokenizer()->encode(stories(), AddSpecial::yes, ParseSpecial::no);
  ids.resize(256);
  const auto p = causal_logits(original, ids, 256), q = causal_logits(other, ids, 256);
  const auto vocab = static_cast<size_t>(original->spec().vocab);
  double total = 0;
  for (size_t t = 0; t < ids.size(); ++t) {
    double sum_p = 0, sum_q = 0;
    for (size_t v = t * vocab; v < (t + 1) * vocab; ++v) {
      sum_p += std::exp(double{p[v]});
      sum_q += std::exp(double{q[v]});
    }
    for (size_t v = t * vocab; v < (t + 1) * vocab; ++v) {
      const double log_p = double{p[v]} - std::log(sum_p), log_q = double{q[v]} - std::log(sum_q);
      total += std::exp(log_p) * (log_p - log_q);
    }
  }
  return total / static_cast<double>(ids.size());
}

struct Setting {
  const char* name;
  void (*set)(QuantOptions&);
  double most;  // KL
};

class JobSettings : public testing::TestWithParam<Setting> {};

TEST_P(JobSettings, StaysNearTheOriginal) {
  const TemporaryFolder folder;
  QuantOptions options = small_options();
  GetParam().set(options);
  quantize(sample_folder(), folder / "out", options);
  const double kl = divergence(folder / "out");
  EXPECT_LT(kl, GetParam().most);
  EXPECT_GT(kl, 0);
}

constexpr Setting kSettings[] = {
    {"Default", [](QuantOptions&) {}, 0.08},
    {"Asym", [](QuantOptions& o) { o.solver.symmetric = Symmetric::no; }, 0.06},
    {"AsymV1",
     [](QuantOptions& o) {
       o.solver.symmetric = Symmetric::no;
       o.format = QuantFormat::gptq;
     },
     0.06},
    {"SymV2", [](QuantOptions& o) { o.format = QuantFormat::gptq_v2; }, 0.08},
    {"CompressedTensors", [](QuantOptions& o) { o.format = QuantFormat::compressed_tensors; }, 0.08},
    {"CompressedTensorsAsym",
     [](QuantOptions& o) {
       o.solver.symmetric = Symmetric::no;
       o.format = QuantFormat::compressed_tensors;
     },
     0.06},
    {"Group32", [](QuantOptions& o) { o.solver.group_size = 32; }, 0.05},
    {"PerChannel", [](QuantOptions& o) { o.solver.group_size = -1; }, 0.12},
    {"ActOrder", [](QuantOptions& o) { o.solver.order = Order::act; }, 0.08},
    {"ActOrderStatic",
     [](QuantOptions& o) {
       o.solver.order = Order::act;
       o.solver.static_groups = StaticGroups::yes;
     },
     0.08},
    {"NoOrder", [](QuantOptions& o) { o.solver.order = Order::none; }, 0.1},
    {"NotSequential", [](QuantOptions& o) { o.true_sequential = TrueSequential::no; }, 0.08},
    {"EightBits", [](QuantOptions& o) { o.solver.bits = 8; }, 0.001},
    {"ThreeBits", [](QuantOptions& o) { o.solver.bits = 3; }, 0.4},
    {"TwoBitsGroup16",
     [](QuantOptions& o) {
       o.solver.bits = 2;
       o.solver.group_size = 16;
       o.solver.symmetric = Symmetric::no;
     },
     1.2},
};

INSTANTIATE_TEST_SUITE_P(All, JobSettings, testing::ValuesIn(kSettings),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(Job, ThreadsDoNotChangeAByte) {
  const TemporaryFolder folder;
  quantize(sample_folder(), folder / "one", small_options(), 1);
  quantize(sample_folder(), folder / "three", small_options(), 3);
  for (const char* file : {"model.safetensors", "config.json", "quantize_config.json"}) {
    EXPECT_EQ(read_file(folder / "one" / file), read_file(folder / "three" / file)) << file;
  }
}

TEST(Job, WritesWhatOthersLoad) {
  const TemporaryFolder folder;
  quantize(sample_folder(), folder / "out", small_options());
  const json config = json::parse(read_file(folder / "out/config.json"));
  const json quantization = json::parse(read_file(folder / "out/quantize_config.json"));
  EXPECT_EQ(config["quantization_config"], quantization);
  EXPECT_EQ(quantization["bits"], 4);
  EXPECT_EQ(quantization["quant_method"], "gptq");
  EXPECT_EQ(quantization["desc_act"], false);
  json original = json::parse(read_file(sample_folder() / "config.json"));
  original["quantization_config"] = quantization;
  EXPECT_EQ(config, original);
  EXPECT_EQ(read_file(folder / "out/tokenizer.json"), read_file(sample_folder() / "tokenizer.json"));
  EXPECT_EQ(read_file(folder / "out/generation_config.json"),
            read_file(sample_folder() / "generation_config.json"));

  const auto checkpoint = open_checkpoint(folder / "out"), source = open_checkpoint(sample_folder());
  const std::string module = "model.layers.2.mlp.down_proj";
  EXPECT_EQ(checkpoint->find(module + ".weight"), nullptr);
  EXPECT_EQ(checkpoint->find(module + ".qweight")->shape, (std::vector<int64_t>{768 / 8, 256}));
  EXPECT_EQ(checkpoint->find(module + ".qzeros")->shape, (std::vector<int64_t>{6, 256 / 8}));
  EXPECT_EQ(checkpoint->find(module + ".scales")->dtype, DType::f16);
  EXPECT_EQ(checkpoint->find(module + ".g_idx")->shape, (std::vector<int64_t>{768}));
  const Tensor a = checkpoint->read("model.embed_tokens.weight", Access::read);
  const Tensor b = source->read("model.embed_tokens.weight", Access::read);
  EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(a.data), a.bytes),
            std::string_view(reinterpret_cast<const char*>(b.data), b.bytes));
}

TEST(Job, FusedAndTransposedModulesWithBias) {
  const TemporaryFolder folder;
  const fs::path gpt2 = source_dir() / "tests/golden/models/gpt2";
  QuantOptions options = small_options();
  options.solver.bits = 8;
  options.solver.group_size = 16;
  options.calibration_length = 20;
  {
    Job job(gpt2, folder / "out", {}, options, kQuiet);
    std::vector<int32_t> ids;
    for (int i = 0; i < 20; ++i) ids.push_back(i * 3 % 60);
    for (int i = 0; i < 12; ++i, std::rotate(ids.begin(), ids.begin() + 5, ids.end())) job.add_tokens(ids);
    run(job);
  }
  const auto ids = read_reference(gpt2).input_ids[0];
  EXPECT_LT(relative_difference(causal_logits(load_model(folder / "out"), ids, 20),
                                causal_logits(load_model(gpt2), ids, 20)),
            0.03);
  EXPECT_NE(open_checkpoint(folder / "out")->find("transformer.h.0.attn.c_attn.bias"), nullptr);
}

TEST(Job, WritesItsOwnCalibrationTheSameEachTime) {
  const TemporaryFolder folder;
  for (const char* name : {"a", "b"}) {
    Job job(sample_folder(), folder / name, {}, small_options(), kQuiet);
    run(job);
    const json report = json::parse(job.report());
    EXPECT_EQ(report["calibration"]["source"], "written by the model");
    EXPECT_EQ(report["calibration"]["tokens"], 8 * 64);
    EXPECT_EQ(report["modules"].size(), 4u * 7);
  }
  EXPECT_EQ(read_file(folder / "a/model.safetensors"), read_file(folder / "b/model.safetensors"));
  EXPECT_LT(divergence(folder / "a"), 0.12);
}

TEST(Job, RefusesEarly) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "full");
  write_file(folder / "full/precious.txt", "keep me");
  EXPECT_THROW(Job(sample_folder(), folder / "full", {}, small_options(), kQuiet), Error);
  EXPECT_EQ(read_file(folder / "full/precious.txt"), "keep me");
  EXPECT_THROW(Job(sample_folder(), folder / "no/parent", {}, small_options(), kQuiet), Error);
  EXPECT_THROW(Job(folder / "nothing", folder / "out", {}, small_options(), kQuiet), Error);
  QuantOptions long_sequences = small_options();
  long_sequences.calibration_length = 513;
  EXPECT_THROW(Job(sample_folder(), folder / "out", {}, long_sequences, kQuiet), Error);
  QuantOptions transposed = small_options();
  transposed.calibration_length = 8;
  transposed.format = QuantFormat::compressed_tensors;
  try {
    Job(source_dir() / "tests/golden/models/gpt2", folder / "out", {}, transposed, kQuiet);
    ADD_FAILURE() << "took transposed weights";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::unsupported) << error.what();
    EXPECT_NE(std::string(error.what()).find("transposed weights of gpt2"), std::string::npos)
        << error.what();
  }
  quantize(sample_folder(), folder / "once", small_options());
  EXPECT_THROW(Job(folder / "once", folder / "twice", {}, small_options(), kQuiet), Error);
  EXPECT_FALSE(fs::exists(folder / "out"));
  EXPECT_FALSE(fs::exists(folder / "twice"));
}

TEST(Job, OverwritesOnlyWhenAsked) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "out");
  write_file(folder / "out/old.txt", "old");
  QuantOptions options = small_options();
  options.overwrite = Overwrite::yes;
  {
    Job job(sample_folder(), folder / "out", {}, options, kQuiet);
    job.add_text(stories());
    job.step();
    EXPECT_EQ(read_file(folder / "out/old.txt"), "old");
    run(job);
  }
  EXPECT_FALSE(fs::exists(folder / "out/old.txt"));
  EXPECT_TRUE(fs::exists(folder / "out/config.json"));
}

TEST(Job, BadCalibration) {
  const TemporaryFolder folder;
  Job job(sample_folder(), folder / "out", {}, small_options(), kQuiet);
  EXPECT_THROW(job.add_tokens({}), Error);
  EXPECT_THROW(job.add_tokens(std::vector<int32_t>{4096}), Error);
  EXPECT_THROW(job.add_tokens(std::vector<int32_t>{-1}), Error);
  EXPECT_THROW(job.add_tokens(std::vector<int32_t>(513, 1)), Error);
  job.add_text("a");
  EXPECT_THROW(job.step(), Error);
  EXPECT_THROW(job.step(), Error);
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(Job, DocumentsOfJsonLines) {
  const TemporaryFolder folder;
  QuantOptions options = small_options();
  options.calibration_format = CalibrationFormat::jsonl;
  options.calibration_packing = Packing::no;
  Job job(sample_folder(), folder / "out", {}, options, kQuiet);
  job.add_text(
      "{\"text\":\"Once upon a time there was a cat who lived in a small house.\"}\n{\"text\":\"Hi.\"}\n"
      "[5,6,7,8,9,10,11,12]\n");
  EXPECT_THROW(job.add_text("\n"), Error);
  run(job);
  const json calibration = json::parse(job.report())["calibration"];
  EXPECT_EQ(calibration["source"], "text and tokens");
  EXPECT_EQ(calibration["documents"], 2);
  EXPECT_EQ(calibration["too_short"], 1);
  EXPECT_EQ(calibration["sequences"], 2);
}

TEST(Job, ReadsTheTokenizerOnceForAllCalibration) {
  const TemporaryFolder folder;
  fs::copy(sample_folder(), folder / "model");
  write_file(folder / "model/chat_template.jinja", "{{ bos_token }}{{ messages[0].content }}");
  QuantOptions options = small_options();
  options.calibration_format = CalibrationFormat::jsonl;
  Job job(folder / "model", folder / "out", {}, options, kQuiet);
  const json chat = {{"messages", {{{"role", "user"}, {"content", stories()}}}}};
  job.add_text(chat.dump());
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"})
    fs::rename(folder / "model" / name, folder / name);
  job.add_text(chat.dump());
  job.step();
  EXPECT_EQ(json::parse(job.report())["calibration"]["documents"], 2);
}

TEST(Job, SequencesOfFilesAreSamplesThoseGivenOneByOneAreNot) {
  QuantOptions options = small_options();
  options.calibration_format = CalibrationFormat::jsonl;
  options.calibration_samples = 3;
  const json text = stories();
  const auto calibration = [&](const std::string& lines, int given, std::optional<uint64_t> seed) {
    const TemporaryFolder folder;
    options.seed = seed;
    Job job(sample_folder(), folder / "out", {}, options, kQuiet);
    job.add_text(lines);
    for (int32_t i = 0; i < given; ++i) job.add_tokens(std::vector<int32_t>{1, 2, 3, i});
    job.step();
    return json::parse(job.report())["calibration"];
  };
  std::string many;
  for (int length = 1; length <= 5; ++length) many += json(std::vector<int>(length, 7)).dump() + "\n";
  const auto figures = [](const json& c) {
    return std::array{c["sequences"].get<int>(), c["tokens"].get<int>(), c["left_out"].get<int>()};
  };
  const json first = calibration(many, 0, {});
  EXPECT_EQ(first["source"], "tokens");
  EXPECT_EQ(figures(first), (std::array{3, 1 + 2 + 3, 2}));
  EXPECT_EQ(figures(calibration(many, 4, {})), (std::array{7, 6 + 16, 2}));
  EXPECT_EQ(figures(calibration(many, 0, 3))[2], 2);
  EXPECT_NE(calibration(many, 0, 3)["tokens"], 6);

  const json both = calibration("[7,7]\n" + text.dump() + "\n", 0, {});
  EXPECT_EQ(both["source"], "text and tokens");
  EXPECT_EQ(figures(both), (std::array{3, 2 + 2 * 64, 0}));
  const json none_left = calibration(many + text.dump() + "\n", 0, {});
  EXPECT_EQ(none_left["source"], "tokens");
  EXPECT_EQ(figures(none_left), (std::array{3, 6, 2}));
}

TEST(Job, OneSentenceAgainAndAgain) {
  const TemporaryFolder folder;
  Job job(sample_folder(), folder / "out", {}, small_options(), kQuiet);
  for (int i = 0; i < 8; ++i) job.add_tokens(std::vector<int32_t>(64, 300));  // every input has rank 1
  run(job);
  const json report = json::parse(job.report());
  for (const json& module : report["modules"]) {
    EXPECT_GT(module["loss"], 0) << module;
    EXPECT_GT(module["damp"], 0) << module;
  }
  EXPECT_LT(divergence(folder / "out"), 2);
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename());
  return names;
}

TEST(Job, CancelLeavesFinishedLayersOrNothing) {
  for (const Resume resume : {Resume::automatic, Resume::never}) {
    const TemporaryFolder folder;
    QuantOptions options = small_options();
    options.resume = resume;
    {
      Job job(sample_folder(), folder / "out", {}, options, kQuiet);
      job.add_text(stories());
      job.step();
      job.step();
      EXPECT_THROW(job.add_text("late"), Error);
      job.cancel();
      try {
        job.step();
        FAIL();
      } catch (const Error& error) {
        EXPECT_EQ(error.status(), Status::cancelled);
      }
      const bool kept = resume == Resume::automatic;
      EXPECT_EQ(names_in(folder.path()),
                kept ? std::vector<std::string>{".out.unfinished"} : std::vector<std::string>());
    }
  }
  const TemporaryFolder folder;
  {
    int calls = 0;
    Job job(sample_folder(), folder / "out", {}, small_options(), [&](int64_t, int64_t, const std::string&) {
      if (++calls == 10) throw Error(Status::cancelled, "stop");  // in the first layer
    });
    job.add_text(stories());
    EXPECT_THROW(run(job), Error);
  }
  { const Job dropped(sample_folder(), folder / "out", {}, small_options(), kQuiet); }
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(Job, KilledLeavesNothingThatLooksFinished) {
  const TemporaryFolder folder;
  for (int layers_done : {0, 1, 4}) {
    const pid_t child = fork();
    if (child == 0) {
      ModelOptions model;
      model.backend.threads = 1;
      Job job(sample_folder(), folder / "out", model, small_options(), kQuiet);
      job.add_text(stories());
      for (int i = 0; i <= layers_done; ++i) job.step();
      raise(SIGKILL);
    }
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status));
    EXPECT_FALSE(fs::exists(folder / "out"));
    for (const auto& entry : fs::recursive_directory_iterator(folder.path())) {
      EXPECT_NE(entry.path().filename(), "config.json");
    }
  }
  quantize(sample_folder(), folder / "out",
           small_options());  // and it goes on with what the dead left behind
  EXPECT_TRUE(fs::exists(folder / "out/config.json"));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()), 1);
}

TEST(Job, SourceThatChangesMeanwhile) {
  const TemporaryFolder folder;
  fs::copy(sample_folder(), folder / "in");
  fs::permissions(folder / "in/model.safetensors", fs::perms::owner_write, fs::perm_options::add);
  Job job(folder / "in", folder / "out", {}, small_options(), kQuiet);
  job.add_text(stories());
  job.step();
  job.step();
  fs::resize_file(folder / "in/model.safetensors", 4'000'000);
  EXPECT_THROW(run(job), Error);
  EXPECT_FALSE(fs::exists(folder / "out"));
}

TEST(Job, NotANumberInTheWeights) {
  const TemporaryFolder folder;
  fs::copy(sample_folder(), folder / "in");
  fs::permissions(folder / "in/model.safetensors", fs::perms::owner_write, fs::perm_options::add);
  const auto checkpoint = open_checkpoint(folder / "in");
  {
    std::string file = read_file(folder / "in/model.safetensors");
    const Tensor weight = checkpoint->read("model.layers.1.mlp.up_proj.weight", Access::read);
    const size_t at = file.find(std::string_view(reinterpret_cast<const char*>(weight.data), weight.bytes));
    ASSERT_NE(at, std::string::npos);
    file[at + 100] = '\xC0';
    file[at + 101] = '\x7F';
    write_file(folder / "in/model.safetensors", file);
  }
  Job job(folder / "in", folder / "out", {}, small_options(), kQuiet);
  job.add_text(stories());
  try {
    run(job);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::numeric);
    EXPECT_NE(std::string(error.what()).find("model.layers.1.mlp.up_proj"), std::string::npos)
        << error.what();
  }
  EXPECT_FALSE(fs::exists(folder / "out"));
}

}  // namespace
}  // namespace gptq::test
