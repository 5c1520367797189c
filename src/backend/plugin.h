// Backends in libraries of their own, opened at run time: what libgptq and such a plugin agree on, and how one is found.
//
// Both sides are C++ of the same source: what goes through the table below are the classes of backend.h, and
// gptq::Error is thrown through it (libstdc++ knows types by their names, so that it is caught as what it is). That
// holds between builds of the same headers by compilers of the same ABI alone, and kPluginInterface tells them apart.
#pragma once

#include <memory>
#include <string>

#include "backend/backend.h"
#include "base/log.h"

#define GPTQ_PLUGIN_TEXT_(x) #x
#define GPTQ_PLUGIN_TEXT(x) GPTQ_PLUGIN_TEXT_(x)
#if defined(_GLIBCXX_USE_CXX11_ABI)
#define GPTQ_PLUGIN_LIBRARY "libstdc++" GPTQ_PLUGIN_TEXT(_GLIBCXX_USE_CXX11_ABI)
#else
#define GPTQ_PLUGIN_LIBRARY "another library"
#endif

namespace gptq {

/// Must be equal on both sides: a hash of the headers that they share (src/CMakeLists.txt), and the C++ ABI.
inline constexpr char kPluginInterface[] =
    GPTQ_SEAM_HASH " " GPTQ_PLUGIN_LIBRARY " abi" GPTQ_PLUGIN_TEXT(__GXX_ABI_VERSION);

/// What a plugin is known by. The two texts come first in every version of this; nothing behind them is looked at
/// unless `interface` is equal.
struct PluginTable {
  const char* interface;
  const char* version;  // "0.1.0", for messages
  /// Throws Error unless there is a driver that works and a device of that number: Status::device, or
  /// Status::invalid_argument for a number beyond the last.
  void (*check)(int device);
  std::shared_ptr<const Backend> (*create)(int device, const BackendOptions& options);
  /// Where what it logs goes from now on, of all levels.
  void (*log_to)(LogSink sink);
};

/// The one function that a plugin exports, extern "C", as "gptq_plugin". Null: it can't say what it is.
using PluginEntry = const PluginTable* (*)();
#define GPTQ_PLUGIN_EXPORT __attribute__((visibility("default")))

/// Where libgptq-cuda.so is looked for: in the folder GPTQ_PLUGIN_PATH of the environment (not for a program with more
/// rights than its user), else in the folder `gptq` beside this library, or beside the program that it is part of.
std::string plugin_path();

/// Opens a plugin, for as long as the process lives, since drivers have threads of their own; one that is refused is
/// closed. Throws Error: Status::not_found, or ::unsupported.
const PluginTable& open_plugin(const std::string& path);

/// The one at plugin_path(), which the first call that succeeds opens; what it logs is logged here. Any thread.
const PluginTable& cuda_plugin();

}  // namespace gptq
