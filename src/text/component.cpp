// See component.h.
#include "text/component.h"

#include <vector>

#include "base/json.h"
#include "base/text.h"

namespace gptq {

namespace {

constexpr int kDeepest = 32;
constexpr size_t kMostNodes = 256;

struct Node {
  const Json* json;
  std::string where;
  int depth;
};

}  // namespace

void for_each_component(const Json& json, const std::string& where, std::string_view list_key,
                        const std::function<void(const JsonObject& node, const std::string& type)>& leaf) {
  std::vector<Node> pending = {{&json, where, 0}};
  while (!pending.empty()) {
    const Node node = std::move(pending.back());
    pending.pop_back();
    if (node.json->is_null()) continue;
    const JsonObject object(*node.json, node.where);
    const std::string type = object.string({"type"});
    if (type != "Sequence") {
      leaf(object, type);
      continue;
    }
    if (node.depth >= kDeepest) {
      throw Error(Fault::limit, cat(node.where, ": Sequence within Sequence more than ", kDeepest, " deep"));
    }
    const Json* list = object.find({list_key});
    if (list == nullptr || !list->is_array()) object.refuse(Fault::format, list_key, "a list");
    if (list->size() + pending.size() > kMostNodes)
      object.refuse(Fault::limit, list_key, cat("at most ", kMostNodes, " parts"));
    for (size_t i = list->size(); i-- > 0;) {
      pending.push_back({&(*list)[i], cat(node.where, ".", list_key, "[", i, "]"), node.depth + 1});
    }
  }
}

void refuse_component(const JsonObject& node, std::string_view type) {
  throw Error(Fault::unsupported, cat(node.name(), ": type ", quoted(type), " is not supported"));
}

Regex read_pattern(const JsonObject& node) {
  const auto pattern = node.object({"pattern"});
  if (!pattern) node.refuse(Fault::format, "pattern", "{\"String\": ...} or {\"Regex\": ...}");
  const bool literal = pattern->has({"String"});
  if (!literal && !pattern->has({"Regex"})) {
    node.refuse(Fault::format, "pattern", "{\"String\": ...} or {\"Regex\": ...}");
  }
  return Regex(pattern->string({literal ? "String" : "Regex"}),
               literal ? PatternKind::literal : PatternKind::regex, node.name());
}

PrependScheme read_prepend_scheme(const JsonObject& node) {
  if (!node.has({"prepend_scheme"})) {
    return node.boolean_or({"add_prefix_space"}, true) ? PrependScheme::always : PrependScheme::never;
  }
  const std::string scheme = node.string({"prepend_scheme"});
  if (scheme == "always") return PrependScheme::always;
  if (scheme == "first") return PrependScheme::first;
  if (scheme == "never") return PrependScheme::never;
  node.refuse(Fault::format, "prepend_scheme", "'always', 'first' or 'never'");
}

std::string read_character(const JsonObject& node, std::string_view key, std::string_view otherwise) {
  std::string text = otherwise.empty() ? node.string({key}) : node.string_or({key}, otherwise);
  if (text.empty() || utf8_length(text) != text.size()) node.refuse(Fault::format, key, "one character");
  return text;
}

}  // namespace gptq
