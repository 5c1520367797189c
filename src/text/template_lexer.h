// The tokens of a chat template: text between tags, and what is inside the tags. Of Jinja 3.1 with trim_blocks and
// lstrip_blocks, as transformers sets it up: the newline after a block tag goes, and the blanks before it on its line.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gptq::jinja {

enum class TokenKind : uint8_t {
  data,         // text between tags
  print_begin,  // {{
  print_end,    // }}
  block_begin,  // {%
  block_end,    // %}
  name,
  string,  // its value, unescaped
  integer,
  number,  // with a point or an exponent
  op,      // "+", "//", "(" ...
  end,
};

struct Token {
  TokenKind kind;
  uint32_t line;
  std::string text;

  bool is(TokenKind what, std::string_view spelling) const { return kind == what && text == spelling; }
  bool is_name(std::string_view spelling) const { return is(TokenKind::name, spelling); }
  bool is_op(std::string_view spelling) const { return is(TokenKind::op, spelling); }
  std::string described() const;  // for messages: "'foo'", "end of template"
};

/// The tokens of `source`, the last of which is `end`. Fault::format, naming the line, for what is no template;
/// Fault::limit for one of more than kMaxSource bytes.
std::vector<Token> tokenize(std::string_view source, std::string_view name);

[[noreturn]] void refuse_template(std::string_view name, uint32_t line, const std::string& message);

}  // namespace gptq::jinja
