// Settings by key, checked when they are set.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <variant>

#include "api/option_table.h"
#include "gptq.h"
#include "quant/convert.h"
#include "quant/options.h"
#include "session/model.h"
#include "session/session.h"

struct gptq_options {
 public:
  using Value = std::variant<int64_t, double, std::string>;

  /// Status::invalid_argument for an unknown key, another type, or a value out of bounds.
  void set(std::string_view key, Value value);
  /// To a key that is a list of texts.
  void add(std::string_view key, std::string_view text);
  void set_json(std::string_view text);
  std::string to_json() const;
  void clear() { *this = {}; }

  bool has(std::string_view key) const { return values_.contains(std::string(key)); }
  int64_t integer(std::string_view key) const;
  double real(std::string_view key) const;
  std::string text(std::string_view key) const;

  gptq_progress_fn progress = nullptr;
  void* progress_data = nullptr;
  gptq_executor_fn executor = nullptr;
  void* executor_data = nullptr;

 private:
  std::map<std::string, Value> values_;
};

namespace gptq::api {

/// What the options say in each scope; null options are the defaults.
ModelOptions model_options(const gptq_options* options);
int64_t context_length(const gptq_options* options);
KvElements kv_elements(const gptq_options* options);
GenerationOptions generation_options(const gptq_options* options);
QuantOptions quant_options(const gptq_options* options);
ConvertOptions convert_options(const gptq_options* options);
/// The text of the option "dynamic"; empty text has no overrides.
ModuleOverrides parse_dynamic(std::string_view text);

/// The texts of an option that is a list; empty text has none.
std::vector<std::string> parse_list(std::string_view key, std::string_view text);

/// Calls the callback and throws Error(Status::cancelled) when it asks to stop.
Progress progress_of(const gptq_options* options);

}  // namespace gptq::api
