#include <algorithm>
#include <array>
#include <exception>
#include <list>
#include <span>
#include <vector>

#include "api/buffer.h"
#include "api/handles.h"
#include "api/options.h"
#include "api/stats.h"
#include "base/text.h"

using namespace gptq;

namespace {

double rate(int64_t count, double seconds) { return seconds > 0 ? static_cast<double>(count) / seconds : 0; }

using StatRow = api::StatRow<Session>;

constexpr std::array kStats{
    StatRow{"prefill_tokens", [](const Session& s) { return static_cast<double>(s.stats().prefill_tokens); }},
    StatRow{"prefill_seconds", [](const Session& s) { return s.stats().prefill_seconds; }},
    StatRow{"prefill_tokens_per_second",
            [](const Session& s) { return rate(s.stats().prefill_tokens, s.stats().prefill_seconds); }},
    StatRow{"decode_tokens", [](const Session& s) { return static_cast<double>(s.stats().decode_tokens); }},
    StatRow{"decode_seconds", [](const Session& s) { return s.stats().decode_seconds; }},
    StatRow{"decode_tokens_per_second",
            [](const Session& s) { return rate(s.stats().decode_passes, s.stats().decode_seconds); }},
    StatRow{"cache_bytes", [](const Session& s) { return static_cast<double>(s.cache_bytes()); }},
};

/// Inside all of them, while the list is there.
std::list<api::Entry> enter_all(std::span<gptq_session* const> handles) {
  std::list<api::Entry> entries;
  for (size_t i = 0; i < handles.size(); ++i) {
    api::require(handles[i], cat("sessions[", i, "]").c_str());
    try {
      entries.emplace_back(handles[i]->inside);
    } catch (const Error& error) {
      const auto first =
          static_cast<size_t>(std::find(handles.begin(), handles.end(), handles[i]) - handles.begin());
      if (first == i) throw Error(error.status(), cat("sessions[", i, "]: ", error.what()));
      throw Error(Status::invalid_argument,
                  cat("sessions[", i, "] is sessions[", first, "], wanted each once"));
    }
  }
  return entries;
}

/// `stepped` becomes true when each has a status of its own. GPTQ_DONE where none has a chunk.
gptq_status step_all(std::span<gptq_session* const> handles, std::span<gptq_status> statuses, bool& stepped) {
  const std::list<api::Entry> entries = enter_all(handles);
  std::vector<Session*> sessions;
  for (gptq_session* const handle : handles) sessions.push_back(&handle->session);
  const std::vector<StepOutcome> outcomes = Session::step_all(sessions);
  stepped = true;
  gptq_status all = GPTQ_DONE;
  for (size_t i = 0; i < handles.size(); ++i) {
    statuses[i] = api::run_inside(*handles[i], [&] {
      if (outcomes[i].error) std::rethrow_exception(outcomes[i].error);
      return outcomes[i].result == StepResult::done ? GPTQ_DONE : GPTQ_OK;
    });
    if (statuses[i] == GPTQ_OK) all = GPTQ_OK;
  }
  return all;
}

}  // namespace

gptq_status gptq_session_create(const gptq_model* model, const gptq_options* options, gptq_session** out) {
  return api::guard([&] {
    api::require(out, "out");
    *out = nullptr;
    api::require(model, "model");
    *out =
        std::make_unique<gptq_session>(model->model, api::context_length(options), api::kv_elements(options))
            .release();
  });
}

void gptq_session_free(gptq_session* session) { delete session; }

gptq_status gptq_session_reset(gptq_session* session) {
  return api::enter(session, "session", [&] { session->session.reset(); });
}

gptq_status gptq_session_append_text(gptq_session* session, const char* text, int64_t len) {
  return api::enter(session, "session",
                    [&] { session->session.append_text(api::text_argument(text, len, "text")); });
}

gptq_status gptq_session_append_tokens(gptq_session* session, const int32_t* ids, int64_t count) {
  return api::enter(session, "session",
                    [&] { session->session.append_tokens(api::ids_argument(ids, count)); });
}

gptq_status gptq_session_prefill(gptq_session* session, int32_t logits) {
  return api::enter(session, "session", [&] {
    if (logits < GPTQ_LOGITS_NONE || logits > GPTQ_LOGITS_ALL) {
      throw Error(Status::invalid_argument,
                  cat("logits is ", logits, ", wanted GPTQ_LOGITS_NONE, _LAST or _ALL"));
    }
    session->session.prefill(static_cast<Logits>(logits), api::progress_of(nullptr));
  });
}

gptq_status gptq_session_begin(gptq_session* session, const gptq_options* options) {
  return api::enter(session, "session", [&] {
    session->session.begin(api::generation_options(options), api::progress_of(options));
  });
}

gptq_status gptq_session_step(gptq_session* session) {
  return api::enter(session, "session",
                    [&] { return session->session.step() == StepResult::done ? GPTQ_DONE : GPTQ_OK; });
}

gptq_status gptq_session_step_all(gptq_session* const* sessions, int64_t count, gptq_status* statuses) {
  bool stepped = false;
  const gptq_status status = api::guard([&] {
    if (count < 0) throw Error(Status::invalid_argument, cat("count is ", count, ", wanted 0 or more"));
    if (count > 0) api::require(statuses, "statuses");
    if (count > 0) api::require(sessions, "sessions");
    const auto size = static_cast<size_t>(count);
    return step_all({sessions, size}, {statuses, size}, stepped);
  });
  if (!stepped && statuses != nullptr && count > 0) std::fill_n(statuses, count, status);
  return status;
}

gptq_status gptq_session_cancel(const gptq_session* session) {
  return api::guard([&] {
    api::require(session, "session");
    session->session.cancel();
  });
}

gptq_status gptq_session_clear_cancel(const gptq_session* session) {
  return api::guard([&] {
    api::require(session, "session");
    session->session.clear_cancel();
  });
}

const char* gptq_session_error_message(const gptq_session* session) {
  return session != nullptr ? session->error.c_str() : "";
}

const char* gptq_session_text(const gptq_session* session) {
  return session != nullptr ? session->session.text().c_str() : "";
}

int64_t gptq_session_text_size(const gptq_session* session) {
  return session != nullptr ? static_cast<int64_t>(session->session.text().size()) : 0;
}

int32_t gptq_session_token(const gptq_session* session) {
  return session != nullptr ? session->session.token() : -1;
}

const char* gptq_session_finish_reason(const gptq_session* session) {
  return session != nullptr ? finish_reason_name(session->session.finish_reason()).data() : "";
}

gptq_status gptq_session_logits(const gptq_session* session, gptq_buffer** out) {
  return api::guard([&] {
    api::require(out, "out");
    *out = nullptr;
    api::require(session, "session");
    const auto logits = session->session.logits();
    if (logits.empty())
      throw Error(Status::bad_state,
                  "no logits were kept: ask gptq_session_prefill() for them, or begin a generation");
    *out = api::make_buffer(logits.data(), logits.size_bytes());
  });
}

int64_t gptq_session_token_count(const gptq_session* session) {
  return session != nullptr ? static_cast<int64_t>(session->session.history().size()) : 0;
}

gptq_status gptq_session_get_stat(const gptq_session* session, const char* key, double* out) {
  return api::guard([&] {
    api::require(out, "out");
    *out = 0;
    api::require(session, "session");
    api::require(key, "key");
    *out = api::stat(kStats, key, session->session, "a session");
  });
}
