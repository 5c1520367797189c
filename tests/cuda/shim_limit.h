// How much memory the shim's devices have, for tests through gptq.h.
#pragma once

#include <dlfcn.h>
#include <gptq.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdlib>

namespace gptq::test {

using Limit = size_t (*)(int device, size_t bytes);

/// gptq_shim_limit() of the plugin, which this opens; null on a GPU.
inline Limit shim_limit() {
  EXPECT_EQ(setenv("GPTQ_PLUGIN_PATH", GPTQ_TEST_PLUGIN, 0), 0);
  EXPECT_EQ(gptq_device_check("cuda"), GPTQ_OK) << gptq_last_error_message();
  void* const plugin = dlopen(GPTQ_TEST_PLUGIN "/libgptq-cuda.so", RTLD_NOW | RTLD_NOLOAD);
  if (plugin == nullptr) return nullptr;
  const auto limit = reinterpret_cast<Limit>(dlsym(plugin, "gptq_shim_limit"));
  dlclose(plugin);
  return limit;
}

}  // namespace gptq::test
