#include "model/claims.h"

#include "base/error.h"
#include "base/text.h"

namespace gptq {
namespace {

/// The first few names, and how many more there are.
std::string list(const std::vector<std::string>& names) {
  constexpr size_t kShown = 4;
  std::string text;
  for (size_t i = 0; i < names.size() && i < kShown; ++i) text += cat(i ? ", " : "", quoted(names[i], 120));
  if (names.size() > kShown) text += cat(" and ", names.size() - kShown, " more");
  return text;
}

}  // namespace

void Claims::check(const TensorInfo& tensor, const std::vector<int64_t>& shape) {
  const bool floating =
      tensor.dtype == DType::f32 || tensor.dtype == DType::f16 || tensor.dtype == DType::bf16;
  if (!floating) {
    throw Error(Fault::unsupported, cat(tensor.file, ": tensor ", quoted(tensor.name), " has type ",
                                        dtype_name(tensor.dtype), ", wanted F32, F16 or BF16"));
  }
  if (tensor.shape != shape) {
    throw Error(Fault::mismatch, cat(tensor.file, ": tensor ", quoted(tensor.name), " has shape ",
                                     shape_text(tensor.shape), ", config.json wants ", shape_text(shape)));
  }
}

void Claims::require(const std::string& name, const std::vector<int64_t>& shape) {
  if (checkpoint_.find(name) == nullptr) {
    missing_.push_back(name);
    return;
  }
  allow(name, shape);
}

void Claims::allow(const std::string& name, const std::vector<int64_t>& shape) {
  const TensorInfo* tensor = checkpoint_.find(name);
  if (tensor == nullptr) return;
  check(*tensor, shape);
  claimed_.insert(name);
}

void Claims::ignore(const std::string& name) {
  if (checkpoint_.find(name) != nullptr) claimed_.insert(name);
}

void Claims::claim_quantized(const std::string& module, const Layout& layout) {
  for (const std::string& name : module_tensor_names(module, layout)) ignore(name);
}

void Claims::finish() {
  if (!missing_.empty()) {
    throw Error(Fault::mismatch, cat("the checkpoint lacks ", missing_.size(),
                                     " of the tensors that config.json wants: ", list(missing_)));
  }
  std::vector<std::string> unknown;
  for (const TensorInfo& tensor : checkpoint_.tensors()) {
    if (!claimed_.contains(tensor.name)) unknown.push_back(tensor.name);
  }
  if (!unknown.empty()) {
    throw Error(Fault::mismatch,
                cat("the checkpoint has ", unknown.size(),
                    " tensors that the architecture of config.json does not: ", list(unknown)));
  }
}

}  // namespace gptq
