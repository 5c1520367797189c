// How many rows are worth to be one batch.
#pragma once

#include <cstdint>

#include "backend/backend.h"
#include "model/segment.h"
#include "model/spec.h"

namespace gptq {

/// Of so many decoders: more than Decoder::kMaxRows where the backend has memory of its own. What a GPU does once for a batch,
/// as unpacking weights for cuBLAS, takes as long for few rows. It is the same however much memory is free, since rows that are
/// computed together can decide the last digits.
int64_t rows_at_once(const Spec& spec, const Backend& backend, int64_t decoders = 1);
/// Of sessions: as many, but for Decoder::kMaxRows where their activations were more than a small part of what is free, which
/// keys and values need, and those of other sessions.
int64_t session_rows(const Spec& spec, const Backend& backend);
/// The fewest of any segment. A model asks once, so that all its sessions have as many.
int64_t session_rows(const Spec& spec, const LayerSegments& segments);

}  // namespace gptq
