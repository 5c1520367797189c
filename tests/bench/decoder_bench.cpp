// Speed of a model's forward passes, as llamacpp_bench.c measures those of llama.cpp: no sampling, no text.
// usage: decoder_bench MODEL THREADS exact|fast [HEAD_BITS [int8]], the latter: keys and values in 8 bits
// Answers lines of its input, each with one line:
//   prefill TOKENS                      tokens per second of a prompt, with the logits of the last token
//   decode SEQUENCES CONTEXT TOKENS     tokens per second of all sequences, from CONTEXT tokens on, one at a time each
//   together SESSIONS CONTEXT TOKENS    the same of sessions that know nothing of each other, each in a thread of its own
//   bandwidth                           bytes per second that all threads read from memory
// and first of all says "ready SECONDS BYTES NAME": how long loading took, and the bytes of weights that a token reads.
// With one thread seconds are those of the CPU, so that a busy machine disturbs less.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "bench/clock.h"
#include "bench/read_bandwidth.h"
#include "model/decoder.h"
#include "session/model.h"

namespace {

using gptq::Decoder;
using gptq::Row;
using gptq::bench::Clock;

class Bench {
 public:
  Bench(std::shared_ptr<const gptq::Model> model, gptq::KvElements elements)
      : model_(std::move(model)),
        elements_(elements),
        backend_(*model_->segments().front().backend),
        threads_(backend_.threads()),
        stream_(backend_.create_stream(nullptr)),
        decoder_(model_->spec(), backend_, *stream_) {}

  double prefill(int64_t tokens) {
    cache_ = backend_.create_cache(decoder_.cache_shape(1, elements_));
    filled_.reset();
    const Clock watch(threads_);
    feed(0, 0, tokens);
    read_logits(1);
    return static_cast<double>(tokens) / watch.seconds();
  }

  double decode(int64_t sequences, int64_t context, int64_t tokens) {
    const Filled wanted{sequences, context};
    if (filled_ != wanted) {
      cache_ = backend_.create_cache(decoder_.cache_shape(sequences, elements_));
      for (int64_t s = 0; s < sequences; ++s) feed(s, 0, context);
      filled_ = wanted;
    }
    for (int64_t s = 0; s < sequences; ++s) (void)cache_->truncate(static_cast<int32_t>(s), context);
    const Clock watch(threads_);
    for (int64_t i = 0; i < tokens; ++i) {
      std::vector<Row> rows;
      for (int64_t s = 0; s < sequences; ++s)
        rows.push_back({static_cast<int32_t>(s), static_cast<int32_t>(context + i)});
      forward(rows, rows.size());
      read_logits(sequences);
    }
    return static_cast<double>(tokens * sequences) / watch.seconds();
  }

 private:
  struct Filled {
    int64_t sequences, context;
    bool operator==(const Filled&) const = default;
  };

  /// Tokens of one sequence in pieces; what the last one gives is read.
  void feed(int64_t sequence, int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; at += decoder_.max_rows()) {
      std::vector<Row> rows;
      for (int64_t i = at; i < std::min(end, at + decoder_.max_rows()); ++i)
        rows.push_back({static_cast<int32_t>(sequence), static_cast<int32_t>(i)});
      const bool is_last = at + decoder_.max_rows() >= end;
      forward(rows, is_last ? 1 : 0);
    }
  }

  /// The last `read` rows are read.
  void forward(const std::vector<Row>& rows, size_t read) {
    std::vector<int32_t> tokens;
    std::vector<int64_t> lengths;
    for (const Row& row : rows) {
      cache_->reserve(row.sequence, row.position + 1);
      tokens.push_back((row.position * 7919 + row.sequence * 104729) %
                       static_cast<int32_t>(model_->spec().vocab));
      lengths.push_back(row.position + 1);
    }
    decoder_.forward(model_->weights(), {tokens, rows, lengths, static_cast<int64_t>(rows.size() - read)},
                     *cache_);
    last_row_ = static_cast<int64_t>(rows.size()) - 1;
  }

