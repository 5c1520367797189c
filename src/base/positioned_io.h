// Reads and writes of whole ranges of an open file. `path` is for messages.
#pragma once

#include <cstdint>
#include <span>

#include "base/descriptor.h"
#include "base/file.h"

namespace gptq {

/// Fills `out` from byte `offset`. Fault::truncated where the file ends before, Fault::io on an error of the system.
void read_all(const fs::path& path, const Descriptor& file, uint64_t offset, std::span<std::byte> out);
/// Fault::io, with the bytes that are free where the disk is full.
void write_all(const fs::path& path, const Descriptor& file, uint64_t offset,
               std::span<const std::byte> bytes);
/// Makes the file `bytes` long, with its space on disk taken where the file system can. Errors as write_all().
void reserve_space(const fs::path& path, const Descriptor& file, uint64_t bytes);

}  // namespace gptq
