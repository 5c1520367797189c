// What folders made from a model have in common: the files beside the weights that they take along, and what can't be.
#pragma once

#include "base/file.h"
#include "format/quant_config.h"
#include "model/spec.h"

namespace gptq {

/// Tokenizer, generation defaults, chat template, licence: what a loader needs or readers expect. Weights,
/// configuration and the model card stay behind.
void copy_companions(const fs::path& from, StagedFolder& to);

/// Refuses a target that is the source itself: Status::invalid_argument.
void refuse_in_place(const fs::path& source, const fs::path& target);

/// Refuses a format that has no place for the way in which the family stores its weights: Fault::unsupported.
void refuse_storage(const Spec& spec, QuantFormat format);

}  // namespace gptq
