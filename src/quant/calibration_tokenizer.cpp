#include "quant/calibration_tokenizer.h"

namespace gptq {

const Tokenizer& CalibrationTokenizer::tokenizer() {
  if (tokenizer_ == nullptr) tokenizer_ = Tokenizer::load(folder_);
  return *tokenizer_;
}

std::string CalibrationTokenizer::chat_text(std::string_view json) {
  if (templates_ == nullptr) {
    const auto added = tokenizer().encode("", AddSpecial::yes, ParseSpecial::no);
    first_ = added.empty() ? std::string_view() : tokenizer().token_text(added.front());
    templates_ = ChatTemplates::load(folder_);
  }
  std::string chat = templates_->render(json, "chat");
  if (chat.starts_with(first_)) chat.erase(0, first_.size());
  return chat;
}

void CalibrationTokenizer::release() {
  tokenizer_ = nullptr;
  templates_ = nullptr;
}

}  // namespace gptq
