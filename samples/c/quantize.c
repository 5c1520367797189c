/* Quantizes a model folder to 4 bits: quantize MODEL OUT [CALIBRATION.txt]
 *
 *   cc -std=c99 quantize.c $(pkg-config --cflags --libs gptq) -o quantize
 */
#include <gptq.h>
#include <stdio.h>
#include <stdlib.h>

static int32_t print_progress(void* user_data, int64_t done, int64_t total, const char* stage) {
  (void)user_data;
  fprintf(stderr, "\r%-16s %3d %%", stage, total > 0 ? (int)(100 * done / total) : 0);
  return 0; /* anything else would cancel */
}

/* The whole file, and its size; NULL when it can't be read. */
static char* read_file(const char* path, long* size) {
  char* text = NULL;
  FILE* file = fopen(path, "rb");
  if (file == NULL) return NULL;
  if (fseek(file, 0, SEEK_END) == 0 && (*size = ftell(file)) >= 0 && fseek(file, 0, SEEK_SET) == 0 &&
      (text = malloc((size_t)*size + 1)) != NULL && fread(text, 1, (size_t)*size, file) != (size_t)*size) {
    free(text);
    text = NULL;
  }
  fclose(file);
  return text;
}

static gptq_status quantize(const char* model, const char* out, const char* text, long size) {
  gptq_options* options = NULL;
  gptq_quantizer* quantizer = NULL;
  gptq_status status;
  if ((status = gptq_options_create(&options)) == 0 &&
      (status = gptq_options_set_int(options, GPTQ_KEY_BITS, 4)) == 0 &&
      (status = gptq_options_set_int(options, GPTQ_KEY_CALIBRATION_SAMPLES, 32)) == 0 &&
      (status = gptq_options_set_int(options, GPTQ_KEY_CALIBRATION_LENGTH, 256)) == 0 &&
      (status = gptq_options_set_progress(options, print_progress, NULL)) == 0 &&
      (status = gptq_quantizer_create(model, out, options, &quantizer)) == 0) {
    /* without a text the model writes its own */
    if (text != NULL) status = gptq_quantizer_add_calibration_text(quantizer, text, size);
    if (status == 0) status = gptq_quantizer_run(quantizer);
  }
  fprintf(stderr, "\n");
  if (status < 0) fprintf(stderr, "%s\n", gptq_last_error_message());
  gptq_quantizer_free(quantizer);
  gptq_options_free(options);
  return status;
}

int main(int argc, char** argv) {
  gptq_status status;
  char* text = NULL;
  long size = 0;
  if (argc != 3 && argc != 4) {
    fprintf(stderr, "usage: %s MODEL OUT [CALIBRATION.txt]\n", argv[0]);
    return 2;
  }
  if (argc == 4 && (text = read_file(argv[3], &size)) == NULL) {
    perror(argv[3]);
    return 1;
  }
  status = quantize(argv[1], argv[2], text, size);
  free(text);
  return status < 0 ? 1 : 0;
}
