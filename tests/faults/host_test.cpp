// Hosts that are unlike the usual: small stacks, forks, few descriptors, little address space, signals all the time,
// another locale.
#include <pthread.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <clocale>
#include <csignal>
#include <functional>
#include <thread>

#include "injection.h"
#include "scenarios.h"

namespace gptq::test {
namespace {

const std::string kSample = source_dir() / "samples/model";

std::string story_of(const gptq_model* model) {
  HeldSession session;
  std::string story;
  if (gptq_session_create(model, nullptr, session.out()) < 0) return gptq_last_error_message();
  if (gptq_session_append_text(session.get(), "Once upon a time, there was", -1) < 0)
    return gptq_last_error_message();
  if (gptq_session_begin(session.get(), nullptr) < 0) return gptq_last_error_message();
  for (int i = 0; i < 8 && gptq_session_step(session.get()) == GPTQ_OK; ++i)
    story += gptq_session_text(session.get());
  return story;
}

void run_with_stack(size_t bytes, std::function<void()> body) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, bytes), 0);
  pthread_t thread;
  const auto start = [](void* given) -> void* {
    (*static_cast<std::function<void()>*>(given))();
    return nullptr;
  };
  ASSERT_EQ(pthread_create(&thread, &attributes, start, &body), 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
}

TEST(Host, ThreadsWithStacksOf64KiB) {
  const TinyModel tiny;
  const std::string path = tiny.path(), output = tiny.outputs() / "out";
  const std::string hostile = R"({"model_type": )" + std::string(63, '[') + std::string(63, ']') + "}";
  const TemporaryFolder folder;
  write_file(folder / "config.json", hostile);
  const std::string refused = folder.path();
  HeldModel usual;
  ASSERT_EQ(load(kSample.c_str(), 2, usual), GPTQ_OK);
  const std::string expected = story_of(usual.get());
  std::string story;
  gptq_status quantized = GPTQ_ERROR_INTERNAL, document = GPTQ_OK;
  run_with_stack(64 << 10, [&] {
    HeldModel model;
    if (load(kSample.c_str(), 2, model) == GPTQ_OK) story = story_of(model.get());
    quantized = quantize(path.c_str(), output.c_str(), 2);
    document = load(refused.c_str(), 1, model);
  });
  EXPECT_EQ(story, expected);
  EXPECT_EQ(quantized, GPTQ_DONE);
  EXPECT_LT(document, 0);
}

