// Whole safetensors files: damage of every kind, special files, and writing what is then read.
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "format/checkpoint.h"
#include "format/format_support.h"
#include "format/safetensors.h"

namespace gptq {
namespace {

using test::bytes_of;
using test::entry;
using test::Outcome;
using test::outcome_of;
using test::safetensors_file;

std::string bytes_of_tensor(const Tensor& tensor) {
  return {reinterpret_cast<const char*>(tensor.data), tensor.bytes};
}

std::string small_file() {
  return safetensors_file("{\"__metadata__\":{\"format\":\"pt\"}," + entry("a", "F32", "[2]", 0, 8) + "," +
                              entry("b", "U8", "[3]", 8, 11) + "}",
                          "01234567abc");
}

Outcome load(const fs::path& path, std::string_view contents) {
  test::write_file(path, contents);
  return outcome_of([&] {
    const auto checkpoint = open_safetensors(path);
    for (const TensorInfo& info : checkpoint->tensors()) {
      for (Access access : {Access::read, Access::map}) {
        const Tensor tensor = checkpoint->read(info.name, access);
        uint64_t sum = 0;
        for (size_t i = 0; i < tensor.bytes; ++i) sum += std::to_integer<uint64_t>(tensor.data[i]);
        EXPECT_EQ(tensor.bytes, info.bytes) << sum;
      }
    }
  });
}

TEST(SafetensorsFile, ReadsByNameInBothWays) {
  const test::TemporaryFolder folder;
  test::write_file(folder / "x.safetensors", small_file());
  const auto checkpoint = open_safetensors(folder / "x.safetensors");
  ASSERT_EQ(checkpoint->tensors().size(), 2u);
  EXPECT_EQ(checkpoint->tensors()[0].name, "a");
  EXPECT_EQ(checkpoint->tensors()[0].file, "x.safetensors");
  EXPECT_EQ(checkpoint->find("c"), nullptr);
  EXPECT_EQ(checkpoint->find(""), nullptr);
  for (Access access : {Access::read, Access::map}) {
    EXPECT_EQ(bytes_of_tensor(checkpoint->read("a", access)), "01234567");
    EXPECT_EQ(bytes_of_tensor(checkpoint->read("b", access)), "abc");
    const Outcome missing = outcome_of([&] { checkpoint->read("zz", access); });
    EXPECT_EQ(missing.status, Status::not_found);
    EXPECT_TRUE(missing.mentions("'zz'"));
  }
}

TEST(SafetensorsFile, AMappedTensorOutlivesItsCheckpoint) {
  const test::TemporaryFolder folder;
  test::write_file(folder / "x.safetensors", small_file());
  Tensor tensor;
  {
    const auto checkpoint = open_safetensors(folder / "x.safetensors");
    tensor = checkpoint->read("b", Access::map);
  }
  EXPECT_EQ(bytes_of_tensor(tensor), "abc");
}

TEST(SafetensorsFile, EveryPrefixIsRefused) {
  const test::TemporaryFolder folder;
  const std::string whole = small_file();
  for (size_t size = 0; size < whole.size(); ++size) {
    const Outcome found = load(folder / "x.safetensors", whole.substr(0, size));
    EXPECT_EQ(found.fault, Fault::truncated) << size << ": " << found.message;
  }
  EXPECT_EQ(load(folder / "x.safetensors", whole).message, "");
}

TEST(SafetensorsFile, EveryFlippedBitLoadsOrIsRefused) {
  const test::TemporaryFolder folder;
  const std::string whole = small_file();
  int refused = 0;
  for (size_t at = 0; at + 11 < whole.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
      refused += load(folder / "x.safetensors", damaged).status != Status::ok;
    }
    for (char value : {'\0', '\xFF', '"', '}', '9'}) {
      std::string damaged = whole;
      damaged[at] = value;
      outcome_of([&] { parse_safetensors_header(bytes_of(damaged), damaged.size(), "x"); });
    }
  }
  EXPECT_GT(refused, 800);  // most of the about 1,200 flips break the header
}

TEST(SafetensorsFile, SpecialFilesAreRefusedWithoutWaiting) {
  const test::TemporaryFolder folder;
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  fs::create_directory(folder / "dir");
  for (const fs::path& path :
       {folder / "pipe", folder / "dir", fs::path("/dev/zero"), fs::path("/dev/null")}) {
    const Outcome found = outcome_of([&] { open_safetensors(path); });
    EXPECT_EQ(found.fault, Fault::io) << path << found.message;
  }
  EXPECT_EQ(outcome_of([&] { open_safetensors(folder / "absent"); }).status, Status::not_found);
  if (geteuid() != 0) {
    test::write_file(folder / "secret", small_file());
    chmod((folder / "secret").c_str(), 0);
    EXPECT_EQ(outcome_of([&] { open_safetensors(folder / "secret"); }).fault, Fault::io);
  }
}

TEST(SafetensorsFile, NoticesThatItChanged) {
  const test::TemporaryFolder folder;
  const fs::path path = folder / "x.safetensors";
  test::write_file(path, small_file());
  const auto checkpoint = open_safetensors(path);
  EXPECT_NO_THROW(checkpoint->check_unchanged());
  test::write_file(folder / "y", small_file());
  fs::rename(folder / "y", path);
  EXPECT_EQ(outcome_of([&] { checkpoint->check_unchanged(); }).fault, Fault::changed);

  const auto shrinking = open_safetensors(path);
  fs::resize_file(path, 20);
  EXPECT_EQ(outcome_of([&] { shrinking->read("b", Access::read); }).fault, Fault::truncated);
  EXPECT_EQ(outcome_of([&] { shrinking->check_unchanged(); }).fault, Fault::changed);
}

TEST(SafetensorsFile, UnalignedDataIsReadable) {
  const test::TemporaryFolder folder;
  const std::string header =
      "{" + entry("odd", "U8", "[1]", 0, 1) + "," + entry("a", "F32", "[2]", 1, 9) + "}";
  float values[2] = {1.5f, -2.0f};
  std::string data = "x" + std::string(reinterpret_cast<const char*>(values), 8);
  test::write_file(folder / "x.safetensors", safetensors_file(header, data));
  const auto checkpoint = open_safetensors(folder / "x.safetensors");
  for (Access access : {Access::read, Access::map}) {
    EXPECT_EQ(to_float(checkpoint->read("a", access)), (std::vector<float>{1.5f, -2.0f}));
  }
}

TEST(SafetensorsWriter, WhatItWritesReadsBackForAllTypes) {
  const test::TemporaryFolder folder;
  std::vector<TensorInfo> infos;
  for (int i = 0; i <= static_cast<int>(DType::c64); ++i) {
    const auto dtype = static_cast<DType>(i);
    infos.push_back({.name = "t." + std::string(dtype_name(dtype)), .dtype = dtype, .shape = {i + 1, 4}});
  }
  infos.push_back({.name = "empty", .dtype = DType::f32, .shape = {0, 7}});
  infos.push_back({.name = "scalar \"\\\n\xC3\xA9", .dtype = DType::f64, .shape = {}});
  const fs::path path = folder / "model.safetensors";
  SafetensorsWriter writer(path, infos, {{"format", "pt"}, {"quote\"", "line\nbreak"}});
  const auto content = [](const TensorInfo& info, uint64_t bytes) {
    std::string text(bytes, '\0');
    for (size_t i = 0; i < text.size(); ++i)
      text[i] = static_cast<char>(i * 7 + info.name.size() + info.shape.size());
    return text;
  };
  for (auto it = infos.rbegin(); it != infos.rend(); ++it) {
    uint64_t bits = static_cast<uint64_t>(dtype_bits(it->dtype));
    for (int64_t d : it->shape) bits *= static_cast<uint64_t>(d);
    writer.write(it->name, bytes_of(content(*it, bits / 8)));
  }
  writer.finish();

  const auto checkpoint = open_safetensors(path);
  ASSERT_EQ(checkpoint->tensors().size(), infos.size());
  for (const TensorInfo& info : infos) {
    const TensorInfo* read = checkpoint->find(info.name);
    ASSERT_NE(read, nullptr) << info.name;
    EXPECT_EQ(read->dtype, info.dtype);
    EXPECT_EQ(read->shape, info.shape);
    EXPECT_EQ(bytes_of_tensor(checkpoint->read(info.name, Access::read)), content(info, read->bytes));
    const auto mapped = reinterpret_cast<uintptr_t>(checkpoint->read(info.name, Access::map).data);
    const auto width = static_cast<uintptr_t>(dtype_bits(info.dtype) / 8);
    if (width > 0 && read->bytes > 0) {
      EXPECT_EQ(mapped % width, 0u) << info.name;
    }
  }
  const std::string raw = test::read_file(path);
  EXPECT_EQ(static_cast<unsigned char>(raw[0]) % 8, 0);
  EXPECT_EQ(raw.substr(8, 36), R"({"__metadata__":{"format":"pt","quot)");
}

TEST(SafetensorsWriter, TakesAndGivesATensorInParts) {
  const test::TemporaryFolder folder;
  const std::vector<TensorInfo> infos{{.name = "a", .dtype = DType::u8, .shape = {6}},
                                      {.name = "b", .dtype = DType::u8, .shape = {2}}};
  const auto status = [](const auto& call) { return outcome_of(call).status; };
  {
    SafetensorsWriter writer(folder / "x.safetensors", infos, {});
    writer.write_part("a", 0, bytes_of("012"));
    writer.write("b", bytes_of("ab"));
    EXPECT_EQ(status([&] { writer.finish(); }), Status::internal);
    EXPECT_EQ(status([&] { writer.write_part("a", 4, bytes_of("4")); }), Status::internal);  // a gap
    EXPECT_EQ(status([&] { writer.write_part("a", 0, bytes_of("0")); }), Status::internal);
    EXPECT_EQ(status([&] { writer.write_part("a", 3, bytes_of("3456")); }), Status::internal);  // too long
    writer.write_part("a", 3, bytes_of("345"));
    writer.finish();
  }
  const auto checkpoint = open_safetensors(folder / "x.safetensors");
  std::string part(3, '?');
  checkpoint->read_part("a", 2, std::as_writable_bytes(std::span(part)));
  EXPECT_EQ(part, "234");
  EXPECT_EQ(status([&] { checkpoint->read_part("a", 4, std::as_writable_bytes(std::span(part))); }),
            Status::internal);
  EXPECT_EQ(status([&] { checkpoint->read_part("c", 0, {}); }), Status::not_found);
  std::string whole;
  stream_tensor(*checkpoint, *checkpoint->find("a"), [&](uint64_t offset, std::span<const std::byte> bytes) {
    EXPECT_EQ(offset, whole.size());
    whole.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  });
  EXPECT_EQ(whole, "012345");
}

TEST(SafetensorsWriter, RefusesMistakes) {
  const test::TemporaryFolder folder;
  const std::vector<TensorInfo> infos{{.name = "a", .dtype = DType::u8, .shape = {4}}};
  SafetensorsWriter writer(folder / "x", infos, {});
  const auto status = [](const auto& call) { return outcome_of(call).status; };
  EXPECT_EQ(status([&] { writer.write("b", bytes_of("1234")); }), Status::internal);
  EXPECT_EQ(status([&] { writer.write("a", bytes_of("123")); }), Status::internal);
  EXPECT_EQ(status([&] { writer.finish(); }), Status::internal);
  writer.write("a", bytes_of("1234"));
  EXPECT_EQ(status([&] { writer.write("a", bytes_of("1234")); }), Status::internal);
  EXPECT_EQ(status([&] { writer.write_part("a", 4, bytes_of("5")); }), Status::internal);
  EXPECT_NO_THROW(writer.finish());

  const auto fault = [&](std::vector<TensorInfo> bad) {
    return outcome_of([&] { SafetensorsWriter(folder / "y", std::move(bad), {}); }).fault;
  };
  EXPECT_EQ(fault({infos[0], infos[0]}), Fault::duplicate);
  EXPECT_EQ(fault({{.name = "", .dtype = DType::u8, .shape = {1}}}), Fault::format);
  EXPECT_EQ(fault({{.name = "n", .dtype = DType::f4, .shape = {1}}}), Fault::range);
  EXPECT_EQ(fault({{.name = "n", .dtype = DType::u8, .shape = {-1}}}), Fault::range);
  EXPECT_EQ(fault({{.name = "n", .dtype = DType::f32, .shape = {INT64_MAX, 8}}}), Fault::range);
  EXPECT_FALSE(fs::exists(folder / "y"));
  EXPECT_EQ(outcome_of([&] { SafetensorsWriter(folder / "x", infos, {}); }).fault, Fault::exists);
}

}  // namespace
}  // namespace gptq
