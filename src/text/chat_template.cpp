#include "text/chat_template.h"

#include <algorithm>
#include <set>
#include <string>
#include <unordered_set>

#include "base/folder.h"
#include "base/json.h"
#include "base/text.h"
#include "text/template_json.h"
#include "text/utf8.h"

namespace gptq {
namespace {

constexpr size_t kLargestFile = size_t{64} << 20;
constexpr std::string_view kDefault = "default", kWithTools = "tool_use";
/// Around a special token that a message spells out, while the template runs: of a private use area, and taken out of
/// the messages before.
constexpr char32_t kBegin = 0x10F5A0, kEnd = 0x10F5A1;

std::string as_text(char32_t mark) {
  std::string text;
  append_utf8(text, mark);
  return text;
}

jinja::Value text_value(std::string text) {
  return std::make_shared<const jinja::Text>(nullptr, std::move(text), jinja::Markup::no);
}

/// Local time, as Python's datetime.now().
std::tm local_time() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  return local;
}

/// The texts of the special tokens, to be found in other texts.
class SpecialTexts {
 public:
  explicit SpecialTexts(const Tokenizer& tokenizer) {
    for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
      if (tokenizer.is_special(id) && !tokenizer.token_text(id).empty()) add(tokenizer.token_text(id));
    }
  }

  /// Size of the longest one that `text` starts with, else 0.
  size_t at_start(std::string_view text) const {
    if (text.empty() || !begins_[static_cast<unsigned char>(text[0])]) return 0;
    for (size_t size : sizes_) {
      if (size <= text.size() && texts_.count(std::string(text.substr(0, size))) != 0) return size;
    }
    return 0;
  }

 private:
  void add(std::string_view text) {
    begins_[static_cast<unsigned char>(text[0])] = true;
    sizes_.insert(text.size());
    texts_.emplace(text);
  }

  bool begins_[256] = {};
  std::set<size_t, std::greater<>> sizes_;
  std::unordered_set<std::string> texts_;
};

std::string without(std::string_view text, std::string_view part) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t next = std::min(text.find(part, at), text.size());
    out += text.substr(at, next - at);
    at = next + part.size();
  }
  return out;
}

std::string marked(const std::string& text, const SpecialTexts& special) {
  const std::string begin = as_text(kBegin), end = as_text(kEnd);
  const std::string clean = without(without(text, begin), end);
  std::string out;
  for (size_t at = 0; at < clean.size();) {
    const size_t size = special.at_start(std::string_view(clean).substr(at));
    if (size == 0) {
      out += clean[at++];
      continue;
    }
    out += begin;
    out.append(clean, at, size);
    out += end;
    at += size;
  }
  return out;
}

/// The value with the special tokens in its texts marked; keys of objects stay. Its depth is that of parsed JSON.
jinja::Value marked(const jinja::Value& value, const SpecialTexts& special) {
  if (const jinja::Text* text = value.text()) return text_value(marked(text->bytes, special));
  if (const jinja::Sequence* list = value.sequence()) {
    auto out = std::make_shared<jinja::Sequence>(nullptr, list->flavor);
    for (const jinja::Value& item : list->items) out->push(marked(item, special));
    return out;
  }
  if (const jinja::Dict* dict = value.dict()) {
    auto out = std::make_shared<jinja::Dict>(nullptr);
    for (const auto& [key, item] : dict->items) out->add(key, marked(item, special));
    return out;
  }
  return value;
}

/// "<s>" or {"content": "<s>"}
std::optional<std::string> token_text(const Json& value) {
  const Json* text = &value;
  if (value.is_object() && value.contains("content")) text = &value["content"];
  return text->is_string() ? std::optional(text->get<std::string>()) : std::nullopt;
}

}  // namespace

/// What a chat gives its template.
struct ChatTemplates::Request {
  std::shared_ptr<jinja::Dict> variables;
  std::optional<std::string> chosen;  // a name or a template
  bool has_tools = false;
};

