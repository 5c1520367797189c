// Uses of the library, small enough to be repeated with a fault at every place.
#pragma once

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "gptq.h"
#include "support/test_data.h"

namespace gptq::test {

/// A two-layer model of 64 tokens with a tokenizer of letters and bytes.
class TinyModel {
 public:
  TinyModel();
  std::string path() const { return folder_ / "model"; }
  /// Where outputs go: nothing else is in it.
  fs::path outputs() const { return folder_ / "outputs"; }

 private:
  TemporaryFolder folder_;
};

/// Handles that free themselves; `get` for arguments, `out` for results.
template <class Handle, void (*Free)(Handle*)>
class Held {
 public:
  Held() = default;
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  ~Held() { Free(handle_); }
  Handle* get() const { return handle_; }
  Handle** out() {
    Free(handle_);
    handle_ = nullptr;
    return &handle_;
  }

 private:
  Handle* handle_ = nullptr;
};

using HeldModel = Held<gptq_model, gptq_model_free>;
using HeldSession = Held<gptq_session, gptq_session_free>;
using HeldOptions = Held<gptq_options, gptq_options_free>;
using HeldBuffer = Held<gptq_buffer, gptq_buffer_free>;
using HeldQuantizer = Held<gptq_quantizer, gptq_quantizer_free>;

/// Each returns the first failing status, or one of success.
gptq_status load(const char* folder, int threads, HeldModel& model, const char* device = "cpu");
gptq_status quantize(const char* folder, const char* output, int threads, const char* resume = "never",
                     int64_t memory_limit = 0);
/// The least memory_limit that quantize() takes, with hidden states in files.
int64_t least_memory_limit(const char* folder, const char* output);

/// Errors of the system for each of which a call on a file may fail.
inline constexpr int kErrors[] = {ENOSPC, EIO, EDQUOT, EACCES, EMFILE, ENOMEM};
/// What a failure of `code` may be: the system's refusal, or what is left of a file that can't be read.
void expect_named(gptq_status status, int code);

std::string text_of(const gptq_buffer* buffer);

/// Names in a folder, hidden ones included.
std::vector<std::string> names_in(const fs::path& folder);
/// An output folder that holds all its files and that loads.
bool is_whole(const fs::path& folder);
/// Descriptors that the process has open.
int64_t open_files();

/// Runs `body` in a child process; its exit code, or 1000 + the signal that ended it.
template <class Body>
int in_child(const Body& body);

}  // namespace gptq::test

#include <sys/wait.h>
#include <unistd.h>

template <class Body>
int gptq::test::in_child(const Body& body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}
