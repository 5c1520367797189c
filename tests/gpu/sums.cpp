#include "sums.h"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <limits>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/half.h"
#include "base/random.h"
#include "base/stopwatch.h"
#include "cuda/cusolver.h"
#include "cuda/library_products.h"

namespace gptq::cuda {
namespace {

constexpr int64_t kRows = 4096;
constexpr int kRounds = 3;
using Json = nlohmann::ordered_json;

struct Sums {
  std::shared_ptr<Device> device;
  StepQueue queue{device};
  int64_t size;
  Block x{device, static_cast<size_t>(kRows* size) * sizeof(uint16_t)};
  Block h{device, static_cast<size_t>(size* size) * sizeof(float)};

  Sums(std::shared_ptr<Device> on, int64_t inputs) : device(std::move(on)), size(inputs) {
    Random random(8);
    std::vector<uint16_t> noise(size_t{1} << 20);
    for (uint16_t& v : noise) v = float_to_bf16(static_cast<float>(2 * random.uniform() - 1));
    for (size_t at = 0; at < x.bytes(); at += noise.size() * sizeof(uint16_t))
      queue.upload(x.as<std::byte>() + at, noise.data(),
                   std::min(noise.size() * sizeof(uint16_t), x.bytes() - at));
    queue.clear(h.data(), h.bytes());
    queue.wait();
  }

  /// By these libraries, or by none.
  void add(const Queue& to, LibraryProducts& products) const {
    products.add_products(to, Element::bf16, x.data(), size, x.data(), size, kRows, 1.0f, Wanted::upper,
                          h.as<float>());
  }

  /// Seconds, the best of some rounds, each until it is done.
  double seconds(const std::function<void(const Queue&)>& work) {
    double best = std::numeric_limits<double>::infinity();
    for (int round = 0; round <= kRounds; ++round) {
      const Turn turn(queue);
      const Stopwatch watch;
      work(turn.queue());
      queue.wait();
      if (round > 0) best = std::min(best, watch.seconds());
    }
    return best;
  }
};

std::shared_ptr<MathLibrary> library(const char* title, std::vector<std::string> names) {
  return std::make_shared<MathLibrary>(title, std::move(names));
}

/// Says both, the second if there is one.
void report_both(test::Report& report, const char* name, int64_t size, double own, double by_library,
                 const char* title) {
  Json result{{"name", name}, {"size", size}, {"seconds", own}};
  std::printf("%s, %ld: %8.2f ms", name, static_cast<long>(size), own * 1e3);
  if (by_library > 0) {
    result["library_seconds"] = by_library;
    std::printf(", %8.2f ms by %s", by_library * 1e3, title);
  }
  std::printf("\n");
  report.add(std::move(result));
}

}  // namespace

void measure_sums(const std::shared_ptr<Device>& device, int64_t size, test::Report& report) {
  Sums sums(device, size);
  LibraryProducts own(library("cuBLAS", {}), device, sums.queue, {});
  const auto blas = library("cuBLAS", device->libraries().blas);
  LibraryProducts by_library(blas, device, sums.queue, {});
  const double time = sums.seconds([&](const Queue& queue) { sums.add(queue, own); });
  const double other = sums.seconds([&](const Queue& queue) { sums.add(queue, by_library); });
  const bool was_used = !blas->name().empty() && !blas->is_given_up();
  report_both(report, "Hessian of 4096 rows", size, time, was_used ? other : 0, "cuBLAS");
}

void measure_factors(const std::shared_ptr<Device>& device, int64_t size, test::Report& report) {
  Sums sums(device, size);
  LibraryProducts own(library("cuBLAS", {}), device, sums.queue, {});
  {
    const Turn turn(sums.queue);
    sums.add(turn.queue(), own);
  }
  std::vector<int32_t> order(static_cast<size_t>(size));
  std::iota(order.begin(), order.end(), 0);
  const std::vector<float> add(order.size(), 0.01f * kRows / 3);  // 1 % of the diagonal
  const Block order_there(device, order.size() * sizeof(int32_t)),
      add_there(device, add.size() * sizeof(float)), scratch(device, scratch_of_factor(size)),
      u(device, sums.h.bytes()), flag(device, sizeof(uint32_t));
  sums.queue.upload(order_there.data(), order.data(), order_there.bytes());
  sums.queue.upload(add_there.data(), add.data(), add_there.bytes());
  sums.queue.clear(flag.data(), flag.bytes());
  const auto begin = [&](const Queue& queue) {
    begin_factor(queue, sums.h.as<const float>(), size, order_there.as<const int32_t>(),
                 add_there.as<const float>(), scratch.data());
  };
  const auto pace = [&] { sums.queue.pace(); };
  const auto finish = [&](const Queue& queue) {
    finish_factor(queue, size, scratch.data(), u.as<float>(), pace);
  };
  const double time = sums.seconds([&](const Queue& queue) {
    begin(queue);
    factor_blocks(queue, size, scratch.data(), flag.as<uint32_t>(), pace);
  });
  const double inverse = sums.seconds(finish);
  Cusolver solver(library("cuSOLVER", device->libraries().solver), device, sums.queue);
  bool worked = true;
  const double other = sums.seconds([&](const Queue& queue) {
    begin(queue);
    worked = worked && solver.factor(scratch.as<float>(), size) == Cusolver::Outcome::done;
    if (worked) take_factor(queue, size, scratch.data(), flag.as<uint32_t>());
  });
  report_both(report, "Cholesky factor", size, time, worked ? other : 0, "cuSOLVER");
  report_both(report, "inverse of a factor", size, inverse, 0, "");
  uint32_t failed = 0;
  sums.queue.download(&failed, flag.data(), sizeof failed);
  if (failed != 0) throw Error(Status::internal, "a Hessian that has a factor got none");
}

}  // namespace gptq::cuda
