// The process that made a driver's objects: in a child of it they are of no use, and must be left alone.
#pragma once

#include <unistd.h>

namespace gptq::cuda {

class Process {
 public:
  bool is_this() const { return getpid() == pid_; }

 private:
  pid_t pid_ = getpid();
};

}  // namespace gptq::cuda
