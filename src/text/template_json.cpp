// Values from JSON: see template_json.h; how they print is in template_print.cpp.
#include "text/template_json.h"

#include <vector>

#include "base/json.h"
#include "base/text.h"

namespace gptq::jinja {
namespace {

class ValueReader final : public nlohmann::json_sax<Json> {
 public:
  explicit ValueReader(std::string_view what) : what_(what) {}
  Value take() { return std::move(result_); }

  bool null() override { return put(Value::None{}); }
  bool boolean(bool value) override { return put(value); }
  bool number_integer(int64_t value) override { return put(value); }
  bool number_unsigned(uint64_t value) override {
    if (value > INT64_MAX)
      throw Error(Fault::range, cat(what_, ": ", value, " is a whole number beyond 64 bits"));
    return put(static_cast<int64_t>(value));
  }
  bool number_float(double value, const std::string& digits) override {
    if (digits.find_first_of(".eE") == std::string::npos)
      throw Error(Fault::range, cat(what_, ": ", quoted(digits), " is a whole number beyond 64 bits"));
    return put(value);
  }
  bool string(std::string& value) override { return put(text(std::move(value))); }
  bool binary(Json::binary_t&) override { return false; }
  bool start_object(size_t) override {
    open_.push_back({std::make_shared<Dict>(nullptr), nullptr, {}});
    return true;
  }
  bool key(std::string& value) override {
    open_.back().key = text(std::move(value));
    return true;
  }
  bool end_object() override { return close(open_.back().dict); }
  bool start_array(size_t) override {
    open_.push_back({nullptr, std::make_shared<Sequence>(nullptr, Flavor::list), {}});
    return true;
  }
  bool end_array() override { return close(open_.back().list); }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) override { return false; }

 private:
  struct Open {
    std::shared_ptr<Dict> dict;  // or
    std::shared_ptr<Sequence> list;
    Value key;
  };

  static Value text(std::string&& bytes) {
    return std::make_shared<const Text>(nullptr, std::move(bytes), Markup::no);
  }

  template <class Container>
  bool close(Container container) {
    open_.pop_back();
    return put(std::move(container));
  }

  bool put(Value value) {
    if (open_.empty()) {
      result_ = std::move(value);
    } else if (open_.back().dict) {
      open_.back().dict->add(std::move(open_.back().key), std::move(value));
    } else {
      open_.back().list->push(std::move(value));
    }
    return true;
  }

  std::string_view what_;
  std::vector<Open> open_;
  Value result_;
};

}  // namespace

Value parse_value(std::string_view json, std::string_view what) {
  ValueReader reader(what);
  parse_json_events(json, what, {}, reader);
  return reader.take();
}

}  // namespace gptq::jinja
