#include "quant/calibration_text.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"

namespace gptq {
namespace {

constexpr size_t kLongestLine = size_t{64} << 20, kLongestArray = size_t{256} << 20;

void add_sequence(const Json& ids, const std::string& where, const Spec& spec, CalibrationData& into) {
  if (ids.empty() || static_cast<int64_t>(ids.size()) > spec.context) {
    throw Error(Fault::range, cat(where, " has ", ids.size(), " tokens, wanted 1 to the model's context of ",
                                  spec.context));
  }
  std::vector<int32_t> sequence;
  sequence.reserve(ids.size());
  for (const Json& id : ids) {
    const bool whole = id.is_number_integer() && !(id.is_number_unsigned() && id.get<uint64_t>() > INT32_MAX);
    if (!whole || id.get<int64_t>() < 0 || id.get<int64_t>() >= spec.vocab) {
      throw Error(Fault::range, cat(where, ": token ", sequence.size(), " is ", quoted(print_json(id), 40),
                                    ", wanted 0 to ", spec.vocab - 1));
    }
    sequence.push_back(id.get<int32_t>());
  }
  into.sequences.push_back(std::move(sequence));
}

void add_chat(std::string_view json, const std::string& where, const ChatText& chat_text,
              CalibrationData& into) {
  if (!chat_text) throw Error(Fault::unsupported, cat(where, " has 'messages', wanted 'text'"));
  try {
    into.documents.push_back(chat_text(json));
  } catch (const Error& error) {
    throw Error(error.status(), cat(where, ": 'messages': ", error.what()));
  }
}

/// @param json  the text of the value, whose keys are in their order
void add_value(const Json& value, std::string_view json, const std::string& where, const Spec& spec,
               const ChatText& chat_text, CalibrationData& into) {
  if (value.is_string()) {
    into.documents.push_back(value.get<std::string>());
  } else if (value.is_array()) {
    add_sequence(value, where, spec, into);
  } else if (value.is_object() && value.contains("text")) {
    into.documents.push_back(JsonObject(value, where).string({"text"}));
  } else if (value.is_object() && value.contains("input_ids")) {
    const Json& ids = value["input_ids"];
    if (!ids.is_array()) throw Error(Fault::format, cat(where, ": 'input_ids' is not an array"));
    add_sequence(ids, where, spec, into);
  } else if (value.is_object() && value.contains("messages")) {
    add_chat(json, where, chat_text, into);
  } else {
    throw Error(Fault::format, cat(where, " has neither 'text' nor 'messages' nor 'input_ids'"));
  }
}

void parse_lines(std::string_view text, const Spec& spec, const ChatText& chat_text, CalibrationData& into) {
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string where = cat("calibration line ", number);
    const JsonDocument value = parse_json(line, where, {.max_bytes = kLongestLine});
    add_value(value, line, where, spec, chat_text, into);
  }
}

void parse_array(std::string_view text, const Spec& spec, const ChatText& chat_text, CalibrationData& into) {
  const JsonDocument document = parse_json(text, "calibration", {.max_bytes = kLongestArray});
  if (!document->is_array()) throw Error(Fault::format, "calibration: wanted a JSON array");
  if (!document->empty() && document->front().is_number())
    return add_sequence(document, "the calibration sequence", spec, into);
  size_t number = 0;
  for (const Json& value : *document) {
    const bool is_chat = value.is_object() && value.contains("messages");
    add_value(value, is_chat ? print_json(value) : std::string(), cat("calibration item ", ++number), spec,
              chat_text, into);
  }
}

void check_utf8(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const size_t length = utf8_length(text.substr(at));
    if (length == 0) throw Error(Fault::format, cat("calibration text: byte ", at, " is not UTF-8"));
    at += length;
  }
}

}  // namespace

void parse_calibration(std::string_view text, CalibrationFormat format, const Spec& spec,
                       CalibrationData& into, const ChatText& chat_text) {
  switch (format) {
    case CalibrationFormat::text:
      check_utf8(text);
      into.documents.emplace_back(text);
      break;
    case CalibrationFormat::jsonl: parse_lines(text, spec, chat_text, into); break;
    case CalibrationFormat::json: parse_array(text, spec, chat_text, into); break;
  }
}

}  // namespace gptq
