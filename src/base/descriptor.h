// An open file of the system's, closed with its owner.
#pragma once

#include <unistd.h>

#include <utility>

namespace gptq {

class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  int get() const { return number_; }
  /// The file is the caller's to close.
  int release() { return std::exchange(number_, -1); }

 private:
  int number_;
};

}  // namespace gptq
