// What the readers of tokenizer.json's parts share.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/json_fwd.h"
#include "text/regex.h"

namespace gptq {

/// Calls `leaf` for each node of a tree of {"type": "Sequence", list_key: [...]}, in order; null has none.
/// Fault::format for a node that is no object, Fault::limit when nested too deep.
void for_each_component(const Json& json, const std::string& where, std::string_view list_key,
                        const std::function<void(const JsonObject& node, const std::string& type)>& leaf);

/// Fault::unsupported: "tokenizer.json: pre_tokenizer: type 'X' is not supported".
[[noreturn]] void refuse_component(const JsonObject& node, std::string_view type);

/// {"pattern": {"String": "..."}} or {"pattern": {"Regex": "..."}}
Regex read_pattern(const JsonObject& node);

/// Metaspace's "prepend_scheme", or the "add_prefix_space" of older files.
enum class PrependScheme : uint8_t { always, first, never };
PrependScheme read_prepend_scheme(const JsonObject& node);

/// A string of exactly one character. Fault::format otherwise.
std::string read_character(const JsonObject& node, std::string_view key, std::string_view otherwise);

}  // namespace gptq
