// Reading JSON that may be hostile, and asking it typed questions whose errors name file, key, found and wanted.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json_fwd.h"

namespace gptq {

struct JsonLimits {
  size_t max_bytes = size_t{64} << 20;
  int max_depth = 64;
};

/// A parsed value that gives its memory back without asking for more. nlohmann's own destructor first moves what a
/// container holds into a new vector, inside noexcept: where memory is short, that would end the host. So whatever is
/// not empty lives in one of these, and nothing copies it or builds it from an initializer list.
class JsonDocument {
 public:
  JsonDocument() = default;
  JsonDocument(JsonDocument&& other) noexcept = default;
  JsonDocument& operator=(JsonDocument&& other) noexcept {
    value_.swap(other.value_);
    return *this;
  }
  ~JsonDocument() { clear(value_); }

  const Json& operator*() const { return value_; }
  const Json* operator->() const { return &value_; }
  operator const Json&() const { return value_; }

 private:
  friend class JsonTree;
  static void clear(
      Json& value) noexcept;  // from the innermost container out; recursion is bounded by max_depth

  Json value_;
};

/// Whether it is this string. nlohmann's own == with a string asks for memory inside noexcept, which can end the host.
inline bool is_text(const Json& value, std::string_view text) {
  return value.is_string() && value.get_ref<const std::string&>() == text;
}

/// Builds a document from events, in place, so that one given up half-way is as safe as a whole one.
class JsonTree {
 public:
  void key(std::string&& key) { key_ = std::move(key); }
  void add(Json&& scalar) { place(std::move(scalar)); }
  void open_object() { open(Json::value_t::object); }
  void open_array() { open(Json::value_t::array); }
  void close() { open_.pop_back(); }
  size_t depth() const { return open_.size(); }
  JsonDocument take() { return std::move(document_); }

 private:
  void open(Json::value_t container);
  Json& place(Json&& value);

  JsonDocument document_;
  std::vector<Json*> open_;  // only the last child of a container is open, so that no growth moves one
  std::string key_;
};

/// Parses one JSON document. Refuses, naming `what` (a file name) and the byte offset: ill-formed text or
/// UTF-8, a byte order mark, anything after the value (Fault::format); a key given twice in one object
/// (Fault::duplicate); more bytes or depth than `limits` (Fault::limit). Never recurses with the input.
JsonDocument parse_json(std::string_view text, std::string_view what, const JsonLimits& limits = {});

/// The same checks for a consumer of events: `handler` has the members of nlohmann::json_sax<Json>.
void parse_json_events(std::string_view text, std::string_view what, const JsonLimits& limits,
                       nlohmann::json_sax<Json>& handler);

/// Prints in one line, with "\u" escapes only where JSON needs them. To write documents, see base/json_writer.h.
std::string print_json(const Json& json);

/// A JSON object together with the name to use in errors ("config.json").
/// Each getter looks for the first of several aliases; null counts as absent.
class JsonObject {
 public:
  using Keys = std::initializer_list<std::string_view>;

  JsonObject(const Json& object, std::string name);  // Fault::format unless an object; borrows `object`

  const std::string& name() const { return name_; }
  const Json& json() const { return *object_; }
  const Json* find(Keys keys, std::string_view* found_key = nullptr) const;
  bool has(Keys keys) const { return find(keys) != nullptr; }
  /// Whether the key is there as null, which for everything else is as if it were not.
  bool is_null(std::string_view key) const;

  /// Integers must be JSON integers (4.0 is refused) within [low, high]: Fault::range otherwise.
  int64_t integer(Keys keys, int64_t low, int64_t high) const;
  int64_t integer_or(Keys keys, int64_t low, int64_t high, int64_t otherwise) const;
  std::optional<int64_t> maybe_integer(Keys keys, int64_t low, int64_t high) const;

  /// Finite numbers within [low, high]: Fault::range otherwise.
  double number(Keys keys, double low, double high) const;
  double number_or(Keys keys, double low, double high, double otherwise) const;

  bool boolean_or(Keys keys, bool otherwise) const;
  /// Fault::unsupported where the key is there and says otherwise.
  void refuse_unless(std::string_view key, bool wanted) const;
  std::string string(Keys keys) const;
  std::string string_or(Keys keys, std::string_view otherwise) const;
  std::optional<JsonObject> object(Keys keys) const;

  /// "config.json: 'rope_theta' is 0, wanted ..." thrown as `fault`.
  [[noreturn]] void refuse(Fault fault, std::string_view key, std::string_view wanted) const;

 private:
  const Json& require(Keys keys, std::string_view* found_key) const;

  const Json* object_;
  std::string name_;
};

}  // namespace gptq
