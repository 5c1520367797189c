// JSON as a stream of one kind of event, for readers of large files that keep only what they need.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "base/json.h"

namespace gptq {

enum class EventKind : uint8_t {
  null,
  boolean,
  natural,       // a JSON integer without sign, below 2^64
  other_number,  // negative (-0, too), with a fraction or exponent, or too large
  string,
  key,
  start_object,
  end_object,
  start_array,
  end_array,
};

struct JsonEvent {
  EventKind kind;
  uint64_t natural = 0;
  std::string* text = nullptr;  // of a string or key; may be moved from
};

/// Receives events with the depth they happen at: members of the outermost object, and their keys, are at depth 1.
/// A container's start and end are at the depth of the place it stands in.
///
/// What is wrong with the meaning of the text is kept until its end, so that ill-formed JSON, excessive depth and
/// duplicate keys are reported first, wherever they are.
class JsonEventReader : public nlohmann::json_sax<Json> {
 public:
  void parse(std::string_view text, std::string_view what, const JsonLimits& limits) {
    parse_json_events(text, what, limits, *this);
    if (fault_) throw Error(*std::exchange(fault_, std::nullopt));
  }

  bool null() final { return pass({EventKind::null}); }
  bool boolean(bool) final { return pass({EventKind::boolean}); }
  bool number_integer(int64_t) final { return pass({EventKind::other_number}); }
  bool number_unsigned(uint64_t value) final { return pass({EventKind::natural, value}); }
  bool number_float(double, const std::string&) final { return pass({EventKind::other_number}); }
  bool string(std::string& value) final { return pass({EventKind::string, 0, &value}); }
  bool binary(Json::binary_t&) final { return false; }
  bool key(std::string& value) final { return pass({EventKind::key, 0, &value}); }
  bool start_object(size_t) final { return enter(EventKind::start_object); }
  bool start_array(size_t) final { return enter(EventKind::start_array); }
  bool end_object() final { return leave(EventKind::end_object); }
  bool end_array() final { return leave(EventKind::end_array); }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) final { return false; }

 protected:
  virtual void on(const JsonEvent& event, int depth) = 0;

  /// The first refusal is the one reported; no event follows it.
  void refuse(Fault fault, std::string message) {
    if (!fault_) fault_.emplace(fault, std::move(message));
  }

 private:
  bool pass(const JsonEvent& event) {
    if (!fault_) on(event, depth_);
    return true;
  }
  bool enter(EventKind kind) {
    pass({kind});
    ++depth_;
    return true;
  }
  bool leave(EventKind kind) {
    --depth_;
    return pass({kind});
  }

  std::optional<Error> fault_;
  int depth_ = 0;
};

}  // namespace gptq
