// The GPTQ folder that a job writes: staged, filled tensor by tensor in any order, and committed by one rename.
#pragma once

#include <memory>
#include <string>

#include "base/file.h"
#include "base/work_folder.h"
#include "format/folder_writer.h"
#include "model/loader.h"
#include "quant/module_plan.h"
#include "quant/options.h"

namespace gptq {

class QuantizedFolder {
 public:
  /// Fixes names and sizes of all tensors, and reserves their space on disk; `within` as for StagedFolder.
  QuantizedFolder(const Loader& source, const fs::path& target, const WorkFolder& within,
                  const QuantOptions& options, const ModulePlan& modules);

  /// Of all tensors.
  uint64_t bytes() const { return writer_->bytes(); }
  /// Replaces the module's weight by the tensors of the format.
  void write_module(const std::string& module, const QTensor& quantized);
  /// A file beside the model's own.
  void add_file(std::string_view name, std::string_view text);
  /// Copies all other tensors, the tokenizer and the configurations, and makes the folder appear.
  void finish();

 private:
  void copy_tensors();
  void write_configs();

  const Loader& source_;
  const QuantOptions& options_;
  const ModulePlan& modules_;
  StagedFolder folder_;
  std::unique_ptr<FolderWriter> writer_;
};

/// The layout that the options lead to.
QuantFormat output_format(const QuantOptions& options);

}  // namespace gptq
