// Tensors of a folder in one file or several: which goes where, what the index says, and that all of it reads back.
#include "format/folder_writer.h"

#include <cstring>
#include <nlohmann/json.hpp>

#include "base/folder.h"
#include "format/format_support.h"

namespace gptq {
namespace {

using test::outcome_of;

std::vector<TensorInfo> bytes_named(const std::vector<std::pair<std::string, int64_t>>& sizes) {
  std::vector<TensorInfo> tensors;
  for (const auto& [name, bytes] : sizes) {
    tensors.push_back({.name = name, .dtype = DType::u8, .shape = {bytes}});
  }
  return tensors;
}

std::string contents(const TensorInfo& tensor) {
  return std::string(static_cast<size_t>(tensor.shape[0]), tensor.name[0]);
}

void write_folder(const fs::path& folder, const std::vector<TensorInfo>& tensors, uint64_t max_bytes) {
  FolderWriter writer(open_folder(folder), folder, tensors, max_bytes);
  for (auto it = tensors.rbegin(); it != tensors.rend(); ++it) {
    writer.write(it->name, test::bytes_of(contents(*it)));
  }
  writer.finish();
}

TEST(FolderWriter, OneFileWhenAllFits) {
  const test::TemporaryFolder folder;
  write_folder(folder.path(), bytes_named({{"a", 6}, {"b", 4}}), 10);
  EXPECT_TRUE(fs::exists(folder / "model.safetensors"));
  EXPECT_FALSE(fs::exists(folder / "model.safetensors.index.json"));
  EXPECT_EQ(open_checkpoint(folder.path())->tensors().size(), 2u);
}

TEST(FolderWriter, CutsInTheOrderGivenAndReadsBack) {
  const test::TemporaryFolder folder;
  const auto tensors = bytes_named({{"d", 4}, {"a", 6}, {"c", 1}, {"b", 30}, {"e", 9}, {"f", 1}, {"g", 0}});
  write_folder(folder.path(), tensors, 10);
  const auto index = nlohmann::ordered_json::parse(test::read_file(folder / "model.safetensors.index.json"));
  EXPECT_EQ(index.dump(),
            R"({"metadata":{"total_size":51},"weight_map":{"a":"model-00001-of-00004.safetensors",)"
            R"("b":"model-00003-of-00004.safetensors","c":"model-00002-of-00004.safetensors",)"
            R"("d":"model-00001-of-00004.safetensors","e":"model-00004-of-00004.safetensors",)"
            R"("f":"model-00004-of-00004.safetensors","g":"model-00004-of-00004.safetensors"}})");
  const auto checkpoint = open_checkpoint(folder.path());
  ASSERT_EQ(checkpoint->tensors().size(), tensors.size());
  for (const TensorInfo& tensor : tensors) {
    const Tensor read = checkpoint->read(tensor.name, Access::read);
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(read.data), read.bytes), contents(tensor));
  }
}

TEST(FolderWriter, RefusesTooManyFilesBeforeItMakesOne) {
  const test::TemporaryFolder folder;
  std::vector<std::pair<std::string, int64_t>> sizes;
  for (size_t i = 0; i <= kMostShards; ++i) sizes.emplace_back("t" + std::to_string(i), 2);
  const auto many =
      outcome_of([&] { FolderWriter(open_folder(folder.path()), folder.path(), bytes_named(sizes), 3); });
  EXPECT_EQ(many.status, Status::invalid_argument);
  EXPECT_TRUE(many.mentions("501")) << many.message;
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(FolderWriter, WritesIntoTheOpenFolderWhateverHasItsName) {
  const test::TemporaryFolder folder;
  const fs::path path = folder / "out";
  fs::create_directory(path);
  const Descriptor open = open_folder(path);
  fs::rename(path, folder / "moved");
  fs::create_directory(path);
  const auto tensors = bytes_named({{"a", 6}, {"b", 6}});
  FolderWriter writer(open, path, tensors, 6);
  for (const TensorInfo& tensor : tensors) writer.write(tensor.name, test::bytes_of(contents(tensor)));
  writer.finish();
  EXPECT_TRUE(fs::is_empty(path));
  EXPECT_EQ(open_checkpoint(folder / "moved")->tensors().size(), 2u);
}

TEST(FolderWriter, EveryTensorOnceAndNoOther) {
  const test::TemporaryFolder folder;
  const auto tensors = bytes_named({{"a", 6}, {"b", 6}});
  FolderWriter writer(open_folder(folder.path()), folder.path(), tensors, 6);
  writer.write("a", test::bytes_of(contents(tensors[0])));
  EXPECT_EQ(outcome_of([&] { writer.write("c", {}); }).status, Status::internal);
  EXPECT_EQ(outcome_of([&] { writer.finish(); }).status, Status::internal);
  const test::TemporaryFolder other;
  EXPECT_EQ(outcome_of([&] {
              FolderWriter(open_folder(other.path()), other.path(), bytes_named({{"a", 1}, {"a", 1}}), 1);
            }).fault,
            Fault::duplicate);
}

}  // namespace
}  // namespace gptq
