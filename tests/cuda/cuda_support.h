// Activations in fp16 or bf16, and the CPU backend as the measure of what kernels make of them.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/half.h"
#include "base/random.h"
#include "cuda/kernels.h"
#include "machine.h"

namespace gptq::cuda {

inline constexpr Queue kQueue{.stream = nullptr, .processors = 3};
inline constexpr Element kElements[] = {Element::f16, Element::bf16};

inline uint16_t bits_of(Element element, float x) {
  return element == Element::f16 ? float_to_fp16(x) : float_to_bf16(x);
}
inline float value_of(Element element, uint16_t bits) {
  return element == Element::f16 ? fp16_to_float(bits) : bf16_to_float(bits);
}
/// The most that rounding changes a number by, relative to it.
inline float rounding(Element element) { return element == Element::f16 ? 0x1p-11f : 0x1p-8f; }

inline std::vector<float> random_floats(Random& random, int64_t n, float scale = 1.0f) {
  std::vector<float> out(static_cast<size_t>(n));
  for (float& v : out) v = scale * static_cast<float>(2.0 * random.uniform() - 1.0);
  return out;
}

/// What kernels read and write, at a multiple of 16 bytes, and a pattern behind it that they may not touch.
class Activations {
 public:
  /// Rounds `values` to the element.
  Activations(Element element, const std::vector<float>& values) : element_(element), n_(values.size()) {
    const size_t bytes = (n_ * 2 + kGuard + 15) / 16 * 16;
    data_.reset(static_cast<uint16_t*>(::operator new(bytes, kAlignment)));
    for (size_t i = 0; i < n_; ++i) data_.get()[i] = bits_of(element, values[i]);
    std::memset(data_.get() + n_, kPattern, kGuard);
  }
  /// NaN
  Activations(Element element, int64_t n)
      : Activations(element, std::vector<float>(static_cast<size_t>(n), NAN)) {}

  uint16_t* data() { return data_.get(); }
  std::vector<float> floats() const {
    std::vector<float> out(n_);
    for (size_t i = 0; i < n_; ++i) out[i] = value_of(element_, data_.get()[i]);
    const auto* const guard = reinterpret_cast<const unsigned char*>(data_.get() + n_);
    for (size_t i = 0; i < kGuard; ++i) EXPECT_EQ(guard[i], kPattern) << "written behind the end";
    return out;
  }

 private:
  static constexpr std::align_val_t kAlignment{16};
  static constexpr size_t kGuard = 64;
  static constexpr unsigned char kPattern = 0xA5;
  struct Free {
    void operator()(uint16_t* p) const { ::operator delete(p, kAlignment); }
  };
  Element element_;
  size_t n_;
  std::unique_ptr<uint16_t, Free> data_;
};

inline Matrix matrix_of(std::vector<float>& values, int64_t rows, int64_t cols) {
  return {reinterpret_cast<std::byte*>(values.data()), rows, cols};
}

/// |got - want| <= tolerance (|want| + scale); says the first that is not.
inline void expect_near(const std::vector<float>& got, const std::vector<float>& want, float tolerance,
                        float scale, const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(want[i]) && std::isnan(got[i])) continue;
    ASSERT_LE(std::abs(got[i] - want[i]), tolerance * (std::abs(want[i]) + scale))
        << what << ": element " << i << " is " << got[i] << ", wanted " << want[i];
  }
}

/// Of the accesses to shared memory since reset_counts(), of which there are more than `least`.
inline void expect_no_conflicts(uint64_t least, const std::string& what = {}) {
  if (!shim::kCounts) return;
  EXPECT_GT(shim::counts().accesses, least) << what;
  EXPECT_EQ(shim::counts().conflicts, 0u) << what;
}
inline void expect_launches(uint64_t wanted) {
  if (shim::kCounts) {
    EXPECT_EQ(shim::counts().launches, wanted);
  }
}

/// A stream of the CPU backend.
class Reference {
 public:
  Reference() : backend_(create_backend("cpu", {.threads = 1})), stream_(backend_->create_stream(nullptr)) {}
  const Backend& backend() const { return *backend_; }
  Stream* operator->() { return stream_.get(); }

 private:
  std::shared_ptr<const Backend> backend_;
  std::unique_ptr<Stream> stream_;
};

/// Of codes, those that are the same.
inline double part_of_equal(const std::vector<uint8_t>& got, const std::vector<uint8_t>& want) {
  size_t equal = 0;
  for (size_t i = 0; i < got.size(); ++i) equal += got[i] == want[i] ? 1 : 0;
  return static_cast<double>(equal) / static_cast<double>(got.size());
}

}  // namespace gptq::cuda
