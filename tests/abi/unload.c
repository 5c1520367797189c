/* Opens the library at run time, runs a model, closes the library, and sees that it left the process: unload LIBRARY MODEL */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef int32_t (*load_fn)(const char*, const void*, void**);
typedef int32_t (*create_fn)(const void*, const void*, void**);
typedef int32_t (*append_fn)(void*, const char*, int64_t);
typedef int32_t (*begin_fn)(void*, const void*);
typedef int32_t (*step_fn)(void*);
typedef void (*free_fn)(void*);

/* ISO C has no cast from object to function pointers */
static int find(void* library, const char* name, void* function) {
  void* symbol = dlsym(library, name);
  if (symbol == NULL) fprintf(stderr, "%s is not there\n", name);
  memcpy(function, &symbol, sizeof symbol);
  return symbol != NULL;
}

static int use(void* library, const char* folder) {
  load_fn load;
  create_fn create;
  append_fn append;
  begin_fn begin;
  step_fn step;
  free_fn free_model, free_session;
  void *model = NULL, *session = NULL;
  int worked;
  if (!find(library, "gptq_model_load", &load) || !find(library, "gptq_session_create", &create) ||
      !find(library, "gptq_session_append_text", &append) || !find(library, "gptq_session_begin", &begin) ||
      !find(library, "gptq_session_step", &step) || !find(library, "gptq_model_free", &free_model) ||
      !find(library, "gptq_session_free", &free_session)) {
    return 0;
  }
  worked = load(folder, NULL, &model) == 0 && create(model, NULL, &session) == 0 &&
           append(session, "Once", -1) == 0 && begin(session, NULL) == 0 && step(session) == 0;
  free_session(session);
  free_model(model);
  return worked;
}

int main(int argc, char** argv) {
  int round;
  if (argc != 3) return 2;
  for (round = 0; round < 2; ++round) {
    void* library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) return fprintf(stderr, "%s\n", dlerror()), 1;
    if (!use(library, argv[2])) return fprintf(stderr, "the model did not run\n"), 1;
    if (dlclose(library) != 0) return fprintf(stderr, "%s\n", dlerror()), 1;
    if (dlopen(argv[1], RTLD_NOW | RTLD_NOLOAD) != NULL) return fprintf(stderr, "still loaded\n"), 1;
  }
  return 0;
}
