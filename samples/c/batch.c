/* Continues several texts together: batch MODEL PROMPT...
 *
 * Each step reads the weights once for all of them. A server would take a session that has ended out of the array, and
 * put another one in.
 *
 *   cc -std=c99 batch.c $(pkg-config --cflags --libs gptq) -o batch
 */
#include <gptq.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 16

/* Adds the last chunk of a session to its text. */
static int keep(const gptq_session* session, char** text, size_t* size) {
  const size_t more = (size_t)gptq_session_text_size(session);
  char* const longer = realloc(*text, *size + more + 1);
  if (longer == NULL) return 0;
  memcpy(longer + *size, gptq_session_text(session), more + 1);
  *text = longer;
  *size += more;
  return 1;
}

int main(int argc, char** argv) {
  gptq_model* model = NULL;
  gptq_options* options = NULL;
  gptq_session* sessions[MOST] = {NULL};
  gptq_status statuses[MOST] = {0};
  char* texts[MOST] = {NULL};
  size_t sizes[MOST] = {0};
  const int count = argc - 2;
  int failed = 0, i;
  gptq_status status;
  if (count < 1 || count > MOST)
    return fprintf(stderr, "usage: %s MODEL PROMPT...   (at most %d)\n", argv[0], MOST), 2;
  if ((status = gptq_options_create(&options)) == 0 &&
      (status = gptq_options_set_int(options, GPTQ_KEY_MAX_TOKENS, 200)) == 0)
    status = gptq_model_load(argv[1], options, &model);
  for (i = 0; i < count && status == 0; ++i) {
    if ((status = gptq_session_create(model, options, &sessions[i])) == 0 &&
        (status = gptq_session_append_text(sessions[i], argv[i + 2], -1)) == 0)
      status = gptq_session_begin(sessions[i], options);
  }
  while (status == 0 && (status = gptq_session_step_all(sessions, count, statuses)) == GPTQ_OK) {
    for (i = 0; i < count; ++i) {
      if (statuses[i] == GPTQ_OK && !keep(sessions[i], &texts[i], &sizes[i]))
        status = GPTQ_ERROR_OUT_OF_MEMORY;
    }
  }
  if (status < 0) fprintf(stderr, "%s\n", gptq_last_error_message());
  for (i = 0; i < count; ++i) {
    if (sessions[i] != NULL && *gptq_session_error_message(sessions[i])) {
      fprintf(stderr, "%s: %s\n", argv[i + 2], gptq_session_error_message(sessions[i]));
      failed = 1;
    }
    if (texts[i] != NULL) printf("%s%s\n", argv[i + 2], texts[i]);
    free(texts[i]);
    gptq_session_free(sessions[i]);
  }
  gptq_model_free(model);
  gptq_options_free(options);
  return status < 0 || failed;
}
