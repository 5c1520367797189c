// JSON texts of unknown origin: nlohmann's tokenizer and grammar behind checks of our own, and typed access.
#include "base/json.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

#include "base/text.h"

namespace gptq {
namespace {

using Events = nlohmann::json_sax<Json>;

/// Walks the text and tells how far the tokenizer has come.
class TextIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  TextIterator(const char* at, const char** progress) : at_(at), progress_(progress) {}
  reference operator*() const { return *at_; }
  TextIterator& operator++() {
    *progress_ = ++at_;
    return *this;
  }
  TextIterator operator++(int) {
    const TextIterator before = *this;
    ++*this;
    return before;
  }
  friend bool operator==(const TextIterator& a, const TextIterator& b) { return a.at_ == b.at_; }

 private:
  const char* at_;
  const char** progress_;
};

/// The keys of the objects that are open. Each object is sorted when it closes: n log n for any input, in memory
/// that is a small multiple of the text.
class OpenKeys {
 public:
  void open() { levels_.push_back({keys_.size(), bytes_.size()}); }

  void add(std::string_view key, size_t offset) {
    keys_.push_back({std::hash<std::string_view>{}(key), static_cast<uint32_t>(bytes_.size()),
                     static_cast<uint32_t>(key.size()), static_cast<uint32_t>(offset)});
    bytes_ += key;
  }

  struct Duplicate {
    std::string key;
    size_t offset;
  };

  std::optional<Duplicate> close() {
    const Level level = levels_.back();
    levels_.pop_back();
    const auto first = keys_.begin() + static_cast<std::ptrdiff_t>(level.keys);
    std::sort(first, keys_.end(), [this](const Key& a, const Key& b) {
      return a.hash != b.hash ? a.hash < b.hash : text(a) < text(b);
    });
    const auto twin = std::adjacent_find(first, keys_.end(), [this](const Key& a, const Key& b) {
      return a.hash == b.hash && text(a) == text(b);
    });
    std::optional<Duplicate> found;
    if (twin != keys_.end())
      found = Duplicate{std::string(text(*twin)), std::max(twin->offset, (twin + 1)->offset)};
    keys_.resize(level.keys);
    bytes_.resize(level.bytes);
    return found;
  }

 private:
  struct Key {
    uint64_t hash;
    uint32_t begin, size;  // in bytes_
    uint32_t offset;       // in the JSON text
  };
  struct Level {
    size_t keys, bytes;
  };

  std::string_view text(const Key& key) const { return std::string_view(bytes_).substr(key.begin, key.size); }

  std::vector<Key> keys_;
  std::vector<Level> levels_;
  std::string bytes_;
};

/// Passes events on to `next` after the checks that nlohmann does not make.
class CheckedEvents final : public Events {
 public:
  CheckedEvents(std::string_view text, std::string_view what, const JsonLimits& limits, Events& next)
      : text_(text), what_(what), limits_(limits), next_(next), progress_(text.data()) {}

  bool run() {
    const char* end = text_.data() + text_.size();
    return Json::sax_parse(TextIterator(text_.data(), &progress_), TextIterator(end, &progress_), this);
  }

  bool null() override { return next_.null(); }
  bool boolean(bool value) override { return next_.boolean(value); }
  bool number_integer(int64_t value) override { return next_.number_integer(value); }
  bool number_unsigned(uint64_t value) override { return next_.number_unsigned(value); }
  bool number_float(double value, const std::string& digits) override {
    return next_.number_float(value, digits);
  }
  bool string(std::string& value) override { return next_.string(value); }
  bool binary(Json::binary_t& value) override { return next_.binary(value); }

