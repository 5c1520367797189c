// See tokenizer_events.h.
#include "text/tokenizer_events.h"

#include <charconv>
#include <limits>

#include "base/text.h"

namespace gptq {

namespace {

constexpr size_t kLargestFile = size_t{256} << 20;

/// 10^exponent for an exponent of 0 to 308, correctly rounded.
double power_of_ten(int exponent) {
  const std::string text = cat("1e", exponent);
  double power = 0;
  std::from_chars(text.data(), text.data() + text.size(), power);
  return power;
}

/// A JSON number as the reference reads it, which may be one unit in the last place off: its digits, up to 64 bits of
/// them, times or by a power of ten. Ways to cut a text are often equally good but for that.
double reference_number(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  uint64_t digits = 0;
  int64_t exponent = 0;
  bool point = false, full = false;
  for (; !text.empty() && text[0] != 'e' && text[0] != 'E'; text.remove_prefix(1)) {
    if (text[0] < '0' || text[0] > '9') {  // whatever the locale has as decimal point
      point = true;
      continue;
    }
    const auto digit = static_cast<uint64_t>(text[0] - '0');
    full = full || digits > (std::numeric_limits<uint64_t>::max() - digit) / 10;
    if (!full) digits = digits * 10 + digit;
    exponent += full ? (point ? 0 : 1) : (point ? -1 : 0);
  }
  if (!text.empty()) {
    text.remove_prefix(text.size() > 1 && text[1] == '+' ? 2 : 1);
    int written = 0;
    std::from_chars(text.data(), text.data() + text.size(), written);
    exponent += written;
  }
  auto number = static_cast<double>(digits);
  for (; exponent < -308 && number != 0; exponent += 308) number /= 1e308;
  if (number != 0) {
    if (exponent > 308) exponent = 308;  // infinite in any case: the JSON reader has refused it
    number = exponent >= 0 ? number * power_of_ten(static_cast<int>(exponent))
                           : number / power_of_ten(static_cast<int>(-exponent));
  }
  return negative ? -number : number;
}

class Handler : public nlohmann::json_sax<Json> {
 public:
  Handler(TokenizerJson& out, std::string_view name) : out_(out), name_(name) {}
  JsonDocument take() { return tree_.take(); }

  bool null() override { return value(nullptr); }
  bool boolean(bool b) override { return value(b); }
  bool number_integer(number_integer_t n) override {
    if (where_ == Where::scored_token) return score(static_cast<double>(n));
    return in_vocab() ? vocab_id(n) : value(n);
  }
  bool number_unsigned(number_unsigned_t n) override {
    if (where_ == Where::scored_token) return score(static_cast<double>(n));
    return in_vocab() ? vocab_id(n > INT64_MAX ? INT64_MAX : static_cast<int64_t>(n)) : value(n);
  }
  bool number_float(number_float_t n, const string_t& text) override {
    return where_ == Where::scored_token ? score(reference_number(text)) : value(n);
  }
  bool string(string_t& s) override {
    if (where_ == Where::merges) return merge_line(s);
    if (where_ == Where::merge_pair) return merge_part(s);
    if (where_ == Where::scored_token && parts_ == 0) {
      ++parts_;
      left_ = std::move(s);
      return true;
    }
    return value(std::move(s));
  }
  bool binary(binary_t&) override { return false; }
  bool key(string_t& k) override {
    if (where_ == Where::vocab) {
      key_ = std::move(k);
      return true;
    }
    if (tree_.depth() == 1) in_model_ = k == "model";
    key_ = k;
    tree_.key(std::move(k));
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }

  bool start_object(std::size_t) override {
    if (where_ != Where::tree) refuse_content("an object");
    if (in_model() && key_ == "vocab") {
      where_ = Where::vocab;
      out_.has_vocab = true;
      return true;
    }
    tree_.open_object();
    return true;
  }
  bool end_object() override {
    if (where_ == Where::vocab) {
      where_ = Where::tree;
    } else {
      tree_.close();
    }
    return true;
  }
  bool start_array(std::size_t) override {
    if (where_ == Where::merges) {
      where_ = Where::merge_pair;
      parts_ = 0;
      return true;
    }
    if (where_ == Where::scores) {
      where_ = Where::scored_token;
      parts_ = 0;
      return true;
    }
    if (where_ != Where::tree) refuse_content("a list");
    if (in_model() && key_ == "merges") {
      where_ = Where::merges;
      out_.has_merges = true;
      return true;
    }
    if (in_model() && key_ == "vocab") {
      where_ = Where::scores;
      out_.has_scores = true;
      return true;
    }
    tree_.open_array();
    return true;
  }
  bool end_array() override {
    if (where_ == Where::merge_pair) {
      if (parts_ != 2) wrong_parts(parts_);
      out_.merges.add(left_, right_);
      where_ = Where::merges;
    } else if (where_ == Where::scored_token) {
      if (parts_ != 2) refuse_content("another number of parts");
      where_ = Where::scores;
    } else if (where_ == Where::merges || where_ == Where::scores) {
      where_ = Where::tree;
    } else {
      tree_.close();
    }
    return true;
  }

 private:
  enum class Where : uint8_t { tree, vocab, scores, scored_token, merges, merge_pair };

  bool in_vocab() const { return where_ == Where::vocab; }
  bool in_model() const { return tree_.depth() == 2 && in_model_; }

  [[noreturn]] void refuse_content(std::string_view found) const {
    if (where_ == Where::vocab) {
      throw Error(Fault::format,
                  cat(name_, ": model.vocab ", quoted(key_), " is ", found, ", wanted an integer"));
    }
    if (where_ == Where::scores || where_ == Where::scored_token) {
      throw Error(Fault::format, cat(name_, ": model.vocab[", out_.scores.size(), "] holds ", found,
                                     ", wanted a token and its score"));
    }
    throw Error(Fault::format,
                cat(name_, ": model.merges[", out_.merges.size(), "] holds ", found, ", wanted two strings"));
  }

  template <class T>
  bool value(T&& v) {
    if (where_ != Where::tree) refuse_content("of another type");
    tree_.add(Json(std::forward<T>(v)));
    return true;
  }

  bool vocab_id(int64_t id) {
    out_.vocab.add(key_, id);
    return true;
  }

  bool score(double number) {
    if (parts_ != 1) refuse_content("another number of parts");
    ++parts_;
    out_.scores.add(left_, number);
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
  JsonTree tree_;
  bool in_model_ = false;
  std::string key_, left_, right_;
  size_t parts_ = 0;
};

}  // namespace

TokenizerJson parse_tokenizer_json(std::string_view text, std::string_view name) {
  TokenizerJson out;
  Handler handler(out, name);
  JsonLimits limits;
  limits.max_bytes = kLargestFile;
  parse_json_events(text, name, limits, handler);
  out.rest = handler.take();
  return out;
}

}  // namespace gptq