std::shared_ptr<const ChatTemplates> ChatTemplates::load(const fs::path& folder) {
  std::shared_ptr<ChatTemplates> found(new ChatTemplates);
  found->folder_ = folder.string();
  const auto add = [&](std::string name, std::string file, std::string source) {
    const bool known = std::any_of(found->templates_.begin(), found->templates_.end(),
                                   [&](const Named& each) { return each.name == name; });
    if (!known) found->templates_.push_back({std::move(name), std::move(file), std::move(source)});
  };
  const auto add_json = [&](const JsonObject& config) {
    const Json* value = config.find({"chat_template"});
    if (value == nullptr) return;
    if (value->is_string()) return add(std::string(kDefault), config.name(), value->get<std::string>());
    if (!value->is_array())
      config.refuse(Fault::format, "chat_template", "a text, or an array of named ones");
    for (const Json& item : *value) {
      const JsonObject named(item, cat(config.name(), ": 'chat_template'"));
      std::string name = named.string({"name"});
      const std::string file = cat(config.name(), ": template ", quoted(name));
      add(std::move(name), file, named.string({"template"}));
    }
  };
  if (const fs::path file = join(folder, "chat_template.jinja"); file_exists(file))
    add(std::string(kDefault), "chat_template.jinja", read_text_file(file, kLargestFile));
  const fs::path more = join(folder, "additional_chat_templates");
  if (path_kind(more) == PathKind::folder) {
    for (const std::string& name : list_folder(more)) {
      if (!name.ends_with(".jinja")) continue;
      add(name.substr(0, name.size() - 6), cat("additional_chat_templates/", name),
          read_text_file(join(more, name), kLargestFile));
    }
  }
  for (const char* name : {"tokenizer_config.json", "special_tokens_map.json", "chat_template.json"}) {
    const fs::path file = join(folder, name);
    if (!file_exists(file)) continue;
    const JsonDocument json = parse_json(read_text_file(file, kLargestFile), name);
    const JsonObject config(json, name);
    add_json(config);
    for (std::string_view key :
         {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}) {
      const Json* value = config.find({key});
      const auto text = value != nullptr ? token_text(*value) : std::nullopt;
      const bool known = std::any_of(found->tokens_.begin(), found->tokens_.end(),
                                     [&](const auto& each) { return each.first == key; });
      if (text && !known) found->tokens_.emplace_back(key, *text);
    }
  }
  return found;
}

ChatTemplates::Request ChatTemplates::parse_request(std::string_view chat, std::string_view what) const {
  const jinja::Value given = jinja::parse_value(chat, what);
  Request request;
  request.variables = std::make_shared<jinja::Dict>(nullptr);
  const jinja::Dict* object = given.dict();
  const jinja::Value* messages = object != nullptr ? object->find("messages") : &given;
  if (messages == nullptr || messages->sequence() == nullptr) {
    throw Error(Fault::format, cat(what, ": wanted an array of messages, or an object with 'messages'"));
  }
  size_t number = 0;
  for (const jinja::Value& message : messages->sequence()->items) {
    if (message.dict() == nullptr)
      throw Error(Fault::format,
                  cat(what, ": message ", number, " is no object, wanted {\"role\": ..., \"content\": ...}"));
    ++number;
  }
  const auto put = [&](const jinja::Value& key, const jinja::Value& value) {
    if (request.variables->find(key.text()->bytes) == nullptr) request.variables->add(key, value);
  };
  put(text_value("messages"), *messages);
  if (object != nullptr) {
    for (const auto& [key, value] : object->items) {
      if (key.text()->bytes != "chat_template") {
        put(key, value);
      } else if (!value.is_none()) {
        if (!value.is_text()) throw Error(Fault::format, cat(what, ": 'chat_template' is no text"));
        request.chosen = value.text()->bytes;
      }
    }
    const jinja::Value* tools = object->find("tools");
    request.has_tools = tools != nullptr && tools->is_true();
  }
  for (const auto& [name, text] : tokens_) put(text_value(name), text_value(text));
  put(text_value("add_generation_prompt"), false);
  return request;
}

