// One conversation: token history, key/value cache, sampler, and text as it becomes whole.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/stopwatch.h"
#include "model/pipeline.h"
#include "session/model.h"
#include "session/sampler.h"
#include "text/stop_strings.h"

namespace gptq {

enum class Logits : uint8_t { none, last, all };
enum class FinishReason : uint8_t { none, stop, length, context, cancelled };
enum class StepResult : uint8_t { chunk, done };
enum class IgnoreEos : uint8_t { no, yes };

std::string_view finish_reason_name(FinishReason reason);

struct GenerationOptions {
  SamplerOptions sampler{};
  int64_t max_tokens = 0;  // 0: until the context is full
  IgnoreEos ignore_eos = IgnoreEos::no;
  std::vector<std::string> stop{};  // texts that end it; need a tokenizer
};

struct SessionStats {
  int64_t prefill_tokens = 0, decode_tokens = 0;
  int64_t decode_passes = 0;  // one less than the tokens of a generation: the prompt's logits give the first
  double prefill_seconds = 0, decode_seconds = 0;
};

/// What a step of one of several sessions has come to.
struct StepOutcome {
  StepResult result = StepResult::chunk;
  std::exception_ptr error{};  // not null: what step() would throw
};

/// One thread at a time, cancel() excepted. A call that throws leaves history and cache as they were.
class Session {
 public:
  /// context_length 0: the model's. Learned positions cannot be exceeded; rotary ones can, at the caller's risk.
  Session(std::shared_ptr<const Model> model, int64_t context_length,
          KvElements elements = KvElements::automatic);

  void append_text(std::string_view text);
  void append_tokens(std::span<const int32_t> ids);
  void reset();

  void prefill(Logits keep, const Progress& progress);
  void begin(const GenerationOptions& options, const Progress& progress);
  StepResult step();
  /// step() of each of several sessions of one model, whose tokens go through it together. What one of them fails with is
  /// its own result; the others go on. None is there twice: they are all inside this call.
  static std::vector<StepOutcome> step_all(std::span<Session* const> sessions);
  /// Any thread: ends the running call, or the next.
  void cancel() const { cancel_.store(true, std::memory_order_relaxed); }
  void clear_cancel() const { cancel_.store(false, std::memory_order_relaxed); }

  const std::string& text() const { return text_; }
  int32_t token() const { return token_; }
  FinishReason finish_reason() const { return finish_; }
  /// [rows, vocab] of the last prefill or step; empty if none were kept.
  std::span<const float> logits() const;
  std::span<const int32_t> history() const { return history_; }
  const SessionStats& stats() const { return stats_; }
  uint64_t cache_bytes() const { return cache_->bytes(); }

 private:
  /// The last token's logits, or what the sampler wants of them.
  struct LastLogits {
    std::vector<float> all;
    KnownLogits known;
  };

  /// Where there is a sampler, of the last logits what it wants is enough.
  void prefill(Logits keep, const Progress& progress, Sampler* sampler);
  void process_pending(Logits keep, const Progress& progress, Sampler* sampler);
  void mark_cache();
  /// What the sampler wants of a row's logits: so many of the largest, and at a temperature, which is 0 otherwise, the sum
  /// over all; of none all of them.
  struct Wanted {
    int64_t largest = 0;
    double temperature = 0;
  };
  Wanted wanted_by(Sampler& sampler) const;
  /// Of row `row` of the pipeline, what is wanted besides where the sum is.
  void ask_penalized(Pipeline& pipeline, int64_t row, Sampler& sampler, KnownLogits& known) const;
  template <class Compute>
  LastLogits last_logits(int64_t row, Sampler* sampler, const Compute& compute);
  void keep_logits(LastLogits&& last) noexcept;
  void forget_logits() noexcept;
  void recall_hidden() const;
  void accept(int64_t row, LastLogits&& last, std::vector<float>&& hidden) noexcept;
  void go_back();
  void open_text_stream();
  template <class Write>
  StopStrings::Seen next_text(StopStrings::More more, const Write& write);
  void emit(int32_t token);
  StepResult finish(FinishReason reason);
  // A step: what needs no token to go through the model, and what comes when it has
  std::optional<StepResult> enter_step();
  void check_cancel();
  bool ends(int32_t token) const;
  void process_step();
  StepResult leave_step(const Stopwatch* pass);  // of the token that has; null: of none
  friend class JointStep;                        // whose pass takes the place of process_step()
  void repeat_logits(Sampler* sampler);
  int32_t sample();
  int64_t pending() const { return static_cast<int64_t>(history_.size()) - done_; }

  std::shared_ptr<const Model> model_;
  int64_t context_;
  mutable std::atomic<bool> cancel_{false};
  mutable Pipeline pipeline_;  // logits() may ask it for some
  KvElements elements_;
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<KvCache> joined_;  // of all sessions in a joint step that goes through this one's pipeline
  std::vector<int32_t> history_;
  int64_t done_ = 0;       // history_[0 .. done_) has been through the model
  int64_t processed_ = 0;  // and so much of it is in the cache: all, but behind a step that failed on a state
  int64_t marked_ = 0;     // of them, at the last KvCache::mark()
  int64_t last_row_ = 0;   // of the pipeline's, the last token of them, while none is pending
  mutable std::vector<float>
      hidden_;         // to be recalled as row 0 where the pipeline does not have it; else empty
  KnownLogits known_;  // of the last logits; nothing: all of them are in logits_, if any are kept
  mutable std::mutex logits_mutex_;
  mutable std::vector<float> logits_;
  SessionStats stats_;

  bool generating_ = false;
  GenerationOptions generation_;
  std::optional<Sampler> sampler_;
  std::optional<int32_t> sampled_;  // drawn by a step that then failed: the next one must not draw again
  std::optional<StreamDecoder> text_stream_;
  StopStrings stop_;               // in what comes from text_stream_
  std::vector<int32_t> stop_ids_;  // of stop strings that are special tokens, which have no text
  int64_t generated_ = 0;
  std::string text_;
  int32_t token_ = -1;
  FinishReason finish_ = FinishReason::none;
};

}  // namespace gptq
