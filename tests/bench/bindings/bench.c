/* The loop that a C program writes: bench MODEL TOKENS prints tokens per second, and the part of the time that was spent
 * outside the passes through the model, in percent. */
#include <gptq.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Generates `tokens` and returns the bytes of their text. */
static size_t generate(gptq_session* session, gptq_options* options, int tokens) {
  size_t bytes = 0;
  gptq_status status;
  gptq_options_set_int(options, GPTQ_KEY_MAX_TOKENS, tokens);
  gptq_session_reset(session);
  gptq_session_append_text(session, "Once upon a time", -1);
  for (status = gptq_session_begin(session, options); !status && !(status = gptq_session_step(session));)
    bytes += strlen(gptq_session_text(session));
  if (status < 0) exit((fprintf(stderr, "%s\n", gptq_session_error_message(session)), 1));
  return bytes;
}

int main(int argc, char** argv) {
  gptq_options* options = NULL;
  gptq_model* model = NULL;
  gptq_session* session = NULL;
  const int tokens = argc == 3 ? atoi(argv[2]) : 0;
  double start, seconds, prefill = 0, decode = 0;
  if (tokens < 1) return 2;
  gptq_options_create(&options);
  gptq_options_set_int(options, GPTQ_KEY_THREADS, 1);
  gptq_options_set_int(options, GPTQ_KEY_IGNORE_EOS, 1);
  if (gptq_model_load(argv[1], options, &model) || gptq_session_create(model, NULL, &session)) {
    fprintf(stderr, "%s\n", gptq_last_error_message());
    return 1;
  }
  generate(session, options, tokens);
  start = now();
  if (generate(session, options, tokens) == 0) return 1;
  seconds = now() - start;
  gptq_session_get_stat(session, "prefill_seconds", &prefill);
  gptq_session_get_stat(session, "decode_seconds", &decode);
  printf("%.2f %.3f\n", tokens / seconds, 100 * (1 - (prefill + decode) / seconds));
  gptq_session_free(session);
  gptq_model_free(model);
  gptq_options_free(options);
  return 0;
}