const ChatTemplates::Named& ChatTemplates::choose(const Request& request) const {
  const auto named = [this](std::string_view name) {
    return std::find_if(templates_.begin(), templates_.end(),
                        [&](const Named& each) { return each.name == name; });
  };
  auto found = templates_.end();
  if (request.chosen) {
    found = named(*request.chosen);
  } else {
    if (request.has_tools) found = named(kWithTools);
    if (found == templates_.end()) found = named(kDefault);
    if (found == templates_.end() && templates_.size() == 1) found = templates_.begin();
  }
  if (found != templates_.end()) return *found;
  if (templates_.empty()) {
    throw Error(Status::not_found,
                cat("no chat template in ", quoted(folder_, 400),
                    ", wanted chat_template.jinja, or 'chat_template' in tokenizer_config.json"));
  }
  std::string names;
  for (const Named& each : templates_) names += cat(names.empty() ? "" : ", ", quoted(each.name));
  throw Error(Status::not_found,
              cat("the model has no chat template ", quoted(request.chosen.value_or(std::string(kDefault))),
                  ", but ", names));
}

std::string ChatTemplates::render(const Request& request) const {
  const bool own = request.chosen && (request.chosen->find("{{") != std::string::npos ||
                                      request.chosen->find("{%") != std::string::npos);
  const Named* given = own ? nullptr : &choose(request);
  const jinja::Template parsed(own ? *request.chosen : given->source, own ? "chat_template" : given->file);
  return parsed.render(request.variables, local_time());
}

std::string ChatTemplates::render(std::string_view chat, std::string_view what) const {
  return render(parse_request(chat, what));
}

std::vector<int32_t> ChatTemplates::encode(std::string_view chat, std::string_view what,
                                           const Tokenizer& tokenizer, ParseSpecial parse) const {
  Request request = parse_request(chat, what);
  if (parse == ParseSpecial::yes) return tokenizer.encode(render(request), AddSpecial::no, ParseSpecial::yes);
  const SpecialTexts special(tokenizer);
  auto variables = std::make_shared<jinja::Dict>(nullptr);
  for (const auto& [key, value] : request.variables->items) {
    const std::string& name = key.text()->bytes;
    const bool from_outside = name == "messages" || name == "tools" || name == "documents";
    variables->add(key, from_outside ? marked(value, special) : value);
  }
  request.variables = variables;
  const std::string text = render(request), begin = as_text(kBegin), end = as_text(kEnd);
  std::vector<int32_t> ids;
  std::string piece;
  const auto flush = [&](ParseSpecial how) {
    if (piece.empty()) return;
    const auto more = tokenizer.encode(piece, AddSpecial::no, how);
    ids.insert(ids.end(), more.begin(), more.end());
    piece.clear();
  };
  for (size_t at = 0; at < text.size();) {
    const std::string_view rest = std::string_view(text).substr(at);
    if (rest.starts_with(begin)) {
      at += begin.size();
      flush(ParseSpecial::yes);
      const size_t size = special.at_start(rest.substr(begin.size()));
      if (size == 0 || !rest.substr(begin.size() + size).starts_with(end)) continue;  // the template cut it
      piece.assign(text, at, size);
      flush(ParseSpecial::no);
      at += size + end.size();
    } else if (rest.starts_with(end)) {
      at += end.size();
      flush(ParseSpecial::yes);
    } else {
      piece += text[at++];
    }
  }
  flush(ParseSpecial::yes);
  return ids;
}

std::optional<int32_t> ChatTemplates::end_of_turn(const Tokenizer& tokenizer) const {
  constexpr std::string_view kAnswer = "Blue-7-green";
  // where nothing follows a last answer, what begins the next turn ends this one
  constexpr std::string_view kChats[] = {
      R"([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Blue-7-green"}])",
      R"([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Blue-7-green"},
          {"role": "user", "content": "Hi"}])"};
  const SpecialTexts special(tokenizer);
  for (std::string_view chat : kChats) {
    std::string text;
    try {
      text = render(chat, "chat");
    } catch (const Error&) {
      return std::nullopt;  // whoever asks for the chat is told
    }
    const size_t answer = text.rfind(kAnswer);
    if (answer == std::string::npos) return std::nullopt;
    std::string_view after = std::string_view(text).substr(answer + kAnswer.size());
    after.remove_prefix(std::min(after.find_first_not_of(" \t\n\r"), after.size()));
    if (after.empty()) continue;
    const size_t size = special.at_start(after);
    return size != 0 ? tokenizer.token_id(after.substr(0, size)) : std::nullopt;
  }
  return std::nullopt;
}

}  // namespace gptq
