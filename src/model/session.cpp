#include "model/session.h"

#include <algorithm>
#include <iterator>

#include "base/error.h"
#include "base/stopwatch.h"
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

/// Embeddings are often padded beyond the tokenizer's last id; such a token has no text.
bool has_text(const Model& model, int32_t id) { return !model.tokenizer()->token_text(id).empty(); }

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

Session::Session(std::shared_ptr<const Model> model, int64_t context_length)
    : model_(std::move(model)),
      context_(usable_context(model_->spec(), context_length)),
      stream_(model_->backend().create_stream(&cancel_)),
      decoder_(model_->spec(), *stream_, std::min(context_, Decoder::kMaxRows)),
      cache_(model_->backend().create_cache(decoder_.cache_shape(model_->spec().layers, 1))) {
  (void)model_->weights();  // refuses a model without them
}

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
  processed_ = 0;
  cache_->truncate(0, 0);
  logits_.clear();
  stats_ = {};
  generating_ = false;
  text_.clear();
  token_ = -1;
  finish_ = FinishReason::none;
}

void Session::process_pending(Logits keep, const Progress& progress) {
  const int64_t total = static_cast<int64_t>(history_.size()), start = processed_;
  const auto vocab = static_cast<size_t>(model_->spec().vocab);
  std::vector<float> logits;
  if (keep != Logits::none)
    logits.resize((keep == Logits::all ? static_cast<size_t>(total - start) : 1) * vocab);
  std::vector<Row> rows;
  const std::vector<int64_t> lengths(static_cast<size_t>(std::min(decoder_.max_rows(), total - start)),
                                     total);
  try {
    cache_->reserve(0, total);
    for (int64_t at = start; at < total; at += decoder_.max_rows()) {
      progress(at - start, total - start, "prefill");
      const int64_t count = std::min(decoder_.max_rows(), total - at);
      rows.clear();
      for (int64_t i = 0; i < count; ++i)
        rows.push_back({.sequence = 0, .position = static_cast<int32_t>(at + i)});
      const Batch batch{
          .tokens = std::span(history_).subspan(static_cast<size_t>(at), static_cast<size_t>(count)),
          .rows = rows,
          .lengths = std::span(lengths).first(static_cast<size_t>(count))};
      decoder_.forward(model_->weights(), batch, *cache_);
      if (keep == Logits::all) {
        decoder_.logits(model_->weights(), 0, count, logits.data() + static_cast<size_t>(at - start) * vocab);
      } else if (keep == Logits::last && at + count == total) {
        decoder_.logits(model_->weights(), count - 1, 1, logits.data());
      }
    }
  } catch (...) {
    cache_->truncate(0, start);
    cancel_ = false;
    throw;
  }
  processed_ = total;
  logits_ = std::move(logits);
}

void Session::prefill(Logits keep, const Progress& progress) {
  if (pending() == 0) throw Error(Status::bad_state, "no appended tokens to process");
  const Stopwatch watch;
  const int64_t count = pending();
  process_pending(keep, progress);
  stats_.prefill_tokens += count;
  stats_.prefill_seconds += watch.seconds();
}

void Session::begin(const GenerationOptions& options, const Progress& progress) {
  if (history_.empty())
    throw Error(Status::bad_state, "nothing was appended: a generation needs at least one token");
  text_.clear();
  token_ = -1;
  finish_ = FinishReason::none;
  if (pending() == 0) {  // the logits of the last token are needed again
    cache_->truncate(0, --processed_);
  }
  prefill(Logits::last, progress);
  generation_ = options;
  sampler_.emplace(options.sampler);
  generated_ = 0;
  text_stream_.reset();
  if (model_->has_tokenizer()) {
    text_stream_.emplace(model_->tokenizer(), SkipSpecial::yes);
    std::vector<int32_t> known;
    std::copy_if(history_.begin(), history_.end(), std::back_inserter(known),
                 [&](int32_t id) { return has_text(*model_, id); });
    text_stream_->prime(known);
  }
  generating_ = true;
}

StepResult Session::finish(FinishReason reason) {
  finish_ = reason;
  generating_ = false;
  token_ = -1;
  text_ = text_stream_ ? text_stream_->finish() : std::string();
  return text_.empty() ? StepResult::done : StepResult::chunk;
}

void Session::emit(int32_t token) {
  token_ = token;
  text_ = text_stream_ && has_text(*model_, token) ? text_stream_->push(token) : std::string();
  ++generated_;
  const bool full = static_cast<int64_t>(history_.size()) >= context_;
  if (generated_ != generation_.max_tokens && !full) return;
  finish_ = full && generated_ != generation_.max_tokens ? FinishReason::context : FinishReason::length;
  generating_ = false;
  if (text_stream_) text_ += text_stream_->finish();
}

StepResult Session::step() {
  if (!generating_ && finish_ != FinishReason::none) {
    text_.clear();
    token_ = -1;
    return StepResult::done;
  }
  if (!generating_) throw Error(Status::bad_state, "a step needs a begin before it");
  const Stopwatch watch;
  const int64_t passes = pending() > 0 ? 1 : 0;
  finish_ = FinishReason::none;
  if (static_cast<int64_t>(history_.size()) >= context_) return finish(FinishReason::context);
  try {
    if (cancel_.exchange(false)) throw Error(Status::cancelled, "cancelled");
    if (pending() > 0) process_pending(Logits::last, [](int64_t, int64_t, const std::string&) {});
  } catch (const Error& error) {
    if (error.status() == Status::cancelled) finish_ = FinishReason::cancelled;
    throw;
  }
  const int32_t token = sampler_->sample(logits_, history_);
  if (generation_.ignore_eos == IgnoreEos::no && model_->ends_text(token)) return finish(FinishReason::stop);
  history_.push_back(token);
  emit(token);
  ++stats_.decode_tokens;
  stats_.decode_passes += passes;
  if (passes > 0) stats_.decode_seconds += watch.seconds();
  return StepResult::chunk;
}

}  // namespace gptq
