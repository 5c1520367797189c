// GPT-2's way to write any bytes as printable characters: each byte is one character of a fixed alphabet.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace gptq {

/// The character for a byte.
char32_t byte_level_char(uint8_t byte);
/// The byte of a character, or -1 if it is not in the alphabet.
int byte_level_byte(char32_t c);

void append_byte_level(std::string& out, std::string_view bytes);

/// False, and `bytes` is left half done, if a character of `text` is not in the alphabet.
bool from_byte_level(std::string_view text, std::string& bytes);

}  // namespace gptq
