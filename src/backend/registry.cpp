// Device name -> backend.
#include <charconv>

#include "backend/backend.h"
#include "backend/plugin.h"
#include "backend/trace.h"
#include "base/error.h"
#include "base/text.h"

namespace gptq {
namespace {

constexpr int kCpu = -1;
constexpr int kMostDevices = 1024;

/// N of "cuda:N", 0 of "cuda", or kCpu.
int device_number(std::string_view device) {
  if (device.empty() || device == "cpu") return kCpu;
  if (device == "cuda") return 0;
  int number = -1;
  if (device.starts_with("cuda:")) {
    const char* const end = device.data() + device.size();
    const auto [rest, error] = std::from_chars(device.data() + 5, end, number);
    if (error != std::errc() || rest != end || number >= kMostDevices) number = -1;
  }
  if (number < 0) {
    throw Error(Status::invalid_argument,
                cat("device ", quoted(device), " is not known, wanted 'cpu', 'cuda' or 'cuda:N'"));
  }
  return number;
}

}  // namespace

std::shared_ptr<const Backend> create_backend(std::string_view device, const BackendOptions& options) {
  const int number = device_number(device);
  // first, so that nothing is loaded where it can't be written
  std::shared_ptr<TraceFile> file = TraceFile::of_environment();
  auto backend = number == kCpu ? create_cpu_backend(options) : cuda_plugin().create(number, options);
  return file ? trace(std::move(backend), std::move(file)) : backend;
}

void check_device(std::string_view device) {
  const int number = device_number(device);
  if (number != kCpu) cuda_plugin().check(number);
}

}  // namespace gptq
