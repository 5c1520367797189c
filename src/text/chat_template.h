// The chat templates of a folder: messages in OpenAI's JSON to the text, or the tokens, that the model was trained on.
#pragma once

#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "text/template.h"
#include "text/tokenizer.h"

namespace gptq {

/// Immutable after loading: any number of threads may use them at once.
class ChatTemplates {
 public:
  /// chat_template.jinja and additional_chat_templates/NAME.jinja; without the former, "chat_template" of
  /// tokenizer_config.json (a text, or a list of named ones), or of chat_template.json. There may be none.
  /// A template is parsed when it is asked for, so that a folder with one that is not known here still loads.
  static std::shared_ptr<const ChatTemplates> load(const fs::path& folder);
  bool empty() const { return templates_.empty(); }

  /// The text of a chat: a JSON array of messages, or an object with "messages" and other variables of the template,
  /// which win over the special tokens of the folder. "chat_template" in it is the name of a template, or one itself;
  /// otherwise it is "tool_use" where there are tools and such a template, else "default".
  /// Faults of the JSON, naming `what`; Status::not_found where there is none, or none of that name; see Template.
  std::string render(std::string_view chat, std::string_view what) const;

  /// The same as tokens. What the template writes may be special tokens; what the messages, tools and documents hold
  /// stays text, unless `parse` says otherwise. Nothing is added: a beginning-of-text token is the template's to write.
  std::vector<int32_t> encode(std::string_view chat, std::string_view what, const Tokenizer& tokenizer,
                              ParseSpecial parse) const;

  /// The special token that the template writes after what the assistant says, so that the model ends there, too.
  /// Nothing where it writes none at once, or fails.
  std::optional<int32_t> end_of_turn(const Tokenizer& tokenizer) const;

 private:
  struct Named {
    std::string name, file, source;
  };
  struct Request;

  ChatTemplates() = default;
  Request parse_request(std::string_view chat, std::string_view what) const;
  const Named& choose(const Request& request) const;
  std::string render(const Request& request) const;

  std::string folder_;
  std::vector<Named> templates_;
  std::vector<std::pair<std::string, std::string>> tokens_;  // "bos_token" and the like, and their texts
};

}  // namespace gptq
