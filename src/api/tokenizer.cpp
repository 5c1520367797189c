#include <span>
#include <string_view>

#include "api/buffer.h"
#include "api/handles.h"
#include "base/text.h"

using namespace gptq;

namespace {

void check_flags(int32_t flags, int32_t known) {
  if ((flags & ~known) != 0)
    throw Error(Status::invalid_argument, cat("flags ", flags, " has bits that mean nothing here"));
}

void check_ids(const Tokenizer& tokenizer, std::span<const int32_t> ids) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (tokenizer.token_text(ids[i]).empty()) {
      throw Error(Status::invalid_argument, cat("id ", i, " is ", ids[i], ", which no token has"));
    }
  }
}

}  // namespace

gptq_status gptq_model_tokenize(const gptq_model* model, const char* text, int64_t len, int32_t flags,
                                gptq_buffer** out_ids) {
  return api::guard([&] {
    api::require(out_ids, "out_ids");
    *out_ids = nullptr;
    api::require(model, "model");
    check_flags(flags, GPTQ_TOKENIZE_ADD_SPECIAL | GPTQ_TOKENIZE_PARSE_SPECIAL);
    const AddSpecial add = (flags & GPTQ_TOKENIZE_ADD_SPECIAL) != 0 ? AddSpecial::yes : AddSpecial::no;
    const ParseSpecial parse =
        (flags & GPTQ_TOKENIZE_PARSE_SPECIAL) != 0 ? ParseSpecial::yes : ParseSpecial::no;
    const auto ids = model->model->tokenizer()->encode(api::text_argument(text, len, "text"), add, parse);
    *out_ids = api::make_buffer(ids.data(), ids.size() * sizeof(int32_t));
  });
}

gptq_status gptq_model_detokenize(const gptq_model* model, const int32_t* ids, int64_t count, int32_t flags,
                                  gptq_buffer** out_text) {
  return api::guard([&] {
    api::require(out_text, "out_text");
    *out_text = nullptr;
    api::require(model, "model");
    check_flags(flags, GPTQ_DETOKENIZE_SKIP_SPECIAL);
    const auto all = api::ids_argument(ids, count);
    check_ids(*model->model->tokenizer(), all);
    const SkipSpecial skip = (flags & GPTQ_DETOKENIZE_SKIP_SPECIAL) != 0 ? SkipSpecial::yes : SkipSpecial::no;
    *out_text = api::text_buffer(model->model->tokenizer()->decode(all, skip));
  });
}

gptq_status gptq_model_token_text(const gptq_model* model, int32_t id, gptq_buffer** out_text) {
  return api::guard([&] {
    api::require(out_text, "out_text");
    *out_text = nullptr;
    api::require(model, "model");
    const std::string_view text = model->model->tokenizer()->token_text(id);
    if (text.empty()) throw Error(Status::not_found, cat("no token has the id ", id));
    *out_text = api::text_buffer(text);
  });
}

gptq_status gptq_model_special_token(const gptq_model* model, const char* name, int32_t* out_id) {
  return api::guard([&] {
    api::require(out_id, "out_id");
    *out_id = -1;
    api::require(model, "model");
    api::require(name, "name");
    const std::string_view wanted = name;
    std::optional<int32_t> id;
    if (wanted == "bos") {
      id = model->model->bos();
    } else if (wanted == "eos") {
      id = model->model->eos();
    } else {
      id = model->model->tokenizer()->token_id(wanted);
    }
    if (!id) throw Error(Status::not_found, cat("the model has no token ", quoted(wanted)));
    *out_id = *id;
  });
}

gptq_status gptq_model_apply_chat_template(const gptq_model* model, const char* json, int64_t len,
                                           gptq_buffer** out_text) {
  return api::guard([&] {
    api::require(out_text, "out_text");
    *out_text = nullptr;
    api::require(model, "model");
    const std::string_view request = api::text_argument(json, len, "json");
    *out_text = api::text_buffer(model->model->chat_templates().render(request, "chat"));
  });
}

gptq_status gptq_model_tokenize_chat(const gptq_model* model, const char* json, int64_t len, int32_t flags,
                                     gptq_buffer** out_ids) {
  return api::guard([&] {
    api::require(out_ids, "out_ids");
    *out_ids = nullptr;
    api::require(model, "model");
    check_flags(flags, GPTQ_TOKENIZE_PARSE_SPECIAL);
    const ParseSpecial parse =
        (flags & GPTQ_TOKENIZE_PARSE_SPECIAL) != 0 ? ParseSpecial::yes : ParseSpecial::no;
    const std::string_view request = api::text_argument(json, len, "json");
    const auto ids =
        model->model->chat_templates().encode(request, "chat", *model->model->tokenizer(), parse);
    *out_ids = api::make_buffer(ids.data(), ids.size() * sizeof(int32_t));
  });
}

gptq_status gptq_model_sampling_defaults(const gptq_model* model, gptq_buffer** out_json) {
  return api::guard([&] {
    api::require(out_json, "out_json");
    *out_json = nullptr;
    api::require(model, "model");
    *out_json = api::text_buffer(model->model->sampling_defaults());
  });
}

int32_t gptq_model_is_end_of_generation(const gptq_model* model, int32_t id) {
  return model != nullptr && model->model->ends_text(id) ? 1 : 0;
}
