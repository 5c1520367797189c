/* What llama.cpp computes: logits.c MODEL.gguf OUT GREEDY < text of ids
 * Reads token ids, writes the logits after each of them to OUT as f32 [tokens, vocabulary], and prints GREEDY ids that
 * continue them. With "-" for OUT it reads a text instead and prints the ids that llama.cpp makes of it. */
#include <llama.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kMost = 1 << 16 };

static void quiet(enum ggml_log_level level, const char* text, void* data) {
  (void)data;
  if (level >= GGML_LOG_LEVEL_WARN) fputs(text, stderr);
}

static int fail(const char* what) {
  fprintf(stderr, "logits: %s\n", what);
  return 1;
}

static llama_token best(const float* logits, int32_t count) {
  llama_token id = 0;
  for (int32_t i = 1; i < count; ++i) {
    if (logits[i] > logits[id]) id = i;
  }
  return id;
}

static int print_tokens(const struct llama_vocab* vocab) {
  static char text[kMost];
  static llama_token ids[kMost];
  const size_t size = fread(text, 1, sizeof text, stdin);
  const int32_t count = llama_tokenize(vocab, text, (int32_t)size, ids, kMost, true, true);
  for (int32_t i = 0; i < count; ++i) printf("%d ", ids[i]);
  return count < 0 ? fail("the text is too long") : 0;
}

static int run(struct llama_context* context, const struct llama_vocab* vocab, const char* path,
               long greedy) {
  static llama_token ids[kMost];
  int32_t count = 0;
  while (count < kMost && scanf("%d", &ids[count]) == 1) ++count;
  const int32_t words = llama_vocab_n_tokens(vocab);
  struct llama_batch batch = llama_batch_init(count, 0, 1);
  batch.n_tokens = count;
  for (int32_t i = 0; i < count; ++i) {
    batch.token[i] = ids[i];
    batch.pos[i] = i;
    batch.n_seq_id[i] = 1;
    batch.seq_id[i][0] = 0;
    batch.logits[i] = 1;
  }
  if (llama_decode(context, batch) != 0) return fail("llama_decode");
  FILE* out = fopen(path, "wb");
  if (out == NULL) return fail("cannot write");
  for (int32_t i = 0; i < count; ++i)
    fwrite(llama_get_logits_ith(context, i), sizeof(float), (size_t)words, out);
  if (fclose(out) != 0) return fail("cannot write");
  llama_token next = best(llama_get_logits_ith(context, count - 1), words);
  for (long i = 0; i < greedy; ++i) {
    printf("%d ", next);
    if (i + 1 == greedy) break;
    if (llama_decode(context, llama_batch_get_one(&next, 1)) != 0) return fail("llama_decode");
    next = best(llama_get_logits_ith(context, -1), words);
  }
  llama_batch_free(batch);
  return 0;
}

int main(int argc, char** argv) {
  if (argc != 4) return fail("usage: logits MODEL.gguf OUT GREEDY");
  llama_log_set(quiet, NULL);
  llama_backend_init();
  struct llama_model_params reading = llama_model_default_params();
  reading.vocab_only = strcmp(argv[2], "-") == 0;
  struct llama_model* model = llama_model_load_from_file(argv[1], reading);
  if (model == NULL) return fail("llama.cpp does not load the file");
  const struct llama_vocab* vocab = llama_model_get_vocab(model);
  struct llama_context_params params = llama_context_default_params();
  params.n_ctx = params.n_batch = params.n_ubatch = 2048;
  params.n_threads = params.n_threads_batch = 2;
  params.type_k = params.type_v = GGML_TYPE_F32;
  params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
  int status;
  if (strcmp(argv[2], "-") == 0) {
    status = print_tokens(vocab);
  } else {
    struct llama_context* context = llama_init_from_model(model, params);
    status = context == NULL ? fail("no context") : run(context, vocab, argv[2], atol(argv[3]));
    llama_free(context);
  }
  llama_model_free(model);
  return status;
}