  bool start_object(size_t size) override {
    enter();
    keys_.open();
    return next_.start_object(size);
  }
  bool key(std::string& value) override {
    keys_.add(value, offset());
    return next_.key(value);
  }
  bool end_object() override {
    --depth_;
    if (const auto twin = keys_.close()) {
      throw Error(Fault::duplicate, cat(what_, ": byte ", twin->offset, ": key ", quoted(twin->key),
                                        " given twice in one object"));
    }
    return next_.end_object();
  }
  bool start_array(size_t size) override {
    enter();
    return next_.start_array(size);
  }
  bool end_array() override {
    --depth_;
    return next_.end_array();
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    constexpr int kNumberOverflow = 406;
    std::string_view reason = error.what();
    for (std::string_view mark : {"syntax error while parsing ", "number overflow"}) {
      if (const size_t at = reason.find(mark); at != std::string_view::npos) reason.remove_prefix(at);
    }
    throw Error(error.id == kNumberOverflow ? Fault::range : Fault::format,
                cat(what_, ": byte ", position, ": ", quoted(reason, 240)));
  }

 private:
  size_t offset() const { return static_cast<size_t>(progress_ - text_.data()); }

  void enter() {
    if (++depth_ > limits_.max_depth) {
      throw Error(Fault::limit,
                  cat(what_, ": byte ", offset(), ": nested deeper than ", limits_.max_depth, " levels"));
    }
  }

  std::string_view text_, what_;
  const JsonLimits& limits_;
  Events& next_;
  const char* progress_;
  OpenKeys keys_;
  int depth_ = 0;
};

class TreeEvents final : public Events {
 public:
  explicit TreeEvents(JsonTree& tree) : tree_(tree) {}

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(int64_t value) override { return add(value); }
  bool number_unsigned(uint64_t value) override { return add(value); }
  bool number_float(double value, const std::string&) override { return add(value); }
  bool string(std::string& value) override { return add(std::move(value)); }
  bool binary(Json::binary_t&) override { return false; }
  bool key(std::string& value) override {
    tree_.key(std::move(value));
    return true;
  }
  bool start_object(size_t) override {
    tree_.open_object();
    return true;
  }
  bool start_array(size_t) override {
    tree_.open_array();
    return true;
  }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) override { return false; }

 private:
  template <class Value>
  bool add(Value&& value) {
    tree_.add(Json(std::forward<Value>(value)));
    return true;
  }
  bool close() {
    tree_.close();
    return true;
  }

  JsonTree& tree_;
};

/// What a value is, short enough for a message.
std::string describe(const Json* value) {
  if (value == nullptr) return "missing";
  if (value->is_string()) return quoted(value->get_ref<const std::string&>());
  if (value->is_object()) return "an object";
  if (value->is_array()) return "an array";
  return print_json(*value);
}

}  // namespace

void parse_json_events(std::string_view text, std::string_view what, const JsonLimits& limits,
                       Events& handler) {
  const size_t most = std::min<size_t>(limits.max_bytes, std::numeric_limits<uint32_t>::max());
  if (text.size() > most) {
    throw Error(Fault::limit, cat(what, ": ", text.size(), " bytes, wanted at most ", most));
  }
  if (text.starts_with("\xEF\xBB\xBF")) {
    throw Error(Fault::format, cat(what, ": byte 0: starts with a byte order mark, wanted plain JSON"));
  }
  // the tokenizer takes a NUL for the end of the text
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos) {
    throw Error(Fault::format, cat(what, ": byte ", nul, ": a NUL byte, wanted JSON"));
  }
  CheckedEvents(text, what, limits, handler).run();
}

void JsonDocument::clear(Json& value) noexcept {
  if (auto* items = value.get_ptr<Json::array_t*>()) {
    for (Json& item : *items) clear(item);
    items->clear();
  } else if (auto* members = value.get_ptr<Json::object_t*>()) {
    for (auto& [key, member] : *members) clear(member);
    members->clear();
  }
}

void JsonTree::open(Json::value_t container) { open_.push_back(&place(Json(container))); }

Json& JsonTree::place(Json&& value) {
  if (open_.empty()) return document_.value_ = std::move(value);
  Json& parent = *open_.back();
  if (auto* items = parent.get_ptr<Json::array_t*>()) {
    items->push_back(std::move(value));
    return items->back();
  }
  Json& slot = (*parent.get_ptr<Json::object_t*>())[key_];
  JsonDocument::clear(slot);  // a key given twice; refused when the object closes
  return slot = std::move(value);
}

