// The files that calibration data comes in: plain text, JSON lines, and arrays of token ids.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "model/spec.h"
#include "quant/calibration.h"

namespace gptq {

/// text: one document. jsonl: one value a line; json: an array of such values. A value is a document (a string, or an
/// object with "text", or one with "messages", a chat) or a sequence (an array of token ids, or an object with
/// "input_ids").
enum class CalibrationFormat : uint8_t { text, jsonl, json };

struct CalibrationData {
  std::vector<std::string> documents;
  Sequences sequences;  // not to be cut
};

/// The text of a chat, which is JSON: the object that has its "messages".
using ChatText = std::function<std::string(std::string_view json)>;

/// Appends what `text` holds; empty lines count for nothing. Errors name the line, or the item of an array. Faults:
/// format (ill-formed JSON or UTF-8, neither text nor ids), range (a token that the model lacks, a sequence longer than
/// its context), limit (a line of more than 64 MiB, an array of more than 256), unsupported ("messages" without
/// `chat_text`), and what that throws, with the line and 'messages' before it.
void parse_calibration(std::string_view text, CalibrationFormat format, const Spec& spec,
                       CalibrationData& into, const ChatText& chat_text = {});

}  // namespace gptq
