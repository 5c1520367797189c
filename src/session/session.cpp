#include "session/session.h"

#include <algorithm>
#include <iterator>

#include "base/caught.h"
#include "base/error.h"
#include "base/text.h"

namespace gptq {
namespace {

int64_t usable_context(const Spec& spec, int64_t wanted) {
  if (wanted == 0) return spec.context;
  if (wanted > spec.context_limit()) {
    throw Error(Status::invalid_argument, cat("context_length is ", wanted, ", but the model has ",
                                              spec.context_limit(), " positions"));
  }
  return wanted;
}

/// Tokens of decoding between two marks: a step that fails loses no more.
constexpr int64_t kMarkEvery = 64;

/// Embeddings are often padded beyond the tokenizer's last id; such a token has no text.
bool has_text(const Model& model, int32_t id) { return !model.tokenizer()->token_text(id).empty(); }

/// Those of the texts that are one.
std::vector<int32_t> special_tokens(const Model& model, std::span<const std::string> texts) {
  std::vector<int32_t> ids;
  for (const std::string& text : texts) {
    const auto id = model.tokenizer()->token_id(text);
    if (id && model.tokenizer()->is_special(*id)) ids.push_back(*id);
  }
  return ids;
}

}  // namespace

std::string_view finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::none: return "";
    case FinishReason::stop: return "stop";
    case FinishReason::length: return "length";
    case FinishReason::context: return "context";
    case FinishReason::cancelled: return "cancelled";
  }
  return "";
}

Session::Session(std::shared_ptr<const Model> model, int64_t context_length, KvElements elements)
    : model_(std::move(model)),
      context_(usable_context(model_->spec(), context_length)),
      pipeline_(model_->spec(), model_->segments(), &cancel_, std::min(context_, model_->session_rows())),
      elements_(elements),
      cache_(pipeline_.create_cache(1, elements)) {}

void Session::append_text(std::string_view text) {
  const AddSpecial add = history_.empty() ? AddSpecial::yes : AddSpecial::no;
  append_tokens(model_->tokenizer()->encode(text, add, ParseSpecial::no));
}

void Session::append_tokens(std::span<const int32_t> ids) {
  const int64_t vocab = model_->spec().vocab;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= vocab) {
      throw Error(Status::invalid_argument, cat("token ", i, " is ", ids[i], ", wanted 0 to ", vocab - 1));
    }
  }
  const auto total = static_cast<int64_t>(history_.size() + ids.size());
  if (total > context_) {
    throw Error(Status::context_full, cat(total, " tokens do not fit the context of ", context_));
  }
  history_.insert(history_.end(), ids.begin(), ids.end());
  generating_ = false;
}

void Session::reset() {
  history_.clear();
  processed_ = done_ = marked_ = 0;
  (void)cache_->truncate(0, 0);
  forget_logits();
  stats_ = {};
  generating_ = false;
  text_.clear();
  token_ = -1;
  finish_ = FinishReason::none;
}

Session::Wanted Session::wanted_by(Sampler& sampler) const {
  const int64_t most = model_->spec().vocab - 1;
  const int64_t enough = sampler.enough(history_, std::min(most, kMostLargest));
  const double temperature = sampler.sum_temperature();
  if (enough > 0 || temperature == 0 || pipeline_.logits_in_host_memory()) return {.largest = enough};
  return {.largest = std::min(most, Sampler::kLikeliest), .temperature = most > 0 ? temperature : 0};
}

void Session::ask_penalized(Pipeline& pipeline, int64_t row, Sampler& sampler, KnownLogits& known) const {
  const std::span<const int32_t> tokens = sampler.penalized(history_);
  known.penalized.resize(tokens.size());
  pipeline.logits_of(model_->weights(), row, tokens, known.penalized);
}

