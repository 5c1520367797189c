// Says one greedy token after a prompt as consumer.c does, in a program that uses the JSON library that libgptq is built
// with: inline functions of equal names meet when libgptq.a is linked in.  same_inline MODEL PROMPT
#include <gptq.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  gptq_model* loaded = nullptr;
  if (gptq_model_load(argv[1], nullptr, &loaded) != GPTQ_OK) return 1;
  const std::unique_ptr<gptq_model, void (*)(gptq_model*)> model(loaded, gptq_model_free);
  gptq_buffer* text = nullptr;
  if (gptq_model_metadata_json(model.get(), &text) != GPTQ_OK) return 1;
  const auto facts = nlohmann::ordered_json::parse(static_cast<const char*>(gptq_buffer_data(text)));
  gptq_buffer_free(text);
  if (facts.at("n_layer").get<int>() < 1) return 1;
  try {
    if (!nlohmann::ordered_json::parse("{").is_null()) return 1;
  } catch (const nlohmann::ordered_json::parse_error&) {
    // as it should be, through this program's own tables of exceptions
  }
  gptq_session* session = nullptr;
  if (gptq_session_create(model.get(), nullptr, &session) != GPTQ_OK) return 1;
  const bool worked = gptq_session_append_text(session, argv[2], -1) == GPTQ_OK &&
                      gptq_session_begin(session, nullptr) == GPTQ_OK &&
                      gptq_session_step(session) == GPTQ_OK;
  if (worked) std::printf("%d\n", gptq_session_token(session));
  gptq_session_free(session);
  return worked ? 0 : 1;
}
