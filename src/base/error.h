// The one exception type of the library, and the faults it can report.
#pragma once

#include <cstdint>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

namespace gptq {

/// Same numbers as GPTQ_OK and GPTQ_ERROR_* in gptq.h.
enum class Status : int32_t {
  ok = 0,
  cancelled = -1,
  invalid_argument = -2,
  not_found = -3,
  io = -4,
  corrupt = -5,
  unsupported = -6,
  out_of_memory = -7,
  device = -8,
  context_full = -9,
  busy = -10,
  bad_state = -11,
  callback = -12,
  internal = -99,
};

/// What is wrong, finer than a Status. Its name, in brackets, ends every message about bad input,
/// so that a program can tell the cases apart: "... wanted 64, found 60 [MISMATCH]".
enum class Fault : uint8_t {
  none,         // the Status says it all
  truncated,    // TRUNC: the file ends before what it announces
  format,       // FORMAT: not what the format's grammar allows
  limit,        // LIMIT: larger, deeper or more than this library accepts
  range,        // RANGE: a number outside its meaning
  mismatch,     // MISMATCH: two statements contradict each other
  duplicate,    // DUP: a key or name given twice
  path,         // PATH: a file name that leaves its folder
  unsupported,  // UNSUPPORTED: valid, but not known here
  numeric,      // NUMERIC: NaN, infinity, or a scale that is not positive
  io,           // IO: the operating system refused
  exists,       // EXISTS: the output is already there
  changed,      // CHANGED: the input is no longer what it was
};

std::string_view fault_name(Fault fault);  // "TRUNC", ...; empty for Fault::none
Status status_of(Fault fault);

class Error : public std::exception {
 public:
  Error(Status status, std::string message) : status_(status), message_(std::move(message)) {}
  /// Appends " [FAULT]" to the message.
  Error(Fault fault, std::string message);

  Status status() const noexcept { return status_; }
  Fault fault() const noexcept { return fault_; }
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  Status status_;
  Fault fault_ = Fault::none;
  std::string message_;
};

}  // namespace gptq
