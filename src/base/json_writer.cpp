#include "base/json_writer.h"

#include <utility>

#include "base/json.h"

namespace gptq {

void JsonWriter::key(std::string_view key) {
  separate();
  out_ += print_json(Json(key));
  out_ += layout_ == JsonLayout::indented ? ": " : ":";
  last_ = Last::key;
}

void JsonWriter::value(std::string_view text) { put(print_json(Json(text))); }

void JsonWriter::value(double number) { put(print_json(Json(number))); }

void JsonWriter::put(std::string_view text) {
  separate();
  out_ += text;
  last_ = Last::value;
}

void JsonWriter::begin(char bracket) {
  separate();
  out_ += bracket;
  ++depth_;
  last_ = Last::begin;
}

void JsonWriter::end(char bracket) {
  --depth_;
  if (last_ != Last::begin) new_line();
  out_ += bracket;
  last_ = Last::value;
}

void JsonWriter::separate() {
  if (last_ == Last::value) out_ += ',';
  if (last_ == Last::value || last_ == Last::begin) new_line();
}

void JsonWriter::new_line() {
  if (layout_ == JsonLayout::one_line) return;
  out_ += '\n';
  out_.append(2 * depth_, ' ');
}

namespace {

/// Writes what it hears, but for the value of one member of the outermost object.
class Editor final : public nlohmann::json_sax<Json> {
 public:
  Editor(JsonWriter& out, std::string_view what) : out_(out), what_(what) {}

  bool has_written() const { return written_; }
  void set(std::string_view key, std::string_view value) {
    key_ = key;
    value_ = value;
  }

  bool null() override {
    return write([&] { out_.null(); });
  }
  bool boolean(bool value) override {
    return write([&] { out_.value(value); });
  }
  bool number_integer(int64_t value) override {
    return write([&] { out_.value(value); });
  }
  bool number_unsigned(uint64_t value) override {
    return write([&] { out_.value(value); });
  }
  bool number_float(double value, const std::string&) override {
    return write([&] { out_.value(value); });
  }
  bool string(std::string& value) override {
    return write([&] { out_.value(std::string_view(value)); });
  }
  bool binary(Json::binary_t&) override { return false; }

  bool start_object(size_t) override {
    if (!skipping_) out_.begin_object();
    ++depth_;
    return true;
  }
  bool key(std::string& key) override {
    if (depth_ == 1) skipping_ = !key_.empty() && key == key_;
    if (skipping_ && depth_ > 1) return true;
    if (skipping_) {
      write_member();
    } else {
      out_.key(key);
    }
    return true;
  }
  bool end_object() override {
    if (--depth_ == 0) {
      skipping_ = false;
      if (!key_.empty() && !written_) write_member();
    }
    if (!skipping_) out_.end_object();
    return true;
  }
  bool start_array(size_t) override {
    if (!skipping_) out_.begin_array();
    ++depth_;
    return true;
  }
  bool end_array() override {
    --depth_;
    if (!skipping_) out_.end_array();
    return true;
  }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) override { return false; }

 private:
  template <class Write>
  bool write(const Write& print) {
    if (!skipping_) print();
    return true;
  }

  void write_member() {
    written_ = true;
    if (value_.empty()) return;  // the member is to go
    out_.key(key_);
    Editor copy(out_, what_);
    parse_json_events(value_, what_, {}, copy);
  }

  JsonWriter& out_;
  std::string_view what_, key_, value_;
  int depth_ = 0;
  bool skipping_ = false;  // the old value of the member
  bool written_ = false;
};

}  // namespace

std::string set_json_member(std::string_view text, std::string_view what, std::string_view key,
                            std::string_view value) {
  JsonWriter out(JsonLayout::indented);
  Editor editor(out, what);
  editor.set(key, value);
  parse_json_events(text, what, {}, editor);
  if (!editor.has_written()) throw Error(Fault::format, cat(what, ": wanted an object"));
  return out.take();
}

std::string remove_json_member(std::string_view text, std::string_view what, std::string_view key) {
  return set_json_member(text, what, key, {});
}

}  // namespace gptq
