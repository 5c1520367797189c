// Models in several files: the index, where files may lie, and which of several candidates is read.
#include <dirent.h>

#include <atomic>
#include <cstring>

#include <thread>

#include "base/log.h"
#include "format/checkpoint.h"
#include "format/format_support.h"
#include "format/shard_index.h"

namespace gptq {
namespace {

using test::entry;
using test::Outcome;
using test::outcome_of;
using test::safetensors_file;

constexpr const char* kIndex = "model.safetensors.index.json";

/// One U8 tensor of four bytes.
std::string shard(const std::string& tensor, const std::string& data = "abcd") {
  return safetensors_file("{" + entry(tensor, "U8", "[4]", 0, 4) + "}", data);
}

std::string index_text(const std::vector<std::pair<std::string, std::string>>& map,
                       const std::string& metadata = "{}") {
  std::string text = "{\"metadata\":" + metadata + ",\"weight_map\":{";
  for (const auto& [tensor, file] : map)
    text += (text.back() == '{' ? "\"" : ",\"") + tensor + "\":\"" + file + "\"";
  return text + "}}";
}

/// Collects what is logged while it lives.
class LogCapture {
 public:
  LogCapture() { set_log_sink(&LogCapture::take, this); }
  ~LogCapture() { set_log_sink(nullptr, nullptr); }
  std::string text;

 private:
  static void take(void* self, int32_t, const char* text, int64_t length) {
    static_cast<LogCapture*>(self)->text.append(text, static_cast<size_t>(length)) += '\n';
  }
};

class Shards : public testing::Test {
 protected:
  void SetUp() override {
    test::write_file(folder_ / "s1.safetensors", shard("a"));
    test::write_file(folder_ / "s2.safetensors", shard("b", "efgh"));
    write_index(index_text({{"a", "s1.safetensors"}, {"b", "s2.safetensors"}}, "{\"total_size\":8}"));
  }
  void write_index(const std::string& text) { test::write_file(folder_ / kIndex, text); }
  Outcome open() const {
    return outcome_of([&] { open_checkpoint(folder_.path()); });
  }
  Outcome open_with(const std::string& index) {
    write_index(index);
    return open();
  }