/// Of the row of the last token, what the sampler wants of them, or all. `compute` has the pipeline do what is wanted.
template <class Compute>
Session::LastLogits Session::last_logits(int64_t row, Sampler* sampler, const Compute& compute) {
  LastLogits last;
  KnownLogits& known = last.known;
  const Wanted wanted = sampler != nullptr ? wanted_by(*sampler) : Wanted{};
  known.largest.resize(static_cast<size_t>(wanted.largest));
  RowLogits asked{.row = row, .largest = known.largest};
  if (wanted.temperature > 0) {
    asked.temperatures = {&wanted.temperature, 1};
    asked.exp_sums = {&known.exp_sum.emplace(), 1};
  }
  compute(asked);
  if (known.largest.empty()) {
    last.all.resize(static_cast<size_t>(model_->spec().vocab));
    pipeline_.logits(model_->weights(), row, 1, last.all.data());
  } else if (known.exp_sum) {
    ask_penalized(pipeline_, row, *sampler, known);
  }
  return last;
}

/// To the pipeline, where another one's has computed it.
void Session::recall_hidden() const {
  if (hidden_.empty()) return;
  pipeline_.recall(hidden_.data());
  hidden_.clear();
}

/// The others wait in the pipeline until somebody asks for them.
std::span<const float> Session::logits() const {
  const std::lock_guard lock(logits_mutex_);
  if (logits_.empty() && !known_.largest.empty()) {
    std::vector<float> logits(static_cast<size_t>(model_->spec().vocab));
    // a cancel is for the next call that has more to do: it waits, also if it comes meanwhile
    bool cancelled = false;
    for (bool done = false; !done;) {
      cancelled |= cancel_.exchange(false);
      try {
        recall_hidden();
        pipeline_.logits(model_->weights(), last_row_, 1, logits.data());
        done = true;
      } catch (...) {
        if (caught_status() == Status::cancelled) continue;
        if (cancelled) cancel_ = true;
        throw;
      }
    }
    if (cancelled) cancel_ = true;
    logits_ = std::move(logits);
  }
  return logits_;
}

void Session::mark_cache() {
  if (static_cast<int64_t>(history_.size()) - processed_ <= 1 && processed_ - marked_ < kMarkEvery) return;
  cache_->mark(0);
  marked_ = processed_;
}

void Session::process_pending(Logits keep, const Progress& progress, Sampler* sampler) {
  const int64_t total = static_cast<int64_t>(history_.size()), start = processed_;
  const auto vocab = static_cast<size_t>(model_->spec().vocab);
  LastLogits last;
  std::vector<float>& logits = last.all;
  if (keep == Logits::all) logits.reserve(static_cast<size_t>(pending()) * vocab);
  std::vector<Row> rows;
  const std::vector<int64_t> lengths(static_cast<size_t>(std::min(pipeline_.max_rows(), total - start)),
                                     total);
  int64_t last_row = 0;
  bool began = false;
  std::vector<float> hidden;
  mark_cache();
  try {
    for (int64_t at = start; at < total; at += pipeline_.max_rows()) {
      progress(at - start, total - start, "prefill");
      const int64_t count = std::min(pipeline_.max_rows(), total - at);
      // room for this piece alone: clearing all of a long prompt's memory would keep a cancel waiting
      cache_->reserve(0, at + count);
      const bool is_last = at + count == total;
      const int64_t read = keep == Logits::all ? std::clamp<int64_t>(at + count - done_, 0, count) : is_last;
      rows.clear();
      for (int64_t i = 0; i < count; ++i)
        rows.push_back({.sequence = 0, .position = static_cast<int32_t>(at + i)});
      const Batch batch{
          .tokens = std::span(history_).subspan(static_cast<size_t>(at), static_cast<size_t>(count)),
          .rows = rows,
          .lengths = std::span(lengths).first(static_cast<size_t>(count)),
          .unread = count - read};
      forget_logits();
      began = true;
      const auto forward = [&](const RowLogits* wanted) {
        pipeline_.forward(model_->weights(), batch, *cache_, wanted);
      };
      if (keep == Logits::last && is_last) {
        last = last_logits(count - 1, sampler, [&](const RowLogits& wanted) { forward(&wanted); });
      } else {
        forward(nullptr);
      }
      if (keep == Logits::all && read > 0) {
        const size_t before = logits.size();
        logits.resize(before + static_cast<size_t>(read) * vocab);
        pipeline_.logits(model_->weights(), count - read, read, logits.data() + before);
      }
      last_row = count - 1;
    }
    if (pipeline_.may_rest()) {
      hidden.resize(static_cast<size_t>(model_->spec().hidden));
      pipeline_.download_hidden(last_row, 1, hidden.data());
      last_row = 0;
    }
  } catch (...) {
    pipeline_.wait();
    if (began) pipeline_.rest();  // before, it may have the last row of what came before
    go_back();
    cancel_ = false;
    throw;
  }
  pipeline_.rest();
  accept(last_row, std::move(last), std::move(hidden));
}