JsonDocument parse_json(std::string_view text, std::string_view what, const JsonLimits& limits) {
  JsonTree tree;
  TreeEvents events(tree);
  parse_json_events(text, what, limits, events);
  return tree.take();
}

std::string print_json(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

JsonObject::JsonObject(const Json& object, std::string name) : object_(&object), name_(std::move(name)) {
  if (!object.is_object())
    throw Error(Fault::format, cat(name_, ": ", describe(&object), ", wanted an object"));
}

const Json* JsonObject::find(Keys keys, std::string_view* found_key) const {
  for (std::string_view key : keys) {
    const auto it = object_->find(key);
    if (it == object_->end() || it->is_null()) continue;
    if (found_key != nullptr) *found_key = key;
    return &*it;
  }
  return nullptr;
}

bool JsonObject::is_null(std::string_view key) const {
  const auto it = object_->find(key);
  return it != object_->end() && it->is_null();
}

const Json& JsonObject::require(Keys keys, std::string_view* found_key) const {
  const Json* value = find(keys, found_key);
  if (value == nullptr) refuse(Fault::format, *keys.begin(), "a value");
  return *value;
}

std::optional<int64_t> JsonObject::maybe_integer(Keys keys, int64_t low, int64_t high) const {
  std::string_view key;
  const Json* value = find(keys, &key);
  if (value == nullptr) return std::nullopt;
  constexpr auto kLargest = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  const bool fits =
      value->is_number_integer() && !(value->is_number_unsigned() && value->get<uint64_t>() > kLargest);
  if (fits) {
    const auto number = value->get<int64_t>();
    if (number >= low && number <= high) return number;
  }
  refuse(Fault::range, key, cat("an integer from ", low, " to ", high));
}

int64_t JsonObject::integer_or(Keys keys, int64_t low, int64_t high, int64_t otherwise) const {
  return maybe_integer(keys, low, high).value_or(otherwise);
}

int64_t JsonObject::integer(Keys keys, int64_t low, int64_t high) const {
  std::string_view key;
  require(keys, &key);
  return *maybe_integer(keys, low, high);
}

double JsonObject::number(Keys keys, double low, double high) const {
  std::string_view key;
  const Json& value = require(keys, &key);
  if (value.is_number()) {
    const auto number = value.get<double>();
    if (std::isfinite(number) && number >= low && number <= high) return number;
  }
  refuse(Fault::range, key, cat("a number from ", low, " to ", high));
}

double JsonObject::number_or(Keys keys, double low, double high, double otherwise) const {
  return has(keys) ? number(keys, low, high) : otherwise;
}

bool JsonObject::boolean_or(Keys keys, bool otherwise) const {
  std::string_view key;
  const Json* value = find(keys, &key);
  if (value == nullptr) return otherwise;
  if (!value->is_boolean()) refuse(Fault::format, key, "true or false");
  return value->get<bool>();
}

void JsonObject::refuse_unless(std::string_view key, bool wanted) const {
  if (boolean_or({key}, wanted) != wanted) refuse(Fault::unsupported, key, wanted ? "true" : "false");
}

std::string JsonObject::string(Keys keys) const {
  std::string_view key;
  const Json& value = require(keys, &key);
  if (!value.is_string()) refuse(Fault::format, key, "a string");
  return value.get<std::string>();
}

std::string JsonObject::string_or(Keys keys, std::string_view otherwise) const {
  return has(keys) ? string(keys) : std::string(otherwise);
}

std::optional<JsonObject> JsonObject::object(Keys keys) const {
  std::string_view key;
  const Json* value = find(keys, &key);
  if (value == nullptr) return std::nullopt;
  return JsonObject(*value, cat(name_, ": ", key));
}

void JsonObject::refuse(Fault fault, std::string_view key, std::string_view wanted) const {
  throw Error(fault, cat(name_, ": ", quoted(key), " is ", describe(find({key})), ", wanted ", wanted));
}

}  // namespace gptq