  /// Of the last `count` rows.
  void read_logits(int64_t count) {
    logits_.resize(static_cast<size_t>(count * model_->spec().vocab));
    decoder_.logits(model_->weights(), last_row_ + 1 - count, count, logits_.data());
  }

  std::shared_ptr<const gptq::Model> model_;
  gptq::KvElements elements_;
  const gptq::Backend& backend_;
  int threads_;
  std::unique_ptr<gptq::Stream> stream_;
  Decoder decoder_;
  std::unique_ptr<gptq::KvCache> cache_;
  std::optional<Filled> filled_;
  int64_t last_row_ = 0;
  std::vector<float> logits_;
};

using Sessions = std::vector<std::unique_ptr<Bench>>;

double decode_together(Sessions& sessions, int64_t context, int64_t tokens) {
  for (const auto& session : sessions) session->decode(1, context, 1);
  const Clock watch(2);
  {
    std::vector<std::jthread> threads;
    for (const auto& session : sessions) threads.emplace_back([&] { session->decode(1, context, tokens); });
  }
  return static_cast<double>(tokens) * static_cast<double>(sessions.size()) / watch.seconds();
}

void answer(const std::function<std::unique_ptr<Bench>()>& begin, Sessions& sessions, gptq::ThreadPool& pool,
            const char* line) {
  Bench& bench = *sessions.front();
  long long a = 0, b = 0, c = 0;
  if (std::sscanf(line, "prefill %lld", &a) == 1) {
    std::printf("%.3f\n", bench.prefill(a));
  } else if (std::sscanf(line, "decode %lld %lld %lld", &a, &b, &c) == 3) {
    std::printf("%.3f\n", bench.decode(a, b, c));
  } else if (std::sscanf(line, "together %lld %lld %lld", &a, &b, &c) == 3) {
    sessions.resize(1);
    while (static_cast<long long>(sessions.size()) < a) sessions.push_back(begin());
    std::printf("%.3f\n", decode_together(sessions, b, c));
  } else if (std::strncmp(line, "bandwidth", 9) == 0) {
    std::printf("%.0f\n", gptq::read_bandwidth(pool));
  } else {
    std::printf("unknown: %s\n", line);
  }
  std::fflush(stdout);
}

void run(const char* folder, int threads, bool exact, int head_bits, gptq::KvElements elements) {
  gptq::ModelOptions options;
  options.backend = {.threads = threads, .compute = exact ? gptq::Compute::exact : gptq::Compute::fast};
  options.head_bits = head_bits;
  const Clock watch(threads);
  const auto model = gptq::Model::load(folder, options, [](int64_t, int64_t, const std::string&) {});
  std::printf("ready %.3f %llu %s\n", watch.seconds(),
              static_cast<unsigned long long>(model->weight_bytes_per_token()), model->device().c_str());
  std::fflush(stdout);
  const auto begin = [&] { return std::make_unique<Bench>(model, elements); };
  Sessions sessions;
  sessions.push_back(begin());
  gptq::ThreadPool pool(model->threads());
  char line[256];
  while (std::fgets(line, sizeof line, stdin) != nullptr) answer(begin, sessions, pool, line);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4 || argc > 6) {
    std::fprintf(stderr, "usage: decoder_bench MODEL THREADS exact|fast [HEAD_BITS [int8]]\n");
    return 2;
  }
  try {
    run(argv[1], std::atoi(argv[2]), std::strcmp(argv[3], "exact") == 0, argc > 4 ? std::atoi(argv[4]) : 0,
        argc > 5 && std::strcmp(argv[5], "int8") == 0 ? gptq::KvElements::int8 : gptq::KvElements::automatic);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "decoder_bench: %s\n", error.what());
    return 1;
  }
  return 0;
}
