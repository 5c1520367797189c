#include "base/error.h"

namespace gptq {

std::string_view fault_name(Fault fault) {
  switch (fault) {
    case Fault::none: return "";
    case Fault::truncated: return "TRUNC";
    case Fault::format: return "FORMAT";
    case Fault::limit: return "LIMIT";
    case Fault::range: return "RANGE";
    case Fault::mismatch: return "MISMATCH";
    case Fault::duplicate: return "DUP";
    case Fault::path: return "PATH";
    case Fault::unsupported: return "UNSUPPORTED";
    case Fault::numeric: return "NUMERIC";
    case Fault::io: return "IO";
    case Fault::exists: return "EXISTS";
    case Fault::changed: return "CHANGED";
  }
  return "";
}

Status status_of(Fault fault) {
  switch (fault) {
    case Fault::none: return Status::internal;
    case Fault::unsupported:
    case Fault::limit: return Status::unsupported;
    case Fault::io:
    case Fault::exists:
    case Fault::changed: return Status::io;
    default: return Status::corrupt;
  }
}

Error::Error(Fault fault, std::string message)
    : status_(status_of(fault)), fault_(fault), message_(std::move(message)) {
  message_ += " [";
  message_ += fault_name(fault);
  message_ += ']';
}

}  // namespace gptq
