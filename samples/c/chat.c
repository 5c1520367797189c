/* Answers the last message of a chat: chat MODEL CHAT.json
 *
 *   {"messages": [{"role": "user", "content": "Why is the sky blue?"}], "add_generation_prompt": true}
 *
 * Without add_generation_prompt the model goes on with the question. The most likely token is taken each time;
 * gptq_model_sampling_defaults() has what the model's makers recommend.
 *
 *   cc -std=c99 chat.c $(pkg-config --cflags --libs gptq) -o chat
 */
#include <gptq.h>
#include <stdio.h>
#include <string.h>

enum { kMostBytes = 1 << 20 };

/* The model's chat template makes tokens of the messages; the answer ends where the template ends a turn. */
static gptq_status answer(const gptq_model* model, const char* chat, size_t size) {
  gptq_buffer* ids = NULL;
  gptq_options* options = NULL;
  gptq_session* session = NULL;
  gptq_status status;
  if ((status = gptq_model_tokenize_chat(model, chat, (int64_t)size, 0, &ids)) == 0 &&
      (status = gptq_options_create(&options)) == 0 &&
      (status = gptq_options_set_int(options, GPTQ_KEY_MAX_TOKENS, 200)) == 0 &&
      (status = gptq_session_create(model, options, &session)) == 0 &&
      (status = gptq_session_append_tokens(session, gptq_buffer_data(ids), gptq_buffer_size(ids) / 4)) == 0 &&
      (status = gptq_session_begin(session, options)) == 0) {
    while ((status = gptq_session_step(session)) == GPTQ_OK) {
      fputs(gptq_session_text(session), stdout);
      fflush(stdout);
    }
    putchar('\n');
    if (status == GPTQ_DONE && strcmp(gptq_session_finish_reason(session), "stop") != 0)
      fprintf(stderr, "(cut: %s)\n", gptq_session_finish_reason(session));
  }
  if (status < 0) fprintf(stderr, "%s\n", gptq_last_error_message());
  gptq_session_free(session);
  gptq_options_free(options);
  gptq_buffer_free(ids);
  return status;
}

int main(int argc, char** argv) {
  static char chat[kMostBytes];
  gptq_model* model = NULL;
  gptq_status status;
  size_t size;
  FILE* file;
  if (argc != 3) return fprintf(stderr, "usage: %s MODEL CHAT.json\n", argv[0]), 2;
  if ((file = fopen(argv[2], "rb")) == NULL) return perror(argv[2]), 1;
  size = fread(chat, 1, sizeof chat, file);
  fclose(file);
  if (size == sizeof chat) return fprintf(stderr, "%s is too large\n", argv[2]), 1;
  if ((status = gptq_model_load(argv[1], NULL, &model)) < 0)
    fprintf(stderr, "%s\n", gptq_last_error_message());
  else
    status = answer(model, chat, size);
  gptq_model_free(model);
  return status < 0 ? 1 : 0;
}