/// All that is pending has been through the model: its last token is that row of this pipeline, or, where it is no more or is
/// another one's, `hidden` is the state that is left of it.
void Session::accept(int64_t row, LastLogits&& last, std::vector<float>&& hidden) noexcept {
  processed_ = done_ = static_cast<int64_t>(history_.size());
  last_row_ = row;
  hidden_ = std::move(hidden);
  keep_logits(std::move(last));
}

/// Behind a pass that failed, once nothing computes with the cache any more.
void Session::go_back() { processed_ = cache_->truncate(0, processed_); }

/// The pipeline gets other rows: whether somebody asked for logits before or not, there are none.
void Session::forget_logits() noexcept {
  keep_logits({});
  hidden_.clear();
}

void Session::keep_logits(LastLogits&& last) noexcept {
  logits_ = std::move(last.all);
  known_ = std::move(last.known);
}

/// Of the last token, which the pipeline still has.
void Session::repeat_logits(Sampler* sampler) {
  try {
    recall_hidden();
    keep_logits(last_logits(last_row_, sampler, [&](const RowLogits& wanted) {
      pipeline_.row_logits(model_->weights(), wanted);
    }));
  } catch (...) {
    cancel_ = false;
    throw;
  }
}

void Session::prefill(Logits keep, const Progress& progress) { prefill(keep, progress, nullptr); }

void Session::prefill(Logits keep, const Progress& progress, Sampler* sampler) {
  if (pending() == 0) throw Error(Status::bad_state, "no appended tokens to process");
  const Stopwatch watch;
  const int64_t count = pending();
  process_pending(keep, progress, sampler);
  generating_ = false;  // its next step would sample from logits that may not be there
  stats_.prefill_tokens += count;
  stats_.prefill_seconds += watch.seconds();
}

void Session::begin(const GenerationOptions& options, const Progress& progress) {
  if (history_.empty())
    throw Error(Status::bad_state, "nothing was appended: a generation needs at least one token");
  if (!options.stop.empty() && !model_->has_tokenizer())
    throw Error(Status::unsupported, "texts to stop at, and the model's folder has no tokenizer");
  StopStrings stop(options.stop);
  std::vector<int32_t> stop_ids = special_tokens(*model_, options.stop);
  text_.clear();
  token_ = -1;
  finish_ = FinishReason::none;
  generating_ = false;
  sampled_.reset();
  sampler_.emplace(options.sampler);
  pending() > 0 ? prefill(Logits::last, progress, &*sampler_) : repeat_logits(&*sampler_);
  generation_ = options;
  stop_ = std::move(stop);
  stop_ids_ = std::move(stop_ids);
  generated_ = 0;
  open_text_stream();
  generating_ = true;
}

void Session::open_text_stream() {
  text_stream_.reset();
  if (!model_->has_tokenizer()) return;
  std::vector<int32_t> known;
  std::copy_if(history_.begin(), history_.end(), std::back_inserter(known),
               [&](int32_t id) { return has_text(*model_, id); });
  StreamDecoder stream(model_->tokenizer(), SkipSpecial::yes);
  stream.prime(known);
  text_stream_.emplace(std::move(stream));
}

