// Tokens that stand for one byte: "<0x00>" to "<0xFF>".
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "text/vocabulary.h"

namespace gptq {

/// The byte of "<0xHH>", in either case; -1 for any other text.
int byte_of_token(std::string_view token);

/// The ids of "<0x00>" to "<0xFF>", -1 where there is none. Fault::format for a token that looks like one but names
/// no byte: "<0x100>", "<0xZZ>".
std::array<int32_t, 256> find_byte_tokens(const Vocabulary& vocabulary);

}  // namespace gptq
