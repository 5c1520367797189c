/* Speed of llama.cpp's forward passes: the questions and answers of decoder_bench.cpp.
 * usage: llamacpp_bench MODEL.gguf THREADS */
#include <llama.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { kPiece = 512 };

static struct llama_model* model;
static struct llama_context* context;
static int threads, sequences_there, context_there;

static void quiet(enum ggml_log_level level, const char* text, void* data) {
  (void)data;
  if (level >= GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

static double now(void) {
  struct timespec t;
  clock_gettime(threads == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void fail(const char* what) {
  fprintf(stderr, "llamacpp_bench: %s\n", what);
  exit(1);
}

/* Room for `length` tokens of each sequence. */
static void open_context(int sequences, int length) {
  if (context != NULL) llama_free(context);
  struct llama_context_params params = llama_context_default_params();
  params.n_ctx = (uint32_t)(sequences * ((length + 255) / 256 * 256));
  params.n_batch = params.n_ubatch = kPiece;
  params.n_seq_max = (uint32_t)sequences;
  params.n_threads = params.n_threads_batch = threads;
  params.no_perf = true;
  context = llama_init_from_model(model, params);
  if (context == NULL) fail("no context");
}

static int token_of(int sequence, int position) {
  const long vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
  return (int)((position * 7919L + sequence * 104729L) % vocab);
}

static void add(struct llama_batch* batch, int sequence, int position, int logits) {
  const int i = batch->n_tokens++;
  batch->token[i] = token_of(sequence, position);
  batch->pos[i] = position;
  batch->n_seq_id[i] = 1;
  batch->seq_id[i][0] = sequence;
  batch->logits[i] = (int8_t)logits;
}

static void feed(struct llama_batch* batch, int sequence, int begin, int end) {
  for (int at = begin; at < end; at += kPiece) {
    batch->n_tokens = 0;
    for (int i = at; i < end && i < at + kPiece; ++i) add(batch, sequence, i, i + 1 == end);
    if (llama_decode(context, *batch) != 0) fail("llama_decode");
  }
}

static volatile float sink;

static double prefill(struct llama_batch* batch, int tokens) {
  open_context(1, tokens);
  sequences_there = 0;
  const double start = now();
  feed(batch, 0, 0, tokens);
  llama_synchronize(context);
  sink = llama_get_logits_ith(context, -1)[0];
  return tokens / (now() - start);
}

static double decode(struct llama_batch* batch, int sequences, int length, int tokens) {
  if (sequences_there != sequences || context_there != length) {
    open_context(sequences, length + tokens);
    for (int s = 0; s < sequences; ++s) feed(batch, s, 0, length);
    sequences_there = sequences;
    context_there = length;
  }
  for (int s = 0; s < sequences; ++s) llama_memory_seq_rm(llama_get_memory(context), s, length, -1);
  const double start = now();
  for (int i = 0; i < tokens; ++i) {
    batch->n_tokens = 0;
    for (int s = 0; s < sequences; ++s) add(batch, s, length + i, 1);
    if (llama_decode(context, *batch) != 0) fail("llama_decode");
    llama_synchronize(context);
    for (int s = 0; s < sequences; ++s) sink = llama_get_logits_ith(context, s)[0];
  }
  return (double)tokens * sequences / (now() - start);
}

int main(int argc, char** argv) {
  if (argc != 3) fail("usage: llamacpp_bench MODEL.gguf THREADS");
  threads = atoi(argv[2]);
  llama_log_set(quiet, NULL);
  llama_backend_init();
  const double start = now();
  model = llama_model_load_from_file(argv[1], llama_model_default_params());
  if (model == NULL) fail("llama.cpp does not load the file");
  printf("ready %.3f %llu llama.cpp\n", now() - start, (unsigned long long)llama_model_size(model));
  fflush(stdout);
  struct llama_batch batch = llama_batch_init(kPiece, 0, 1);
  char line[256];
  while (fgets(line, sizeof line, stdin) != NULL) {
    int a, b, c;
    if (sscanf(line, "prefill %d", &a) == 1) {
      printf("%.3f\n", prefill(&batch, a));
    } else if (sscanf(line, "decode %d %d %d", &a, &b, &c) == 3) {
      printf("%.3f\n", decode(&batch, a, b, c));
    } else {
      printf("unknown: %s\n", line);
    }
    fflush(stdout);
  }
  return 0;
}
