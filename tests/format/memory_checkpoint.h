// A checkpoint in memory with one module "m", for the tests of layouts.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "base/qtensor.h"
#include "format/checkpoint.h"

namespace gptq::test {

class MemoryCheckpoint final : public Checkpoint {
 public:
  template <class T>
  void put(const std::string& suffix, DType dtype, std::vector<int64_t> shape, const std::vector<T>& values) {
    std::byte* bytes = nullptr;
    Tensor tensor = make_tensor(dtype, shape, &bytes);
    ASSERT_EQ(tensor.bytes, values.size() * sizeof(T));
    if (tensor.bytes != 0) std::memcpy(bytes, values.data(), tensor.bytes);
    held_["m." + suffix] = tensor;
    refresh();
  }
  /// A tensor as a layout's writer hands it out, named "m.suffix".
  void put(const TensorInfo& info, const std::vector<std::byte>& bytes) {
    put(info.name.substr(2), info.dtype, info.shape, bytes);
  }
  void remove(const std::string& suffix) {
    held_.erase("m." + suffix);
    refresh();
  }

  const std::vector<TensorInfo>& tensors() const override { return infos_; }
  const TensorInfo* find(std::string_view name) const override {
    for (const TensorInfo& info : infos_) {
      if (info.name == name) return &info;
    }
    return nullptr;
  }
  Tensor read(std::string_view name, Access) const override { return held_.at(std::string(name)); }
  void read_part(std::string_view name, uint64_t offset, std::span<std::byte> out) const override {
    const Tensor& tensor = held_.at(std::string(name));
    ASSERT_LE(offset + out.size(), tensor.bytes);
    std::memcpy(out.data(), tensor.data + offset, out.size());
  }
  void check_unchanged() const override {}

 private:
  void refresh() {
    infos_.clear();
    for (const auto& [name, tensor] : held_) {
      infos_.push_back({.name = name,
                        .dtype = tensor.dtype,
                        .shape = tensor.shape,
                        .bytes = tensor.bytes,
                        .file = "memory"});
    }
  }
  std::map<std::string, Tensor> held_;
  std::vector<TensorInfo> infos_;
};

inline void expect_equal(const QTensor& a, const QTensor& b) {
  EXPECT_EQ(a.bits, b.bits);
  EXPECT_EQ(a.groups, b.groups);
  EXPECT_EQ(a.codes, b.codes);
  EXPECT_EQ(a.scales, b.scales);
  EXPECT_EQ(a.zeros, b.zeros);
  EXPECT_EQ(a.group_of, b.group_of);
}

}  // namespace gptq::test
