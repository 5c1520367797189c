#include "text/template_runtime.h"

#include "base/error.h"
#include "base/text.h"
#include "text/template_value.h"

namespace gptq::jinja {

Runtime::Runtime(std::string_view name, const std::tm& now) : name_(name), now_(now) {}
Runtime::~Runtime() = default;

std::string Runtime::where() const { return cat(name_, ": line ", line_, ": "); }

void Runtime::fail(std::string_view kind, const std::string& message) const {
  throw Error(Status::invalid_argument, cat(where(), kind, ": ", message));
}

void Runtime::exceed(std::string_view what, uint64_t limit) const {
  throw Error(Fault::limit, cat(where(), what, ", ", limit));
}

void Runtime::unsupported(const std::string& what) const {
  throw Error(Fault::unsupported, cat(where(), what));
}

Namespace* Runtime::make_namespace() {
  hold(sizeof(Namespace) + sizeof(void*));
  namespaces_.push_back(std::make_unique<Namespace>());
  return namespaces_.back().get();
}

}  // namespace gptq::jinja
