#include "base/kernel_file.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/descriptor.h"
#include "base/system_text.h"

namespace gptq {

std::string read_kernel_file(const std::filesystem::path& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) return {};
  std::string text(16384, '\0');
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = retry([&] { return ::read(file.get(), text.data() + size, text.size() - size); });
    if (got <= 0) break;
    size += static_cast<size_t>(got);
  }
  text.resize(size);
  return text;
}

}  // namespace gptq
