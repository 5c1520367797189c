// The files beside the weights that a folder made from another one takes along.
#pragma once

#include "base/file.h"

namespace gptq {

/// Tokenizer, generation defaults, chat template, licence: what a loader needs or readers expect. Weights,
/// configuration and the model card stay behind.
void copy_companions(const fs::path& from, StagedFolder& to);

/// Refuses a target that is the source itself: Status::invalid_argument.
void refuse_in_place(const fs::path& source, const fs::path& target);

}  // namespace gptq
