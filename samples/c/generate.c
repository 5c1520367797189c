/* Continues a text with a model folder: generate MODEL PROMPT
 *
 *   cc -std=c99 generate.c $(pkg-config --cflags --libs gptq) -o generate
 */
#include <gptq.h>
#include <stdio.h>

int main(int argc, char** argv) {
  gptq_model* model = NULL;
  gptq_session* session = NULL;
  gptq_options* options = NULL;
  gptq_status status;
  if (argc != 3) return fprintf(stderr, "usage: %s MODEL PROMPT\n", argv[0]), 2;
  if ((status = gptq_options_create(&options)) == 0 &&
      (status = gptq_options_set_int(options, GPTQ_KEY_MAX_TOKENS, 200)) == 0 &&
      (status = gptq_model_load(argv[1], options, &model)) == 0 &&
      (status = gptq_session_create(model, options, &session)) == 0 &&
      (status = gptq_session_append_text(session, argv[2], -1)) == 0 &&
      (status = gptq_session_begin(session, options)) == 0) {
    while ((status = gptq_session_step(session)) == GPTQ_OK) {
      fputs(gptq_session_text(session), stdout);
      fflush(stdout);
    }
    putchar('\n');
  }
  if (status < 0) fprintf(stderr, "%s\n", gptq_last_error_message());
  gptq_session_free(session);
  gptq_model_free(model);
  gptq_options_free(options);
  return status < 0 ? 1 : 0;
}
