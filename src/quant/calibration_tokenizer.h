// The tokenizer of the model that is quantized, and its chat templates, for calibration text.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace gptq {

/// Reads the folder's files when they are first asked for, and once.
class CalibrationTokenizer {
 public:
  explicit CalibrationTokenizer(fs::path folder) : folder_(std::move(folder)) {}

  const Tokenizer& tokenizer();
  /// A chat as ChatTemplates::render() gives it, without the token that the tokenizer puts before a document: where the
  /// template writes it, too, it is not there twice.
  std::string chat_text(std::string_view json);
  /// Gives the memory back.
  void release();

 private:
  fs::path folder_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::shared_ptr<const ChatTemplates> templates_;
  std::string first_;  // that token; set with templates_
};

}  // namespace gptq
