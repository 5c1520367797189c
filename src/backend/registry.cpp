// Device name -> backend.
#include <algorithm>
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
constexpr size_t kMostOfList = 64;

/// N of "cuda:N", 0 of "cuda", or kCpu.
int device_number(std::string_view device) {
  if (device.empty() || device == "cpu") return kCpu;
  if (device == "cuda") return 0;
  if (device_count(device) > 1)
    throw Error(Status::invalid_argument, cat("device ", quoted(device), " is a list, wanted one device"));
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

/// Of each of a list.
std::vector<int> device_numbers(std::string_view devices) {
  const size_t count = device_count(devices);
  if (count > kMostOfList)
    throw Error(Status::invalid_argument, cat("a list of ", count, " devices, wanted at most ", kMostOfList));
  std::vector<int> numbers;
  for (std::string_view rest = devices; numbers.size() < count;) {
    const std::string_view name = rest.substr(0, rest.find(','));
    if (name.empty() && count > 1) {
      throw Error(Status::invalid_argument,
                  cat("device ", numbers.size() + 1, " of the list ", quoted(devices),
                      " has no name, wanted 'cpu', 'cuda' or 'cuda:N'"));
    }
    numbers.push_back(device_number(name));
    rest.remove_prefix(std::min(name.size() + 1, rest.size()));
  }
  return numbers;
}

std::shared_ptr<const Backend> create_backend(int number, const BackendOptions& options) {
  // first, so that nothing is loaded where it can't be written
  std::shared_ptr<TraceFile> file = TraceFile::of_environment();
  auto backend = number == kCpu ? create_cpu_backend(options) : cuda_plugin().create(number, options);
  return file ? trace(std::move(backend), std::move(file)) : backend;
}

}  // namespace

size_t device_count(std::string_view devices) {
  return 1 + static_cast<size_t>(std::count(devices.begin(), devices.end(), ','));
}

std::shared_ptr<const Backend> create_backend(std::string_view device, const BackendOptions& options) {
  return create_backend(device_number(device), options);
}

std::vector<ListedDevice> create_backends(std::string_view devices, const BackendOptions& options) {
  const std::vector<int> numbers = device_numbers(devices);
  std::vector<ListedDevice> listed;
  for (size_t i = 0; i < numbers.size(); ++i) {
    const int number = numbers[i];
    const auto same = std::find(numbers.begin(), numbers.end(), number) - numbers.begin();
    listed.push_back({.name = number == kCpu ? "cpu" : cat("cuda:", number),
                      .backend = static_cast<size_t>(same) < i ? listed[static_cast<size_t>(same)].backend
                                                               : create_backend(number, options)});
  }
  return listed;
}

void check_device(std::string_view devices) {
  for (const int number : device_numbers(devices)) {
    if (number != kCpu) cuda_plugin().check(number);
  }
}

}  // namespace gptq
