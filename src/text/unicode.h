// Unicode properties and normal forms, by utf8proc.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace gptq {

enum class NormalForm : uint8_t { nfc, nfd, nfkc, nfkd };

/// `text` (valid UTF-8) in the given form. Linear in practice: long runs of combining marks are sorted, not
/// shuffled pairwise.
std::string normal_form(std::string_view text, NormalForm form);

/// Each code point's own lower case, without regard to its neighbours.
std::string lower_case(std::string_view text);

bool is_white_space(char32_t c);  // property White_Space
bool is_word(char32_t c);    // Alphabetic, marks, decimal digits, connectors, joiners: \w of Rust's regex
bool is_number(char32_t c);  // categories Nd, Nl, No
bool is_punctuation(char32_t c);      // categories P*, and the ASCII symbols
bool is_mark(char32_t c);             // categories M*
bool is_nonspacing_mark(char32_t c);  // category Mn
bool is_unprintable(char32_t c);      // categories Cc, Cf, Co

/// The byte length of the extended grapheme cluster (what a reader takes for one character) that `text` begins with.
size_t grapheme_length(std::string_view text);

}  // namespace gptq