/// What `write` gives of the text, but for what may become a stop string. A stream that fails in the middle of a token is of no
/// more use: it goes, and the next call opens another, which then knows the same history.
template <class Write>
StopStrings::Seen Session::next_text(StopStrings::More more, const Write& write) {
  try {
    if (!text_stream_) open_text_stream();
    return stop_.look(text_stream_ ? write(*text_stream_) : std::string(), more);
  } catch (...) {
    text_stream_.reset();
    throw;
  }
}

StepResult Session::finish(FinishReason reason) {
  StopStrings::Seen seen =
      next_text(StopStrings::More::ends, [](StreamDecoder& stream) { return stream.finish(); });
  text_ = std::move(seen.text);
  finish_ = seen.stopped ? FinishReason::stop : reason;
  generating_ = false;
  token_ = -1;
  return text_.empty() ? StepResult::done : StepResult::chunk;
}

/// Throws before anything has changed, or not at all.
void Session::emit(int32_t token) {
  if (history_.size() == history_.capacity()) history_.reserve(2 * history_.size() + 1);
  const bool full = static_cast<int64_t>(history_.size()) + 1 >= context_;
  const bool last = generated_ + 1 == generation_.max_tokens;
  const auto more = last || full ? StopStrings::More::ends : StopStrings::More::may_come;
  StopStrings::Seen seen = next_text(more, [&](StreamDecoder& stream) {
    std::string text = has_text(*model_, token) ? stream.push(token) : std::string();
    if (last || full) text += stream.finish();
    return text;
  });
  text_ = std::move(seen.text);
  history_.push_back(token);
  token_ = token;
  ++generated_;
  const bool stopped = seen.stopped;
  stop_.keep(std::move(seen));
  if (!last && !full && !stopped) return;
  finish_ = stopped ? FinishReason::stop : last ? FinishReason::length : FinishReason::context;
  generating_ = false;
}

int32_t Session::sample() {
  std::optional<int32_t> token;
  if (!known_.largest.empty()) token = sampler_->sample(known_, history_);
  return token ? *token : sampler_->sample(logits(), history_);
}

std::optional<StepResult> Session::enter_step() {
  if (!generating_ && finish_ != FinishReason::none) {
    text_.clear();
    token_ = -1;
    return StepResult::done;
  }
  if (!generating_) throw Error(Status::bad_state, "a step needs a begin before it");
  finish_ = FinishReason::none;
  if (static_cast<int64_t>(history_.size()) >= context_) return finish(FinishReason::context);
  check_cancel();
  return std::nullopt;
}

void Session::check_cancel() {
  if (!cancel_.exchange(false)) return;
  finish_ = FinishReason::cancelled;
  throw Error(Status::cancelled, "cancelled");
}

bool Session::ends(int32_t token) const {
  return (generation_.ignore_eos == IgnoreEos::no && model_->ends_text(token)) ||
         std::find(stop_ids_.begin(), stop_ids_.end(), token) != stop_ids_.end();
}

void Session::process_step() {
  try {
    process_pending(
        Logits::last, [](int64_t, int64_t, const std::string&) {}, &*sampler_);
  } catch (...) {
    if (caught_status() == Status::cancelled) finish_ = FinishReason::cancelled;
    throw;
  }
}

StepResult Session::leave_step(const Stopwatch* pass) {
  if (!sampled_) sampled_ = sample();
  if (ends(*sampled_)) return finish(FinishReason::stop);
  emit(*sampled_);
  sampled_.reset();
  ++stats_.decode_tokens;
  if (pass != nullptr) {
    ++stats_.decode_passes;
    stats_.decode_seconds += pass->seconds();
  }
  return StepResult::chunk;
}

StepResult Session::step() {
  if (const auto ended = enter_step()) return *ended;
  if (pending() == 0) return leave_step(nullptr);
  const Stopwatch watch;
  process_step();
  return leave_step(&watch);
}

}  // namespace gptq
