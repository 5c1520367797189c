// See post_processor.h.
#include "text/post_processor.h"

#include <algorithm>

#include "base/json.h"
#include "base/text.h"
#include "text/component.h"

namespace gptq {

namespace {

constexpr size_t kMostParts = 64;

std::vector<int32_t> read_ids(const JsonObject& specials, const std::string& name, int32_t vocab_size) {
  const auto special = specials.object({std::string_view(name)});
  if (!special) specials.refuse(Fault::format, name, "the ids of a special token");
  const Json* list = special->find({"ids"});
  if (list == nullptr || !list->is_array()) special->refuse(Fault::format, "ids", "a list");
  std::vector<int32_t> ids;
  for (const Json& id : *list) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= vocab_size) {
      special->refuse(Fault::range, "ids", cat("integers from 0 to ", vocab_size - 1));
    }
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

Template read_template(const JsonObject& node, int32_t vocab_size) {
  const Json* single = node.find({"single"});
  if (single == nullptr || !single->is_array() || single->size() > kMostParts) {
    node.refuse(Fault::format, "single", cat("a list of at most ", kMostParts, " parts"));
  }
  const Json no_specials = Json::object();
  const auto found = node.object({"special_tokens"});
  const JsonObject specials = found ? *found : JsonObject(no_specials, node.name() + ".special_tokens");
  Template out;
  bool has_text = false;
  for (const Json& json : *single) {
    const JsonObject part(json, node.name() + ".single");
    if (const auto special = part.object({"SpecialToken"})) {
      out.parts.push_back({false, read_ids(specials, special->string({"id"}), vocab_size)});
      continue;
    }
    const auto sequence = part.object({"Sequence"});
    if (!sequence || sequence->string({"id"}) != "A" || has_text) {
      node.refuse(Fault::format, "single", "SpecialToken parts and at most one Sequence A");
    }
    has_text = true;
    out.parts.push_back({true, {}});
  }
  return out;
}

/// ["</s>", 2]
std::vector<int32_t> read_token_pair(const JsonObject& node, std::string_view key, int32_t vocab_size) {
  const Json* pair = node.find({key});
  if (pair == nullptr || !pair->is_array() || pair->size() != 2 || !(*pair)[1].is_number_integer()) {
    node.refuse(Fault::format, key, "a token and its id");
  }
  const auto id = (*pair)[1].get<int64_t>();
  if (id < 0 || id >= vocab_size) node.refuse(Fault::range, key, cat("an id from 0 to ", vocab_size - 1));
  return {static_cast<int32_t>(id)};
}

}  // namespace

void PostProcessor::apply(std::vector<int32_t>& ids) const {
  for (const Template& step : steps_) {
    std::vector<int32_t> out;
    for (const auto& part : step.parts) {
      const auto& from = part.text ? ids : part.ids;
      out.insert(out.end(), from.begin(), from.end());
    }
    ids = std::move(out);
  }
}

PostProcessor read_post_processor(const Json& json, const std::string& where, int32_t vocab_size) {
  std::vector<Template> steps;
  for_each_component(json, where, "processors", [&](const JsonObject& node, const std::string& type) {
    if (type == "ByteLevel") return;  // moves offsets only
    if (type == "TemplateProcessing") {
      steps.push_back(read_template(node, vocab_size));
    } else if (type == "RobertaProcessing" || type == "BertProcessing") {
      steps.push_back({{{false, read_token_pair(node, "cls", vocab_size)},
                        {true, {}},
                        {false, read_token_pair(node, "sep", vocab_size)}}});
    } else {
      refuse_component(node, type);
    }
    if (steps.size() > kMostParts)
      node.refuse(Fault::limit, "type", cat("at most ", kMostParts, " post-processors"));
  });
  return PostProcessor(std::move(steps));
}

}  // namespace gptq
