/* Loads a model and says one greedy token after a prompt: consumer MODEL PROMPT */
#include <gptq.h>
#include <stdio.h>

int main(int argc, char** argv) {
  gptq_model* model = NULL;
  gptq_session* session = NULL;
  int failed;
  if (argc != 3 || gptq_version() / 1000000 != GPTQ_VERSION_MAJOR) return 2;
  failed = gptq_model_load(argv[1], NULL, &model) || gptq_session_create(model, NULL, &session) ||
           gptq_session_append_text(session, argv[2], -1) || gptq_session_begin(session, NULL) ||
           gptq_session_step(session);
  if (failed) {
    fprintf(stderr, "%s\n", gptq_last_error_message());
  } else {
    printf("%ld\n", (long)gptq_session_token(session));
  }
  gptq_model_free(model); /* in any order */
  gptq_session_free(session);
  return failed ? 1 : 0;
}
