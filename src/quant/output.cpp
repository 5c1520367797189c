#include "quant/output.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/folder.h"
#include "base/json_writer.h"
#include "base/text.h"
#include "format/compressed_tensors_config.h"
#include "format/written_module.h"
#include "quant/companions.h"

namespace gptq {
namespace {

/// Tensors that the output has not, and the Linears that are in them: one, or those of all experts.
std::unordered_map<std::string, std::vector<StoredLinear>> replaced_tensors(const Loader& source,
                                                                            const ModulePlan& modules) {
  std::unordered_map<std::string, std::vector<StoredLinear>> replaced;
  const std::vector<StoredLinear> linears = source.linears();
  for (const StoredLinear& linear : linears) {
    if (modules.find(linear.path) == nullptr) continue;
    replaced[linear.weight];
    if (linear.stacked) replaced[linear.bias];
  }
  for (const StoredLinear& linear : linears) {
    for (const std::string& tensor : {linear.weight, linear.bias}) {
      const auto found = replaced.find(tensor);
      if (found != replaced.end()) found->second.push_back(linear);
    }
  }
  return replaced;
}

std::vector<TensorInfo> plan(const Loader& source, const ModulePlan& plan, QuantFormat format) {
  const auto replaced = replaced_tensors(source, plan);
  std::vector<TensorInfo> tensors;
  for (const TensorInfo& tensor : source.checkpoint().tensors()) {
    const auto found = replaced.find(tensor.name);
    if (found == replaced.end()) {
      tensors.push_back(tensor);
      continue;
    }
    for (const StoredLinear& linear : found->second) {
      const SolverOptions* solver = plan.find(linear.path);
      const int64_t in = linear.in_features, out = linear.out_features;
      if (tensor.name == linear.bias) {
        tensors.push_back({.name = linear.path + ".bias", .dtype = tensor.dtype, .shape = {out}});
      } else if (solver == nullptr) {
        tensors.push_back({.name = linear.path + ".weight", .dtype = tensor.dtype, .shape = {out, in}});
      } else {
        for (TensorInfo& part : module_tensors(linear.path, planned_shape(*solver, in, out), format))
          tensors.push_back(std::move(part));
      }
    }
  }
  return tensors;
}

QuantConfig quant_config(const QuantOptions& options) {
  return {.bits = options.solver.bits,
          .group_size = options.solver.group_size,
          .symmetry = options.solver.symmetric == Symmetric::yes ? Symmetry::symmetric : Symmetry::asymmetric,
          .desc_act = options.solver.order == Order::act,
          .format = output_format(options),
          .lm_head = options.lm_head == QuantizeHead::yes,
          .overrides = options.overrides};
}

QuantDetails quant_details(const QuantOptions& options) {
  return {.damp_percent = options.solver.damp_percent,
          .damp_auto_increment = options.solver.damp_auto_increment,
          .static_groups = options.solver.static_groups == StaticGroups::yes,
          .true_sequential = options.true_sequential == TrueSequential::yes,
          .act_group_aware = options.solver.order == Order::gar,
          .quantizer = cat("libgptq:", GPTQ_VERSION_TEXT)};
}

/// Refuses, before any work, what compressed-tensors can't hold.
void check_compressed(const Loader& source, const ModulePlan& modules) {
  for (const StoredLinear& linear : source.linears()) {
    const SolverOptions* solver = modules.find(linear.path);
    if (solver == nullptr) continue;
    if (solver->order == Order::act && solver->static_groups == StaticGroups::no) {
      throw Error(Status::invalid_argument,
                  "format compressed_tensors has no place for option 'order' = act without option "
                  "'static_groups' = 1; "
                  "wanted gar or none");
    }
    if (solver->group_size == -1 ||
        linear.in_features % std::min(solver->group_size, linear.in_features) == 0)
      continue;
    throw Error(Status::invalid_argument,
                cat(linear.path, ": groups of ", solver->group_size, " do not divide its ",
                    linear.in_features, " inputs, which compressed_tensors can't hold"));
  }
}

std::string compressed_config(const Loader& source, const ModulePlan& modules) {
  std::vector<std::pair<std::string, ModuleShape>> stored;
  std::vector<std::string> ignored;
  if (source.tied()) ignored.push_back(source.head_name());
  for (const StoredLinear& linear : source.linears()) {
    if (const SolverOptions* solver = modules.find(linear.path)) {
      stored.emplace_back(linear.full_name, planned_shape(*solver, linear.in_features, linear.out_features));
    } else {
      ignored.push_back(linear.full_name);
    }
  }
  return write_compressed_config(stored, ignored);
}

}  // namespace

QuantFormat output_format(const QuantOptions& options) {
  if (options.format) return *options.format;
  const bool some_asymmetric =
      options.solver.symmetric == Symmetric::no ||
      std::any_of(options.overrides.begin(), options.overrides.end(), [](const ModuleOverride& one) {
        return one.kind == ModuleOverride::Kind::change && one.symmetric == false;
      });
  return some_asymmetric ? QuantFormat::gptq_v2 : QuantFormat::gptq;
}

QuantizedFolder::QuantizedFolder(const Loader& source, const fs::path& target, const WorkFolder& within,
                                 const QuantOptions& options, const ModulePlan& modules)
    : source_(source), options_(options), modules_(modules), folder_(target, options.overwrite, within) {
  refuse_storage(source.spec(), output_format(options));
  if (output_format(options) == QuantFormat::compressed_tensors) check_compressed(source, modules);
  writer_ =
      std::make_unique<FolderWriter>(folder_.descriptor(), folder_.path(),
                                     plan(source, modules, output_format(options)), options.max_shard_bytes);
}

void QuantizedFolder::write_module(const std::string& module, const QTensor& quantized) {
  const ModuleShape shape = planned_shape(*modules_.find(module), quantized.cols, quantized.rows);
  for (const NamedBytes& part : gptq::write_module(quantized, module, shape, output_format(options_))) {
    writer_->write(part.name, part.bytes);
  }
}

void QuantizedFolder::copy_tensors() {
  const auto replaced = replaced_tensors(source_, modules_);
  const auto write = [&](const std::string& name, const Tensor& tensor) {
    writer_->write(name, {tensor.data, tensor.bytes});
  };
  for (const TensorInfo& tensor : source_.checkpoint().tensors()) {
    const auto found = replaced.find(tensor.name);
    if (found == replaced.end()) {
      copy_tensor(source_.checkpoint(), tensor, *writer_);
      continue;
    }
    for (const StoredLinear& linear : found->second) {
      if (tensor.name == linear.bias) {
        write(linear.path + ".bias", *source_.bias(linear, Access::read));
      } else if (modules_.find(linear.path) == nullptr) {
        write(linear.path + ".weight", source_.dense_weight(linear, Access::read));
      }
    }
  }
  writer_->finish();
}

void QuantizedFolder::write_configs() {
  const std::string text = read_text_file(join(source_.folder(), "config.json"), kMaxConfigBytes);
  const bool compressed = output_format(options_) == QuantFormat::compressed_tensors;
  const std::string quantization = compressed
                                       ? compressed_config(source_, modules_)
                                       : write_quant_config(quant_config(options_), quant_details(options_));
  const std::string config = set_json_member(text, "config.json", "quantization_config", quantization);
  if (!compressed) folder_.write_file("quantize_config.json", quantization + "\n");
  folder_.write_file("config.json", config + "\n");
}

void QuantizedFolder::add_file(std::string_view name, std::string_view text) {
  folder_.write_file(name, text);
}

void QuantizedFolder::finish() {
  copy_tensors();
  copy_companions(source_.folder(), folder_);
  source_.checkpoint().check_unchanged();
  write_configs();
  folder_.commit();
}

}  // namespace gptq
