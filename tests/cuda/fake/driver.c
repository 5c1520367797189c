/* libcuda.so.1 of a machine that has no use for the plugin: DRIVER_VERSION is 1000 major + 10 minor of CUDA, INIT_RESULT what
 * cuInit() answers. It is asked for all its functions by name, and has no others. */
#include <stdint.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

enum { NOT_FOUND = 500 }; /* CUDA_ERROR_NOT_FOUND */

EXPORT int cuInit(unsigned flags) {
  (void)flags;
  return INIT_RESULT;
}

EXPORT int cuDriverGetVersion(int* version) {
  *version = DRIVER_VERSION;
  return 0;
}

/* The function, and whether it was found: 0, or 1 where there is no such symbol. */
EXPORT int cuGetProcAddress_v2(const char* name, void* function, int version, uint64_t flags, int* query) {
  typedef void (*Any)(void);
  static const struct {
    const char* name;
    Any function;
  } all[] = {{"cuInit", (Any)cuInit},
             {"cuDriverGetVersion", (Any)cuDriverGetVersion},
             {"cuGetProcAddress", (Any)cuGetProcAddress_v2}};
  (void)version, (void)flags;
  Any found = NULL;
  for (size_t i = 0; i < sizeof all / sizeof *all; ++i) {
    if (strcmp(name, all[i].name) == 0) found = all[i].function;
  }
  memcpy(function, &found, sizeof found);
  if (query != NULL) *query = found == NULL;
  return found == NULL ? NOT_FOUND : 0;
}
