// Chat templates: programs in the language Jinja that turn messages into the text that a model was trained on.
#pragma once

#include <ctime>
#include <memory>
#include <string>
#include <string_view>

namespace gptq::jinja {

struct Tree;
class Value;

/// A template, parsed. Immutable: any number of threads may render it at once.
class Template {
 public:
  /// Fault::format, limit or unsupported, naming `name`, line, what was found and what was wanted.
  Template(std::string_view source, std::string_view name);
  ~Template();

  /// The text for `variables`, a dict.
  /// @param now  what strftime_now() tells
  /// Status::invalid_argument where the template refuses the variables (raise_exception) or fails on them, with line,
  /// kind and message as Jinja has them in Python; Fault::limit where it takes more than template_limits.h allows;
  /// Fault::unsupported for what is not known here.
  std::string render(const Value& variables, const std::tm& now) const;

 private:
  std::string name_;
  std::unique_ptr<const Tree> tree_;
};

}  // namespace gptq::jinja
