// What an exception that was caught stands for.
#pragma once

#include <filesystem>
#include <new>
#include <stdexcept>
#include <system_error>

#include "base/error.h"

namespace gptq {

/// Inside a catch block: what use(status, message) gives for what was caught. The message goes with the exception.
template <class Use>
auto with_caught(const Use& use) noexcept {
  constexpr const char* kNoMemory = "out of memory";
  try {
    throw;
  } catch (const Error& error) {
    return use(error.status(), error.what());
  } catch (const std::bad_alloc&) {
    return use(Status::out_of_memory, kNoMemory);
  } catch (const std::length_error&) {
    return use(Status::out_of_memory, "out of memory: more than can be addressed");
  } catch (const std::filesystem::filesystem_error& error) {
    if (error.code() == std::errc::not_enough_memory) return use(Status::out_of_memory, error.what());
    try {
      return use(Status::io, Error(Fault::io, error.what()).what());
    } catch (...) {
      return use(Status::out_of_memory, kNoMemory);
    }
  } catch (const std::exception& error) {
    return use(Status::internal, error.what());
  } catch (...) {
    return use(Status::internal, "an exception of unknown type");
  }
}

/// Inside a catch block.
inline Status caught_status() noexcept {
  return with_caught([](Status status, const char*) { return status; });
}

}  // namespace gptq
