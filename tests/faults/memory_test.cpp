// Memory that runs out at each place: the call says so, nothing leaks, nothing ends the process, and what was there
// before stays usable. GPTQ_FAULTS=all tries every allocation; otherwise, of the many, some hundred.
#include <functional>

#include "injection.h"
#include "places.h"
#include "scenarios.h"

namespace gptq::test {
namespace {

struct Outcome {
  gptq_status status = GPTQ_OK;
  Injected injected;
  int64_t leaked = 0;
};

template <class Use>
Outcome with_fault(int64_t n, Failing failing, size_t smallest, const Use& use) {
  Outcome outcome;
  const int64_t before = live_blocks();
  arm_memory(n, failing, smallest);
  outcome.status = use();
  outcome.injected = disarm_memory();
  outcome.leaked = live_blocks() - before;
  return outcome;
}

/// `use` frees all that it makes. Without a fault it returns `normally`; with one, that or out of memory.
void sweep(
    const std::function<gptq_status()>& use, int64_t most = 300, gptq_status normally = GPTQ_OK,
    const std::function<void(gptq_status)>& check = [](gptq_status) {}) {
  for (int i = 0; i < 2; ++i) {  // afterwards, what is made once is there
    ASSERT_EQ(use(), normally) << gptq_last_error_message();
    check(normally);
  }
  const Outcome whole = with_fault(INT64_MAX, Failing::nth, 0, use);
  check(whole.status);
  ASSERT_EQ(whole.status, normally);
  ASSERT_EQ(whole.leaked, 0);
  ASSERT_GT(whole.injected.calls, 0);
  int64_t refused = 0;
  const auto judge = [&](const Outcome& outcome) {
    const bool expected = outcome.status == normally || outcome.status == GPTQ_ERROR_OUT_OF_MEMORY;
    EXPECT_TRUE(expected) << gptq_status_name(outcome.status) << ": " << gptq_last_error_message();
    EXPECT_EQ(outcome.leaked, 0);
    refused += outcome.status == GPTQ_ERROR_OUT_OF_MEMORY ? 1 : 0;
    check(outcome.status);
  };
  for (Failing failing : {Failing::nth, Failing::from_nth}) {
    for (int64_t n : places(whole.injected.calls, most)) {
      SCOPED_TRACE("allocation " + std::to_string(n) + (failing == Failing::nth ? "" : " and all after it"));
      judge(with_fault(n, failing, 0, use));
      if (testing::Test::HasFailure()) return;
    }
  }
  for (size_t smallest : {size_t{256}, size_t{4096}, size_t{65536}}) {
    SCOPED_TRACE("all allocations from " + std::to_string(smallest) + " bytes on");
    judge(with_fault(1, Failing::from_nth, smallest, use));
  }
  EXPECT_GT(refused, 0);
  EXPECT_EQ(use(), normally);
}

TEST(Memory, LoadOfATinyModel) {
  const TinyModel tiny;
  const std::string path = tiny.path();
  for (const char* device : {"cpu", "cpu,cpu"}) {
    SCOPED_TRACE(device);
    sweep([&] {
      HeldModel model;
      return load(path.c_str(), 1, model, device);
    });
  }
}

TEST(Memory, LoadOfTheSampleModel) {
  const std::string path = source_dir() / "samples/model";
  sweep(
      [&] {
        HeldModel model;
        return load(path.c_str(), 1, model);
      },
      80);
}

TEST(Memory, LoadOfQuantizedAndShardedModels) {
  for (const char* name : {"gptq-b4-g16-v2-asym-actorder", "llama-sharded", "gpt2", "qwen3-next-dense-first",
                           "llama4-unrotated"}) {
    const std::string path = source_dir() / "tests/golden/models" / name;
    sweep([&] {
      HeldModel model;
      return load(path.c_str(), 1, model);
    });
  }
}

TEST(Memory, LoadOfTokenizers) {
  for (const char* name : {"qwen2-style", "llama3-style", "llama2-style-json", "llama2-style-model"}) {
    const std::string path = source_dir() / "tests/golden/tokenizers" / name;
    sweep([&] {
      HeldOptions options;
      HeldModel model;
      HeldBuffer ids, text;
      gptq_status status = gptq_options_create(options.out());
      if (status >= 0) status = gptq_options_set_int(options.get(), GPTQ_KEY_LOAD_WEIGHTS, 0);
      if (status >= 0) status = gptq_model_load(path.c_str(), options.get(), model.out());
      if (status >= 0) {
        status = gptq_model_tokenize(model.get(), "Hello, w\xC3\xB6rld! <s> 123", -1,
                                     GPTQ_TOKENIZE_ADD_SPECIAL | GPTQ_TOKENIZE_PARSE_SPECIAL, ids.out());
      }
      if (status < 0) return status;
      return gptq_model_detokenize(model.get(), static_cast<const int32_t*>(gptq_buffer_data(ids.get())),
                                   gptq_buffer_size(ids.get()) / 4, 0, text.out());
    });
  }
}

TEST(Memory, FilesThatAreRefused) {
  const TemporaryFolder folder;
  const std::string path = folder.path();
  const std::string deep = std::string(60, '[') + "1" + std::string(60, ']');
  const auto config = [](const std::string& value) {
    return "{\"model_type\": \"llama\", \"x\": " + value + "}";
  };
  const std::string documents[] = {
      config(deep),
      config("[{\"a\": [1, {\"b\": [[], {}]}]}, [2, [3, [4]]]]"),
      config(deep) + "x",
      config(deep.substr(0, 100)),
      "[" + config(deep) + ", " + config(deep) + "]",
      R"({"a": [[1]], "a": {"b": [2]}, "a": [[3]]})",
      R"({"model_type": "lama", "quantization_config": {"bits": [[4]]}})",
  };
  for (const std::string& document : documents) {
    write_file(folder / "config.json", document);
    HeldModel model;
    const gptq_status normally = load(path.c_str(), 1, model);
    ASSERT_LT(normally, 0);
    sweep(
        [&] {
          HeldModel refused;
          const gptq_status status = load(path.c_str(), 1, refused);
          return refused.get() == nullptr ? status : GPTQ_OK;
        },
        300, normally);
  }
}

TEST(Memory, OptionsAndTheirTexts) {
  static constexpr char kFirst[] = R"({"bits": 8, "format": "gptq_v2"})";
  static constexpr char kSecond[] = R"({"bits": 4, "order": "act", "device": "cpu", "temperature": 0.5})";
  HeldOptions kept;
  ASSERT_EQ(gptq_options_create(kept.out()), GPTQ_OK);
  sweep([&] {
    HeldOptions options;
    HeldBuffer json;
    gptq_status status = gptq_options_create(options.out());
    if (status >= 0) status = gptq_options_set_json(options.get(), kFirst, -1);
    if (status >= 0) status = gptq_options_set_string(options.get(), GPTQ_KEY_ORDER, "none");
    if (status >= 0) status = gptq_options_get_json(options.get(), json.out());
    for (int64_t i = 0; status >= 0 && i < gptq_option_count(); ++i) {
      status = gptq_option_describe(i, json.out());
      if (status < 0 && json.get() != nullptr) return GPTQ_ERROR_INTERNAL;
    }
    return status;
  });
  const auto settings = [&] {
    HeldBuffer json;
    EXPECT_EQ(gptq_options_get_json(kept.get(), json.out()), GPTQ_OK);
    return text_of(json.get());
  };
  ASSERT_EQ(gptq_options_set_json(kept.get(), kFirst, -1), GPTQ_OK);
  const std::string before = settings();
  for (int64_t n = 1;; ++n) {  // all of them, or none
    arm_memory(n, Failing::from_nth);
    const gptq_status status = gptq_options_set_json(kept.get(), kSecond, -1);
    disarm_memory();
    if (status == GPTQ_OK) break;
    ASSERT_EQ(status, GPTQ_ERROR_OUT_OF_MEMORY);
    ASSERT_EQ(settings(), before);
  }
  EXPECT_NE(settings(), before);
}

TEST(Memory, ErrorMessagesAndFigures) {
  const TinyModel tiny;
  HeldModel model;
  HeldSession session;
  ASSERT_EQ(load(tiny.path().c_str(), 1, model), GPTQ_OK);
  ASSERT_EQ(gptq_session_create(model.get(), nullptr, session.out()), GPTQ_OK);
  int64_t number = 0;
  double figure = 0;
  const char* text = nullptr;
  sweep([&] { return gptq_model_get_int(model.get(), "hiden_size", &number); }, 300, GPTQ_ERROR_NOT_FOUND);
  sweep([&] { return gptq_model_get_string(model.get(), "famly", &text); }, 300, GPTQ_ERROR_NOT_FOUND);
  sweep([&] { return gptq_session_get_stat(session.get(), "x", &figure); }, 300, GPTQ_ERROR_NOT_FOUND);
  sweep(
      [&] {
        const gptq_status status = gptq_session_step(session.get());
        // the text may be lost, never the status
        return gptq_session_error_message(session.get()) != nullptr ? status : GPTQ_ERROR_INTERNAL;
      },
      300, GPTQ_ERROR_BAD_STATE);
  const std::string longer(4000, 'a');
  sweep([&] { return gptq_session_append_text(session.get(), longer.c_str(), -1); }, 300,
        GPTQ_ERROR_CONTEXT_FULL);
  sweep([&] {
    HeldBuffer json;
    return gptq_model_metadata_json(model.get(), json.out());
  });
}

/// Opened by the first call, and by the next where memory ran out.
TEST(Memory, DeviceOfAPlugin) {
  for (int64_t n = 1; n <= 400; n = n < 40 ? n + 1 : n + 20) {
    EXPECT_EQ(in_child([&] {
                setenv("GPTQ_PLUGIN_PATH", GPTQ_FAKE_PLUGINS "/good", 1);
                arm_memory(n, Failing::from_nth);
                const gptq_status status = gptq_device_check("cuda");
                disarm_memory();
                return (status == GPTQ_OK || status == GPTQ_ERROR_OUT_OF_MEMORY) &&
                               gptq_device_check("cuda") == GPTQ_OK
                           ? 0
                           : 1;
              }),
              0)
        << n;
  }
}

/// The line for bug reports has no status: it must come, short or whole.
TEST(Memory, BuildInfo) {
  for (int64_t n = 1; n <= 40; ++n) {
    EXPECT_EQ(in_child([&] {
                arm_memory(n, Failing::from_nth);
                const bool named = std::string_view(gptq_build_info()).starts_with("libgptq ");
                disarm_memory();
                return named && std::string_view(gptq_build_info()).find("cpu") != std::string_view::npos ? 0
                                                                                                          : 1;
              }),
              0)
        << n;
  }
}

TEST(Memory, AJobLeavesNothing) {
  const TinyModel tiny;
  const std::string path = tiny.path(), output = tiny.outputs() / "out";
  sweep([&] { return quantize(path.c_str(), output.c_str(), 1); }, 300, GPTQ_DONE,
        [&](gptq_status status) {
          EXPECT_EQ(fs::exists(output), status == GPTQ_DONE);
          fs::remove_all(output);
          EXPECT_EQ(names_in(tiny.outputs()), std::vector<std::string>());
        });
}

TEST(Memory, AJobGoesOnAfterEachFailure) {
  const TinyModel tiny;
  const std::string path = tiny.path(), output = tiny.outputs() / "out";
  ASSERT_EQ(quantize(path.c_str(), output.c_str(), 1), GPTQ_DONE);
  const std::string whole = read_file(output + "/model.safetensors");
  fs::remove_all(output);
  // each run goes on with what those before it left
  for (int64_t n = 20; !fs::exists(output); n += n / 4) {
    arm_memory(n, Failing::from_nth);
    const gptq_status status = quantize(path.c_str(), output.c_str(), 1, "auto");
    disarm_memory();
    ASSERT_TRUE(status == GPTQ_DONE || status == GPTQ_ERROR_OUT_OF_MEMORY) << gptq_last_error_message();
    ASSERT_EQ(fs::exists(output), status == GPTQ_DONE);
  }
  EXPECT_EQ(read_file(output + "/model.safetensors"), whole);
  EXPECT_EQ(names_in(tiny.outputs()), std::vector<std::string>{"out"});
}

TEST(Memory, AnOldOutputIsKeptOrReplaced) {
  const TinyModel tiny;
  const fs::path output = tiny.outputs() / "out";
  HeldOptions options;
  ASSERT_EQ(gptq_options_create(options.out()), GPTQ_OK);
  ASSERT_EQ(gptq_options_set_json(
                options.get(), R"({"group_size": 16, "overwrite": 1, "threads": 1, "resume": "never"})", -1),
            GPTQ_OK);
  int64_t calls = 0;
  const auto replace = [&](int64_t n) {
    static constexpr int32_t kIds[] = {1, 10, 20, 30};
    fs::remove_all(output);
    fs::create_directories(output / "of/old");
    HeldQuantizer job;
    EXPECT_EQ(gptq_quantizer_create(tiny.path().c_str(), output.c_str(), options.get(), job.out()), GPTQ_OK);
    EXPECT_EQ(gptq_quantizer_add_calibration_tokens(job.get(), kIds, std::size(kIds)), GPTQ_OK);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(gptq_quantizer_step(job.get()), GPTQ_OK);
    arm_memory(n, Failing::from_nth);
    const gptq_status status = gptq_quantizer_step(job.get());  // copies, writes, renames
    calls = disarm_memory().calls;
    return status;
  };
  ASSERT_EQ(replace(INT64_MAX), GPTQ_DONE);
  for (int64_t n : places(calls, 200)) {
    const gptq_status status = replace(n);
    const bool old = fs::exists(output / "of/old");
    ASSERT_EQ(status, old ? GPTQ_ERROR_OUT_OF_MEMORY : GPTQ_DONE) << n;
    if (old) {
      ASSERT_EQ(names_in(tiny.outputs()), std::vector<std::string>{"out"}) << n;
    } else {
      ASSERT_TRUE(fs::exists(output / "quantize_config.json")) << n;
      // the old folder is put aside by then; without memory it can't be walked
      for (const auto& entry : fs::directory_iterator(tiny.outputs())) {
        if (entry.path() != output) fs::remove_all(entry.path());
      }
    }
  }
}

/// Memory for tensors alone, as in a host that is nearly full, with threads at work.
TEST(Memory, LargeBlocksWithThreads) {
  const TinyModel tiny;
  const std::string sample = source_dir() / "samples/model", path = tiny.path(),
                    output = tiny.outputs() / "out";
  for (size_t smallest : {size_t{1} << 12, size_t{1} << 14, size_t{1} << 16, size_t{1} << 20}) {
    for (int64_t n = 1; n < 40; n += 3) {
      HeldModel model;
      HeldSession session;
      arm_memory(n, Failing::from_nth, smallest);
      gptq_status status = load(sample.c_str(), 4, model);
      if (status == GPTQ_OK) status = gptq_session_create(model.get(), nullptr, session.out());
      if (status == GPTQ_OK) status = gptq_session_append_text(session.get(), "Once upon a time", -1);
      if (status == GPTQ_OK) status = gptq_session_begin(session.get(), nullptr);
      if (status == GPTQ_OK) status = gptq_session_step(session.get());
      disarm_memory();
      EXPECT_TRUE(status == GPTQ_OK || status == GPTQ_ERROR_OUT_OF_MEMORY) << gptq_last_error_message();
      arm_memory(n, Failing::from_nth, smallest);
      status = quantize(path.c_str(), output.c_str(), 4);
      disarm_memory();
      EXPECT_TRUE(status == GPTQ_DONE || status == GPTQ_ERROR_OUT_OF_MEMORY) << gptq_last_error_message();
      EXPECT_EQ(fs::exists(output), status == GPTQ_DONE);
      fs::remove_all(output);
      EXPECT_EQ(names_in(tiny.outputs()), std::vector<std::string>());
    }
  }
}

std::string generate(const std::string& folder, int threads) {
  HeldModel model;
  HeldSession session;
  std::string story;
  EXPECT_EQ(load(folder.c_str(), threads, model), GPTQ_OK);
  EXPECT_EQ(gptq_session_create(model.get(), nullptr, session.out()), GPTQ_OK);
  EXPECT_EQ(gptq_session_append_text(session.get(), "Once upon a time, there was", -1), GPTQ_OK);
  EXPECT_EQ(gptq_session_begin(session.get(), nullptr), GPTQ_OK) << gptq_last_error_message();
  for (int i = 0; i < 8 && gptq_session_step(session.get()) == GPTQ_OK; ++i)
    story += gptq_session_text(session.get());
  return story;
}

TEST(Threads, FewerThanWantedDoTheSame) {
  const std::string sample = source_dir() / "samples/model";
  const std::string story = generate(sample, 4);
  EXPECT_GT(story.size(), 8u);
  for (int64_t n = 1; n <= 4; ++n) {
    arm_threads(n);
    EXPECT_EQ(generate(sample, 4), story);
    EXPECT_EQ(disarm_threads().failed, n < 4 ? 1 : 0);
  }
}

TEST(Threads, NoMemoryForThem) {
  const std::string sample = source_dir() / "samples/model";
  const std::string story = generate(sample, 4);
  HeldSession session;
  for (int64_t n = 1; n < 30; ++n) {
    HeldModel again;
    ASSERT_EQ(load(sample.c_str(), 4, again), GPTQ_OK);
    ASSERT_EQ(gptq_session_create(again.get(), nullptr, session.out()), GPTQ_OK);
    ASSERT_EQ(gptq_session_append_text(session.get(), "Once upon a time, there was", -1), GPTQ_OK);
    arm_memory(n, Failing::nth);
    gptq_status status = gptq_session_begin(session.get(), nullptr);  // starts the threads
    disarm_memory();
    EXPECT_TRUE(status == GPTQ_OK || status == GPTQ_ERROR_OUT_OF_MEMORY) << gptq_last_error_message();
    if (status != GPTQ_OK) status = gptq_session_begin(session.get(), nullptr);
    ASSERT_EQ(status, GPTQ_OK);
    std::string told;
    for (int i = 0; i < 8 && gptq_session_step(session.get()) == GPTQ_OK; ++i)
      told += gptq_session_text(session.get());
    EXPECT_EQ(told, story);
  }
}

}  // namespace
}  // namespace gptq::test
