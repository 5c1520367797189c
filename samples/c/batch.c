/* Continues texts together, a few at a time: batch MODEL PROMPT...
 *
 * Each step reads the weights once for all texts that are under way; where one has ended, the next begins.
 *
 *   cc -std=c99 batch.c $(pkg-config --cflags --libs gptq) -o batch
 */
#include <gptq.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 4 /* at a time */

static const gptq_model* model;
static const gptq_options* options;

/* Begins a text in a new session. */
static gptq_session* begin(const char* prompt) {
  gptq_session* session = NULL;
  if (gptq_session_create(model, options, &session) == 0 &&
      gptq_session_append_text(session, prompt, -1) == 0 && gptq_session_begin(session, options) == 0)
    return session;
  fprintf(stderr, "%s: %s\n", prompt, gptq_last_error_message());
  gptq_session_free(session);
  return NULL;
}

/* Adds the last chunk of a session to its text. */
static int keep(const gptq_session* session, char** text) {
  const size_t size = *text != NULL ? strlen(*text) : 0, more = (size_t)gptq_session_text_size(session);
  char* const longer = realloc(*text, size + more + 1);
  if (longer == NULL) return 0;
  memcpy(longer + size, gptq_session_text(session), more + 1);
  *text = longer;
  return 1;
}

/* All prompts, each text when it has ended. Returns how many have failed. */
static int run(char** prompts, int count) {
  gptq_session* sessions[MOST];
  gptq_status statuses[MOST];
  char* texts[MOST];
  const char* of[MOST];
  int active = 0, next = 0, failed = 0, i;
  while (active > 0 || next < count) {
    while (active < MOST && next < count) {
      of[active] = prompts[next++];
      texts[active] = NULL;
      if ((sessions[active] = begin(of[active])) != NULL)
        ++active;
      else
        ++failed;
    }
    gptq_session_step_all(sessions, active, statuses); /* what it returns is in the statuses, too */
    for (i = active - 1; i >= 0; --i) {
      if (statuses[i] == GPTQ_OK && keep(sessions[i], &texts[i])) continue;
      if (statuses[i] == GPTQ_DONE) {
        printf("%s%s\n", of[i], texts[i] != NULL ? texts[i] : "");
      } else {
        fprintf(stderr, "%s: %s\n", of[i],
                statuses[i] < 0 ? gptq_session_error_message(sessions[i]) : "no memory");
        ++failed;
      }
      gptq_session_free(sessions[i]);
      free(texts[i]);
      --active; /* the last one takes its place */
      sessions[i] = sessions[active];
      texts[i] = texts[active];
      of[i] = of[active];
    }
  }
  return failed;
}

int main(int argc, char** argv) {
  gptq_model* loaded = NULL;
  gptq_options* set = NULL;
  int failed = 1;
  if (argc < 3) return fprintf(stderr, "usage: %s MODEL PROMPT...\n", argv[0]), 2;
  if (gptq_options_create(&set) == 0 && gptq_options_set_int(set, GPTQ_KEY_MAX_TOKENS, 200) == 0 &&
      gptq_model_load(argv[1], set, &loaded) == 0) {
    model = loaded;
    options = set;
    failed = run(argv + 2, argc - 2);
  } else {
    fprintf(stderr, "%s\n", gptq_last_error_message());
  }
  gptq_model_free(loaded);
  gptq_options_free(set);
  return failed > 0;
}
