// The account of a rendering: steps done, bytes held, and where it is, for its errors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/template_limits.h"

namespace gptq::jinja {

struct Namespace;

struct Budget {
  uint64_t steps = kMaxSteps;
  size_t bytes = kMaxBytes;
};

inline void release(Budget* budget, size_t bytes) noexcept {
  if (budget != nullptr) budget->bytes += bytes;
}

class Runtime {
 public:
  /// @param now  what strftime_now() tells
  Runtime(std::string_view name, const std::tm& now);
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  Budget* budget() { return &budget_; }
  /// Both throw Fault::limit where there is not as much left.
  void work(uint64_t steps) {
    if (steps > budget_.steps) exceed("takes more than the steps that a template may", kMaxSteps);
    budget_.steps -= steps;
  }
  void hold(size_t bytes) {
    if (bytes > budget_.bytes) exceed("holds more than the bytes that a template may", kMaxBytes);
    budget_.bytes -= bytes;
  }

  /// "chat_template.jinja: line 3: TypeError: ..." as Status::invalid_argument: what came of this template with
  /// these values. Kind and message are those of Python's, which the authors of templates know.
  [[noreturn]] void fail(std::string_view kind, const std::string& message) const;
  [[noreturn]] void exceed(std::string_view what, uint64_t limit) const;
  [[noreturn]] void unsupported(const std::string& what) const;

  /// One evaluation inside another, while it lives.
  class Level {
   public:
    explicit Level(Runtime& runtime) : runtime_(runtime) {
      if (runtime_.depth_ >= kMaxDepth)
        runtime_.exceed("is evaluated deeper than a template may be", kMaxDepth);
      ++runtime_.depth_;
    }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;
    ~Level() { --runtime_.depth_; }

   private:
    Runtime& runtime_;
  };

  const std::tm& now() const { return now_; }
  void at_line(uint32_t line) { line_ = line; }
  uint32_t line() const { return line_; }
  Namespace* make_namespace();

 private:
  std::string where() const;

  Budget budget_;
  std::string name_;
  std::tm now_;
  uint32_t line_ = 1;
  int depth_ = 0;
  std::vector<std::unique_ptr<Namespace>> namespaces_;
};

}  // namespace gptq::jinja