  test::TemporaryFolder folder_;
};

TEST_F(Shards, ReadsEachTensorFromItsFile) {
  const LogCapture log;
  const auto checkpoint = open_checkpoint(folder_.path());
  ASSERT_EQ(checkpoint->tensors().size(), 2u);
  EXPECT_EQ(checkpoint->find("b")->file, "s2.safetensors");
  for (Access access : {Access::read, Access::map}) {
    EXPECT_EQ(std::memcmp(checkpoint->read("a", access).data, "abcd", 4), 0);
    EXPECT_EQ(std::memcmp(checkpoint->read("b", access).data, "efgh", 4), 0);
  }
  EXPECT_NO_THROW(checkpoint->check_unchanged());
  EXPECT_EQ(log.text, "");
}

TEST_F(Shards, NamesThatLeaveTheFolder) {  // row 43
  test::write_file(folder_.path().parent_path() / "outside.safetensors", shard("b"));
  for (const char* name :
       {"../outside.safetensors", "/etc/passwd", "sub/s2.safetensors", "..\\\\s2.safetensors",
        "s2\\u0000.safetensors", "..", ".", "", "./s2.safetensors"}) {
    const Outcome found = open_with(index_text({{"a", "s1.safetensors"}, {"b", name}}));
    EXPECT_EQ(found.fault, Fault::path) << name << found.message;
    EXPECT_TRUE(found.mentions(kIndex)) << found.message;
  }
  fs::remove(folder_.path().parent_path() / "outside.safetensors");
}

TEST_F(Shards, LinksOutOfTheFolder) {  // row 43
  const test::TemporaryFolder elsewhere;
  test::write_file(elsewhere / "real", shard("b", "efgh"));
  fs::remove(folder_ / "s2.safetensors");
  fs::create_symlink(elsewhere / "real", folder_ / "s2.safetensors");
  EXPECT_EQ(open().fault, Fault::path);

  fs::create_symlink(elsewhere / "real", folder_ / "hop");  // through a link inside
  fs::remove(folder_ / "s2.safetensors");
  fs::create_symlink("hop", folder_ / "s2.safetensors");
  EXPECT_EQ(open().fault, Fault::path);

  test::write_file(folder_ / "inside", shard("b", "efgh"));
  fs::remove(folder_ / "s2.safetensors");
  fs::create_symlink("inside", folder_ / "s2.safetensors");
  EXPECT_EQ(open().message, "");

  fs::remove(folder_ / "s2.safetensors");
  fs::create_symlink("s2.safetensors", folder_ / "s2.safetensors");  // to itself
  EXPECT_EQ(open().fault, Fault::io);
}

TEST(HuggingFaceCache, LinksToBlobsOfTheSameRepositoryOnly) {
  const test::TemporaryFolder cache;
  const fs::path snapshot = cache / "models--x--y/snapshots/0123abcd";
  fs::create_directories(snapshot);
  fs::create_directories(cache / "models--x--y/blobs");
  fs::create_directories(cache / "models--other/blobs");
  test::write_file(cache / "models--x--y/blobs/aa", shard("a"));
  test::write_file(cache / "models--x--y/blobs/ii", index_text({{"a", "s1.safetensors"}}));
  test::write_file(cache / "models--other/blobs/bb", shard("a"));
  fs::create_symlink("../../blobs/ii", snapshot / kIndex);
  fs::create_symlink("../../blobs/aa", snapshot / "s1.safetensors");
  EXPECT_EQ(open_checkpoint(snapshot)->tensors().size(), 1u);
  fs::remove(snapshot / "s1.safetensors");
  fs::create_symlink("../../../models--other/blobs/bb", snapshot / "s1.safetensors");
  EXPECT_EQ(outcome_of([&] { open_checkpoint(snapshot); }).fault, Fault::path);
}

TEST_F(Shards, AMissingFile) {  // row 44
  fs::remove(folder_ / "s2.safetensors");
  const Outcome found = open();
  EXPECT_EQ(found.fault, Fault::io);
  EXPECT_TRUE(found.mentions("s2.safetensors")) << found.message;
  const Outcome long_name = open_with(index_text({{"a", std::string(5000, 'n')}}));
  EXPECT_EQ(long_name.fault, Fault::io);
}

TEST_F(Shards, TheMapAndTheHeadersMustAgree) {  // rows 45 to 47
  const Outcome not_there =
      open_with(index_text({{"a", "s1.safetensors"}, {"b", "s2.safetensors"}, {"c", "s1.safetensors"}}));
  EXPECT_EQ(not_there.fault, Fault::mismatch);
  EXPECT_TRUE(not_there.mentions("'c'")) << not_there.message;
  const Outcome stale = open_with(index_text({{"a", "s2.safetensors"}, {"b", "s1.safetensors"}}));
  EXPECT_EQ(stale.fault, Fault::mismatch);
  EXPECT_TRUE(stale.mentions("s1.safetensors") && stale.mentions("s2.safetensors")) << stale.message;

  test::write_file(folder_ / "s2.safetensors", safetensors_file("{" + entry("b", "U8", "[4]", 0, 4) + "," +
                                                                    entry("more", "U8", "[1]", 4, 5) + "}",
                                                                "efghi"));
  const Outcome unnamed = open_with(index_text({{"a", "s1.safetensors"}, {"b", "s2.safetensors"}}));
  EXPECT_EQ(unnamed.fault, Fault::mismatch);
  EXPECT_TRUE(unnamed.mentions("'more'")) << unnamed.message;

  test::write_file(folder_ / "s2.safetensors", safetensors_file("{" + entry("b", "U8", "[4]", 0, 4) + "," +
                                                                    entry("a", "U8", "[1]", 4, 5) + "}",
                                                                "efghi"));
  EXPECT_EQ(open().fault, Fault::duplicate);
}

TEST_F(Shards, IllFormedIndices) {  // rows 48, 49
  for (const char* text : {"", "x", "[]", "null", "{}", R"({"weight_map":[]})", R"({"weight_map":null})",
                           R"({"weight_map":"s1.safetensors"})", R"({"weight_map":{"a":1}})",
                           R"({"weight_map":{"a":["s1.safetensors"]}})", R"({"weight_map":{"a":{"b":"c"}}})",
                           R"({"weight_map":{"a":null}})", R"({"weight_map":{}} x)"}) {
    EXPECT_EQ(open_with(text).fault, Fault::format) << text;
  }
  EXPECT_EQ(open_with(R"({"weight_map":{"a":"s1.safetensors","a":"s1.safetensors"}})").fault,
            Fault::duplicate);
  EXPECT_EQ(open_with(R"({"weight_map":{"a":"s1.safetensors","\u0061":"s2.safetensors"}})").fault,
            Fault::duplicate);
  EXPECT_EQ(open_with(R"({"weight_map":{},"weight_map":{}})").fault, Fault::duplicate);
}

TEST_F(Shards, TotalSizeIsOnlyCompared) {  // row 50
  for (const char* size : {"7", "-1", "1e30", "1000000000000000000000000000000", "\"8\"", "null", "8.0"}) {
    const LogCapture log;
    const auto index = index_text({{"a", "s1.safetensors"}, {"b", "s2.safetensors"}},
                                  "{\"total_size\":" + std::string(size) + "}");
    EXPECT_EQ(open_with(index).message, "") << size;
    EXPECT_NE(log.text.find("total_size"), std::string::npos) << size;
  }
}

TEST_F(Shards, ATruncatedFile) {  // row 51
  test::write_file(folder_ / "s2.safetensors", shard("b", "efg"));
  const Outcome found = open();
  EXPECT_EQ(found.fault, Fault::truncated);
  EXPECT_TRUE(found.mentions("s2.safetensors"));
}

TEST_F(Shards, AnIndexWinsOverASingleFileIfItsFilesAreThere) {  // row 52
  test::write_file(folder_ / "model.safetensors", shard("single"));
  {
    const LogCapture log;
    EXPECT_NE(open_checkpoint(folder_.path())->find("a"), nullptr);
    EXPECT_NE(log.text.find("model.safetensors"), std::string::npos);
  }
  fs::remove(folder_ / "s2.safetensors");
  const LogCapture log;
  EXPECT_NE(open_checkpoint(folder_.path())->find("single"), nullptr);
  EXPECT_NE(log.text.find("not there"), std::string::npos);
}

TEST_F(Shards, PreferredNamesComeFirst) {
  test::write_file(folder_ / "model.safetensors", shard("single"));
  test::write_file(folder_ / "gptq_model-4bit-128g.safetensors", shard("old"));
  const auto first = [&](std::vector<std::string> preferred) {
    return open_checkpoint(folder_.path(), preferred)->tensors()[0].name;
  };
  EXPECT_EQ(first({"none", "gptq_model-4bit-128g"}), "old");
  EXPECT_EQ(first({"none", "model"}), "a");  // of the index
  test::write_file(folder_ / "old.safetensors.index.json", index_text({{"b", "s2.safetensors"}}));
  EXPECT_EQ(first({"old", "gptq_model-4bit-128g"}), "b");
  EXPECT_EQ(first({"../" + folder_.path().filename().string() + "/gptq_model-4bit-128g"}), "a");
}

TEST_F(Shards, TooManyFiles) {  // row 53
  std::vector<std::pair<std::string, std::string>> map;
  for (int i = 0; i < 100'000; ++i) map.emplace_back("t" + std::to_string(i), "s" + std::to_string(i));
  EXPECT_EQ(open_with(index_text(map)).fault, Fault::limit);
}

size_t open_descriptors() {
  DIR* dir = opendir("/proc/self/fd");
  size_t count = 0;
  while (readdir(dir) != nullptr) ++count;
  closedir(dir);
  return count;
}

TEST(ManyShards, EightAreOpenAtMostHoweverManyThreadsRead) {
  const test::TemporaryFolder folder;
  std::vector<std::pair<std::string, std::string>> map;
  for (int i = 0; i < 40; ++i) {
    const std::string tensor = "t" + std::to_string(i), file = "s" + std::to_string(i) + ".safetensors";
    test::write_file(folder / file, shard(tensor, std::string(4, static_cast<char>('A' + i))));
    map.emplace_back(tensor, file);
  }
  test::write_file(folder / kIndex, index_text(map));
  const size_t before = open_descriptors();
  const auto checkpoint = open_checkpoint(folder.path());
  EXPECT_LE(open_descriptors(), before + 8);
  std::atomic<int> wrong{0};
  std::vector<std::thread> readers;
  for (int r = 0; r < 12; ++r) {
    readers.emplace_back([&, r] {
      for (int round = 0; round < 200; ++round) {
        const int i = (r * 7 + round * 3) % 40;
        const auto access = round % 2 == 0 ? Access::read : Access::map;
        const Tensor tensor = checkpoint->read("t" + std::to_string(i), access);
        wrong += static_cast<char>(tensor.data[3]) != static_cast<char>('A' + i);
      }
    });
  }
  for (auto& reader : readers) reader.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_LE(open_descriptors(), before + 8);
  EXPECT_NO_THROW(checkpoint->check_unchanged());
  test::write_file(folder / "s39.safetensors", shard("t39", "zzzz"));
  fs::last_write_time(folder / "s39.safetensors", fs::file_time_type::clock::now() + std::chrono::hours(1));
  EXPECT_EQ(outcome_of([&] { checkpoint->check_unchanged(); }).fault, Fault::changed);
}

TEST(OpenCheckpoint, TakesTheOneOtherFile) {
  const test::TemporaryFolder folder;
  EXPECT_EQ(outcome_of([&] { open_checkpoint(folder.path()); }).status, Status::not_found);
  EXPECT_EQ(outcome_of([&] { open_checkpoint(folder / "absent"); }).status, Status::not_found);
  test::write_file(folder / "pytorch_model.bin", "PK");
  EXPECT_TRUE(outcome_of([&] { open_checkpoint(folder.path()); }).mentions("pytorch_model.bin"));
  test::write_file(folder / "gptq_model-4bit-128g.safetensors", shard("q"));
  EXPECT_NE(open_checkpoint(folder.path())->find("q"), nullptr);
  test::write_file(folder / "second.safetensors", shard("q"));
  const Outcome two = outcome_of([&] { open_checkpoint(folder.path()); });
  EXPECT_EQ(two.status, Status::not_found);
  EXPECT_TRUE(two.mentions("second.safetensors")) << two.message;
  test::write_file(folder / "model.safetensors", shard("m"));
  EXPECT_NE(open_checkpoint(folder.path())->find("m"), nullptr);
}

}  // namespace
}  // namespace gptq