TEST(Host, AForkedChildUsesAndFreesTheModel) {
  HeldModel model;
  ASSERT_EQ(load(kSample.c_str(), 4, model), GPTQ_OK);
  const std::string expected = story_of(model.get());  // the threads run
  ASSERT_EQ(in_child([&] {
              if (story_of(model.get()) != expected) return 1;
              // the child's own threads may get the addresses of the parent's, which are not here
              std::thread own[8];
              for (std::thread& thread : own) thread = std::thread([] { usleep(50'000); });
              model.out();  // frees it
              for (std::thread& thread : own) thread.join();
              HeldModel another;
              return load(kSample.c_str(), 4, another) == GPTQ_OK && story_of(another.get()) == expected ? 0
                                                                                                         : 2;
            }),
            0);
  EXPECT_EQ(story_of(model.get()), expected);
}

TEST(Host, NoDescriptorsLeft) {
  const TinyModel tiny;
  const std::string path = tiny.path(), output = tiny.outputs() / "out";
  ASSERT_EQ(in_child([&] {
              if (quantize(path.c_str(), output.c_str(), 1) != GPTQ_DONE) return 1;
              fs::remove_all(output);
              for (rlim_t most = 3; most < 16; ++most) {
                const rlimit limit{most, 64};
                setrlimit(RLIMIT_NOFILE, &limit);
                HeldModel model;
                const gptq_status loaded = load(path.c_str(), 1, model);
                const gptq_status done = quantize(path.c_str(), output.c_str(), 1);
                const rlimit enough{64, 64};
                setrlimit(RLIMIT_NOFILE, &enough);
                if (loaded != GPTQ_OK && loaded != GPTQ_ERROR_IO) return 2;
                if (done != GPTQ_DONE && done != GPTQ_ERROR_IO) return 3;
                if (most == 3 && (loaded != GPTQ_ERROR_IO || done != GPTQ_ERROR_IO)) return 4;
                if (fs::exists(output) != (done == GPTQ_DONE)) return 5;
                fs::remove_all(output);
                if (!names_in(tiny.outputs()).empty()) return 6;
              }
              return 0;
            }),
            0);
}

TEST(Host, LittleAddressSpace) {
  const TinyModel tiny;
  const std::string output = tiny.outputs() / "out";
  int refused = 0;
  for (rlim_t mebibytes = 16; mebibytes <= 160; mebibytes += 6) {
    const int ended = in_child([&] {
      const rlimit limit{mebibytes << 20, mebibytes << 20};
      setrlimit(RLIMIT_AS, &limit);
      HeldModel model;
      HeldSession session;
      gptq_status status = load(kSample.c_str(), 4, model);
      if (status == GPTQ_OK) status = gptq_session_create(model.get(), nullptr, session.out());
      if (status == GPTQ_OK) status = gptq_session_append_text(session.get(), "Once upon a time", -1);
      if (status == GPTQ_OK) status = gptq_session_begin(session.get(), nullptr);
      if (status != GPTQ_OK && status != GPTQ_ERROR_OUT_OF_MEMORY) return 1;
      const gptq_status done = quantize(tiny.path().c_str(), output.c_str(), 4);
      if (done != GPTQ_DONE && done != GPTQ_ERROR_OUT_OF_MEMORY) return 2;
      return status == GPTQ_OK && done == GPTQ_DONE ? 0 : 3;
    });
    ASSERT_TRUE(ended == 0 || ended == 3) << ended << " with " << mebibytes << " MiB";
    refused += ended == 3;
    fs::remove_all(output);
    ASSERT_EQ(names_in(tiny.outputs()), std::vector<std::string>());
  }
  EXPECT_GT(refused, 0);
}

TEST(Host, SignalsAllTheTime) {
  const TinyModel tiny;
  const std::string output = tiny.outputs() / "out";
  HeldModel quiet;
  ASSERT_EQ(load(kSample.c_str(), 2, quiet), GPTQ_OK);
  const std::string expected = story_of(quiet.get());
  static volatile sig_atomic_t signals;
  signals = 0;
  struct sigaction action = {}, before;
  action.sa_handler = [](int) { signals = signals + 1; };  // without SA_RESTART
  sigaction(SIGALRM, &action, &before);
  const itimerval often{{0, 200}, {0, 200}}, never{};
  setitimer(ITIMER_REAL, &often, nullptr);
  for (int i = 0; i < 3; ++i) {
    HeldModel model;
    EXPECT_EQ(load(kSample.c_str(), 2, model), GPTQ_OK) << gptq_last_error_message();
    EXPECT_EQ(story_of(model.get()), expected);
    EXPECT_EQ(quantize(tiny.path().c_str(), output.c_str(), 2), GPTQ_DONE) << gptq_last_error_message();
    fs::remove_all(output);
  }
  setitimer(ITIMER_REAL, &never, nullptr);
  sigaction(SIGALRM, &before, nullptr);
  EXPECT_GT(signals, 100);
}

TEST(Host, DecimalCommas) {
  const char* name = nullptr;
  for (const char* candidate : {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE"}) {
    if (name == nullptr && setlocale(LC_ALL, candidate) != nullptr) name = candidate;
  }
  if (name == nullptr) GTEST_SKIP() << "no locale with a decimal comma is installed";
  const TinyModel tiny;
  const std::string output = tiny.outputs() / "out";
  HeldOptions options;
  HeldBuffer json;
  EXPECT_EQ(gptq_options_create(options.out()), GPTQ_OK);
  EXPECT_EQ(gptq_options_set_json(options.get(), R"({"temperature": 0.25})", -1), GPTQ_OK);
  EXPECT_EQ(gptq_options_get_json(options.get(), json.out()), GPTQ_OK);
  EXPECT_EQ(text_of(json.get()), R"({"temperature":0.25})");
  EXPECT_EQ(quantize(tiny.path().c_str(), output.c_str(), 1), GPTQ_DONE) << gptq_last_error_message();
  EXPECT_TRUE(is_whole(output));
  EXPECT_NE(read_file(output + "/config.json").find("\"rms_norm_eps\": 1e-05"), std::string::npos);
  EXPECT_NE(read_file(output + "/quantize_config.json").find("\"damp_percent\": 0.05"), std::string::npos);
  setlocale(LC_ALL, "C");
}

TEST(Host, ErrorsOfThreadsThatEnd) {
  const auto fail_in_a_thread = [] {
    std::thread([] {
      EXPECT_EQ(gptq_model_load("/nowhere", nullptr, nullptr), GPTQ_ERROR_INVALID_ARGUMENT);
    }).join();
  };
  fail_in_a_thread();
  gptq_clear_error();
  const int64_t before = live_blocks();
  for (int i = 0; i < 100; ++i) fail_in_a_thread();
  EXPECT_EQ(live_blocks(), before);
  EXPECT_STREQ(gptq_last_error_message(), "");
}

}  // namespace
}  // namespace gptq::test
