// Products of many rows by cuBLAS, for one stream: with so many, arithmetic takes the time and not the reading of weights, and
// NVIDIA's kernels reach more of a GPU's rate than the plugin's. Weights are unpacked to 16-bit numbers in panels of outputs,
// once for all rows; where cuBLAS is not there, or refuses, the plugin's own kernels do the same.
//
// The numbers are those of the own kernels but for the rounding of each weight to 16 bits: half a unit in the last place, as
// activations are rounded everywhere. Sums for Hessians and drifts have no weights.
// Rows in parts, as of experts (multiply_parts()), are not for it: each part would be a product of its own.
#pragma once

#include <cstdint>
#include <memory>

#include "cuda/cublas.h"
#include "cuda/kernels.h"
#include "cuda/step_queue.h"

namespace gptq::cuda {

/// From so many rows on. An estimate, to be measured (tests/gpu, "product"): 4096 x 4096 weights of 4 bits take 10 us of an
/// H200's memory to be unpacked, which the own kernel, with 32 rows to a tile, needs for about 90 rows more than cuBLAS.
inline constexpr int64_t kLibraryRows = 128;
static_assert(kLibraryRows > kMostStepRows, "cuBLAS is nothing for steps that become graphs");

class LibraryProducts {
 public:
  struct Limits {
    int64_t least_rows = kLibraryRows;
    size_t panel_bytes = size_t{64} << 20;  // of unpacked weights at most
    size_t sums_bytes = size_t{32} << 20;   // of sums that wait for a bias, but for those of one row
    int64_t least_panel = 1024;  // of rows of C, where half of it is wanted; a multiple of kSumsTile
  };

  /// `queue` outlives it.
  LibraryProducts(std::shared_ptr<MathLibrary> blas, std::shared_ptr<Device> device, DeviceQueue& queue,
                  const Limits& limits);

  /// y [rows, outputs] = x [rows, w.inputs()] W^T + bias, in a Turn. False: it is to be computed otherwise, and y has nothing
  /// of use.
  bool multiply(const Queue& queue, Element element, const Weights& w, const void* x, int64_t rows, void* y);

  /// As add_products() of kernels.h, which does what cuBLAS doesn't. It has the same precision: operands are exact, sums and
  /// what they are added to in fp32, in the same pieces. Throws with Status::device where it is not known what was added.
  void add_products(const Queue& queue, Element element, const void* a, int64_t a_cols, const void* b,
                    int64_t b_cols, int64_t rows, float sign, Wanted wanted, float* c);
  /// This stream goes without cuBLAS from here on, and what is there for it is given back; whether that was anything.
  bool stop() noexcept;

 private:
  bool is_ready();
  bool does(const BlasProduct& product);
  bool has_room(size_t panel_bytes, size_t sums_bytes);

  std::shared_ptr<Device> device_;
  Cublas blas_;
  Limits limits_;
  Block panel_, sums_;
};

}  // namespace gptq::cuda
