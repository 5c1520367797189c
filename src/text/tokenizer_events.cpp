// See tokenizer_events.h.
#include "text/tokenizer_events.h"

#include "base/text.h"

namespace gptq {

namespace {

constexpr size_t kLargestFile = size_t{256} << 20;

class Handler : public nlohmann::json_sax<Json> {
 public:
  Handler(TokenizerJson& out, std::string_view name) : out_(out), name_(name) {}

  bool null() override { return value(nullptr); }
  bool boolean(bool b) override { return value(b); }
  bool number_integer(number_integer_t n) override { return in_vocab() ? vocab_id(n) : value(n); }
  bool number_unsigned(number_unsigned_t n) override {
    return in_vocab() ? vocab_id(n > INT64_MAX ? INT64_MAX : static_cast<int64_t>(n)) : value(n);
  }
  bool number_float(number_float_t n, const string_t&) override { return value(n); }
  bool string(string_t& s) override {
    if (where_ == Where::merges) return merge_line(s);
    if (where_ == Where::merge_pair) return merge_part(s);
    return value(std::move(s));
  }
  bool binary(binary_t&) override { return false; }
  bool key(string_t& k) override {
    key_ = std::move(k);
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }

  bool start_object(std::size_t) override {
    if (where_ != Where::tree) refuse_content("an object");
    if (open_.size() == 2 && model_is_open() && key_ == "vocab") {
      where_ = Where::vocab;
      out_.has_vocab = true;
      return true;
    }
    return open(Json::object());
  }
  bool end_object() override {
    if (where_ == Where::vocab) {
      where_ = Where::tree;
    } else {
      open_.pop_back();
    }
    return true;
  }
  bool start_array(std::size_t) override {
    if (where_ == Where::merges) {
      where_ = Where::merge_pair;
      parts_ = 0;
      return true;
    }
    if (where_ != Where::tree) refuse_content("a list");
    if (open_.size() == 2 && model_is_open() && key_ == "merges") {
      where_ = Where::merges;
      out_.has_merges = true;
      return true;
    }
    return open(Json::array());
  }
  bool end_array() override {
    if (where_ == Where::merge_pair) {
      if (parts_ != 2) wrong_parts(parts_);
      out_.merges.add(left_, right_);
      where_ = Where::merges;
    } else if (where_ == Where::merges) {
      where_ = Where::tree;
    } else {
      open_.pop_back();
    }
    return true;
  }

 private:
  enum class Where : uint8_t { tree, vocab, merges, merge_pair };

  bool in_vocab() const { return where_ == Where::vocab; }
  bool model_is_open() const { return open_[1] == model_; }

  [[noreturn]] void refuse_content(std::string_view found) const {
    if (where_ == Where::vocab) {
      throw Error(Fault::format,
                  cat(name_, ": model.vocab ", quoted(key_), " is ", found, ", wanted an integer"));
    }
    throw Error(Fault::format,
                cat(name_, ": model.merges[", out_.merges.size(), "] holds ", found, ", wanted two strings"));
  }

  template <class T>
  bool value(T&& v) {
    if (where_ != Where::tree) refuse_content("of another type");
    add(Json(std::forward<T>(v)));
    return true;
  }

  Json* add(Json v) {
    if (open_.empty()) {
      out_.rest = std::move(v);
      return &out_.rest;
    }
    Json& parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(v));
      return &parent.back();
    }
    Json& slot = parent[key_];
    slot = std::move(v);
    if (open_.size() == 1 && key_ == "model") model_ = &slot;
    return &slot;
  }

  // Only the last child of an open container is open, so that growing an array moves no open one.
  bool open(Json container) {
    open_.push_back(add(std::move(container)));
    return true;
  }

  bool vocab_id(int64_t id) {
    out_.vocab.add(key_, id);
    return true;
  }

  [[noreturn]] void wrong_parts(size_t parts) const {
    throw Error(Fault::format,
                cat(name_, ": model.merges[", out_.merges.size(), "] has ", parts, " parts, wanted 2"));
  }

  bool merge_line(std::string_view line) {
    if (line.starts_with("#version")) return true;
    const size_t space = line.find(' ');
    if (space == std::string_view::npos) wrong_parts(1);
    if (line.find(' ', space + 1) != std::string_view::npos) wrong_parts(3);
    out_.merges.add(line.substr(0, space), line.substr(space + 1));
    return true;
  }

  bool merge_part(string_t& part) {
    if (++parts_ > 2) wrong_parts(parts_);
    (parts_ == 1 ? left_ : right_) = std::move(part);
    return true;
  }

  TokenizerJson& out_;
  std::string_view name_;
  Where where_ = Where::tree;
  std::vector<Json*> open_;
  const Json* model_ = nullptr;
  std::string key_, left_, right_;
  size_t parts_ = 0;
};

}  // namespace

void VocabList::add(std::string_view text, int64_t id) {
  texts_ += text;
  entries_.push_back({static_cast<uint32_t>(text.size()), id});
}

TokenizerJson parse_tokenizer_json(std::string_view text, std::string_view name) {
  TokenizerJson out;
  Handler handler(out, name);
  JsonLimits limits;
  limits.max_bytes = kLargestFile;
  parse_json_events(text, name, limits, handler);
  return out;
}

}  // namespace gptq
