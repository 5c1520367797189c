// Strict loading: every tensor of a checkpoint is claimed by the model, or the error names it.
#pragma once

#include <string>
#include <unordered_set>
#include <vector>

#include "format/checkpoint.h"
#include "format/layout.h"

namespace gptq {

class Claims {
 public:
  explicit Claims(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {}

  /// The tensor must be there, F32, F16 or BF16, of this shape: Fault::unsupported or mismatch otherwise.
  void require(const std::string& name, const std::vector<int64_t>& shape);
  /// The same if it is there.
  void allow(const std::string& name, const std::vector<int64_t>& shape);
  /// May be there and is not read.
  void ignore(const std::string& name);
  /// The tensors of a quantized module; the reader of the layout checks them.
  void claim_quantized(const std::string& module, const Layout& layout);
  /// Fault::mismatch naming the tensors that nothing claimed, or those missing.
  void finish();

 private:
  void check(const TensorInfo& tensor, const std::vector<int64_t>& shape);

  const Checkpoint& checkpoint_;
  std::unordered_set<std::string> claimed_;
  std::vector<std::string> missing_;
};

}  // namespace gptq
