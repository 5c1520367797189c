// Calls of the library that every command makes.
#include "handles.h"

#include "option_flags.h"

namespace cli {

gptq_status check(gptq_status status) {
  if (status == GPTQ_ERROR_CANCELLED) throw Interrupted();
  if (status < 0) throw Failure(in_flags(gptq_last_error_message()));
  return status;
}

void Options::throw_usage(const char* key, const std::string& message) {
  const std::string flag(flag_of(key)), translated = in_flags(message);
  throw UsageError(translated.starts_with(flag) ? translated : flag + ": " + translated);
}

std::string_view text_of(const Buffer& buffer) {
  return {static_cast<const char*>(gptq_buffer_data(buffer.get())),
          static_cast<size_t>(gptq_buffer_size(buffer.get()))};
}

int64_t number(const Model& model, const char* key) {
  int64_t value = 0;
  check(gptq_model_get_int(model.get(), key, &value));
  return value;
}

std::string text(const Model& model, const char* key) {
  const char* value = nullptr;
  check(gptq_model_get_string(model.get(), key, &value));
  return value;
}

std::vector<int32_t> tokenize(const Model& model, std::string_view text, int32_t flags) {
  const auto ids = make<Buffer>(gptq_model_tokenize, static_cast<const gptq_model*>(model.get()), text.data(),
                                static_cast<int64_t>(text.size()), flags);
  const auto span = items<int32_t>(ids);
  return {span.begin(), span.end()};
}

}  // namespace cli
