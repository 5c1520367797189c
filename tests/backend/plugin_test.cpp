// Plugins are found, opened and refused; tests/api/device_test.cpp runs a model by one.
#include "backend/plugin.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "backend/fake_plugin.h"
#include "base/error.h"
#include "support/test_data.h"

namespace gptq {
namespace {

constexpr char kFakes[] = GPTQ_FAKE_PLUGINS;  // a folder for each

std::string fake(const std::string& name) { return std::string(kFakes) + "/" + name + "/libgptq-cuda.so"; }

bool is_loaded(const std::string& path) {
  void* const handle = dlopen(path.c_str(), RTLD_NOW | RTLD_NOLOAD);
  if (handle != nullptr) dlclose(handle);
  return handle != nullptr;
}

template <class Call>
void expect_error(Call call, Status status, const std::vector<std::string>& words) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), status) << error.what();
    for (const std::string& word : words)
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << word << " in: " << error.what();
    return;
  }
  ADD_FAILURE() << "nothing was thrown";
}

void expect_refused(const std::string& path, Status status, const std::vector<std::string>& words) {
  expect_error([&] { open_plugin(path); }, status, words);
  EXPECT_FALSE(is_loaded(path)) << path;
}

TEST(Plugin, RefusedSayingWhyAndClosed) {
  expect_refused("/nowhere/libgptq-cuda.so", Status::not_found, {"/nowhere/libgptq-cuda.so", "not there"});
  expect_refused(fake("without_entry"), Status::unsupported, {"without_entry", "gptq_plugin"});
  expect_refused(fake("null"), Status::unsupported, {"does not say what it is"});
  expect_refused(fake("throws"), Status::unsupported, {"does not say what it is"});
  expect_refused(fake("other_build"), Status::unsupported,
                 {"another build", "'9.8.7'", "0123456789abcdef of long ago", kPluginInterface});
}

TEST(Plugin, FilesThatAreNoLibraries) {
  const test::TemporaryFolder folder;
  const std::string path = folder / "libgptq-cuda.so";
  for (const uintmax_t kept :
       {uintmax_t{0}, uintmax_t{40}, uintmax_t{100}, uintmax_t{4096}, uintmax_t{65536}}) {
    std::filesystem::copy_file(fake("good"), path, std::filesystem::copy_options::overwrite_existing);
    std::filesystem::resize_file(path, kept);
    expect_refused(path, Status::unsupported, {"libgptq-cuda.so", "can't be opened"});
  }
  std::ofstream(path) << "a text";
  expect_refused(path, Status::unsupported, {"can't be opened"});
  std::filesystem::remove(path);
  std::filesystem::create_directory(path);
  expect_refused(path, Status::unsupported, {"can't be opened"});
}

TEST(Plugin, LookedForBesideTheLibraryAndInTheFolderOfTheEnvironment) {
  ASSERT_EQ(unsetenv("GPTQ_PLUGIN_PATH"), 0);
  const auto program = std::filesystem::read_symlink("/proc/self/exe");
  EXPECT_EQ(plugin_path(), (program.parent_path() / "gptq/libgptq-cuda.so").string());
  ASSERT_EQ(setenv("GPTQ_PLUGIN_PATH", "", 1), 0);
  EXPECT_EQ(plugin_path(), (program.parent_path() / "gptq/libgptq-cuda.so").string());
  ASSERT_EQ(setenv("GPTQ_PLUGIN_PATH", "/some/folder", 1), 0);
  EXPECT_EQ(plugin_path(), "/some/folder/libgptq-cuda.so");
}

TEST(Devices, NamesThatAreNotKnown) {
  for (const char* name : {"abacus", "cuda:", "cuda:-1", "cuda:1x", "cuda: 1", "cuda:+1", "cuda:1024",
                           "cuda:99999999999", "CUDA", "cud", "cuda0"}) {
    expect_error([&] { check_device(name); }, Status::invalid_argument, {name, "'cuda:N'"});
    expect_error([&] { create_backend(name, {}); }, Status::invalid_argument, {name});
  }
  check_device("");
  check_device("cpu");
}

// The good one stays open, so all that needs it is in one test: first found by threads at once, then used.
TEST(Devices, OfAPlugin) {
  const std::string path = fake("good");
  EXPECT_FALSE(is_loaded(path));
  ASSERT_EQ(setenv("GPTQ_PLUGIN_PATH", (std::string(kFakes) + "/null").c_str(), 1), 0);
  expect_error([] { check_device("cuda"); }, Status::unsupported, {"does not say what it is"});
  ASSERT_EQ(setenv("GPTQ_PLUGIN_PATH", (std::string(kFakes) + "/good").c_str(), 1), 0);
  check_device("cpu");
  EXPECT_FALSE(is_loaded(path)) << "nobody has asked for it";

  std::atomic<const PluginTable*> first = nullptr;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&first] {
      const PluginTable* const table = &cuda_plugin();
      const PluginTable* before = nullptr;
      const bool alone = first.compare_exchange_strong(before, table);
      EXPECT_TRUE(alone || before == table);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(is_loaded(path));

  check_device("cuda");
  check_device("cuda:0");
  expect_error([] { check_device("cuda:1"); }, Status::device, {"no driver"});
  expect_error([] { create_backend("cuda:9", {}); }, Status::invalid_argument, {"beyond the last"});
  EXPECT_THROW(check_device("cuda:2"), int);
  EXPECT_THROW(create_backend("cuda:3", {}), std::bad_alloc);

  void* const handle = dlopen(path.c_str(), RTLD_NOW | RTLD_NOLOAD);
  ASSERT_NE(handle, nullptr);
  const auto created = reinterpret_cast<int (*)()>(dlsym(handle, "gptq_fake_created"));
  ASSERT_NE(created, nullptr);
  EXPECT_EQ(created(), 0);
  std::string logged;
  set_log_sink([](void* to, int32_t, const char* text, int64_t) { *static_cast<std::string*>(to) += text; },
               &logged);
  static_cast<void>(create_backend("cuda", {}));
  EXPECT_EQ(logged, "") << "warnings alone are asked for";
  set_log_level(LogLevel::info);
  const auto backend = create_backend("cuda", {.threads = 2});
  set_log_level(LogLevel::warning);
  set_log_sink(nullptr, nullptr);
  EXPECT_EQ(logged, "a backend is made, says the fake");
  EXPECT_EQ(created(), 2);
  EXPECT_EQ(backend->threads(), 2);
  EXPECT_EQ(backend->create_stream(nullptr)->element_bytes(), sizeof(float));
  dlclose(handle);
}

}  // namespace
}  // namespace gptq
