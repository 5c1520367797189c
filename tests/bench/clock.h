// Seconds since it was made: of the process's CPU time where one thread computes, so that a busy machine disturbs less.
#pragma once

#include <ctime>

namespace gptq::bench {

class Clock {
 public:
  explicit Clock(int threads)
      : id_(threads == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC), start_(now()) {}
  double seconds() const { return now() - start_; }

 private:
  double now() const {
    timespec t{};
    clock_gettime(id_, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
  }
  clockid_t id_;
  double start_;
};

}  // namespace gptq::bench
