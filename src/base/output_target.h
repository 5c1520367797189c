// Where an output folder shall appear, and whether it may.
#pragma once

#include "base/descriptor.h"
#include "base/file.h"

namespace gptq {

/// The target with its parent resolved, so that neither a trailing slash nor chdir() changes its meaning. Fault::io where
/// the parent is not there, Fault::exists for a link to nothing.
fs::path resolve_target(const fs::path& given);
/// Fault::exists where something stands there already that an output may not replace.
void check_target(const fs::path& target, Overwrite overwrite);
/// 0, or what went wrong.
int sync_folder(const Descriptor& folder);

}  // namespace gptq
