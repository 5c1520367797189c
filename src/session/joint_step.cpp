// A step of several sessions: their tokens go through the model as the rows of one batch, in the pipeline of one of them,
// the first row's, and keys and values into the cache of each. What is known of a row then goes to its session, which
// samples as ever.
#include <algorithm>
#include <utility>
#include <vector>

#include "base/caught.h"
#include "base/error.h"
#include "base/stopwatch.h"
#include "base/text.h"
#include "session/session.h"

namespace gptq {

class JointStep {
 public:
  explicit JointStep(std::span<Session* const> sessions);
  std::vector<StepOutcome> run() &&;

 private:
  /// A session whose token is to go through the model.
  struct Member {
    Session* session;
    StepOutcome* outcome;

    int64_t total() const { return static_cast<int64_t>(session->history_.size()); }
    bool has_one_row() const { return total() - session->processed_ == 1; }
  };
  using Group = std::span<Member>;

  /// What is known of a member's row.
  struct RowResult {
    Session::LastLogits last;
    std::vector<float> hidden;  // for all but the first: the pipeline is another one's
  };

  /// What goes through the model, a row of each member, and what of its logits.
  struct Pass {
    explicit Pass(Group group);
    RowLogits asked(int64_t begin, int64_t count);

    std::vector<KvCache*> caches;
    std::vector<int32_t> tokens;
    std::vector<Row> rows;
    std::vector<int64_t> lengths;
    std::vector<Session::Wanted> wanted;
    int64_t most = 0;                  // of wanted[].largest
    std::vector<Ranked> largest;       // [rows, most]
    std::vector<double> temperatures;  // [rows]; where no sum is wanted, any
    std::vector<double> sums;          // [rows], or of none
  };

  template <class Body>
  static bool settle(StepOutcome& outcome, Body&& body);
  static void go_alone(const Member& member);
  static Group take_group(Group& waiting);
  void process(Group group);
  static Group with_room(Group group);
  Group go_back(Group group, const std::exception_ptr& error, Status status);
  static std::vector<RowResult> compute(Group group);
  static void take_logits(Session& lead, const Pass& pass, int64_t i, Session& session,
                          Session::LastLogits& last);

  std::span<Session* const> sessions_;
  std::vector<StepOutcome> outcomes_;
  std::vector<Member> waiting_, alone_;
};

/// Afterwards nothing of the step itself needs memory: who has entered it gets an outcome.
JointStep::JointStep(std::span<Session* const> sessions) : sessions_(sessions), outcomes_(sessions.size()) {
  for (size_t i = 0; i < sessions.size(); ++i) {
    if (sessions[i]->model_ != sessions[0]->model_)
      throw Error(Status::invalid_argument,
                  cat("session ", i, " is of another model than session 0, wanted all of one"));
  }
  waiting_.reserve(sessions.size());
  alone_.reserve(sessions.size());
}

/// Whether `body` did not throw.
template <class Body>
bool JointStep::settle(StepOutcome& outcome, Body&& body) {
  try {
    body();
    return true;
  } catch (...) {
    outcome.error = std::current_exception();
    return false;
  }
}

std::vector<StepOutcome> JointStep::run() && {
  for (size_t i = 0; i < sessions_.size(); ++i) {
    const Member member{sessions_[i], &outcomes_[i]};
    settle(outcomes_[i], [&] {
      if (const auto ended = member.session->enter_step()) {
        outcomes_[i].result = *ended;
      } else if (member.session->pending() == 0) {
        outcomes_[i].result = member.session->leave_step(nullptr);
      } else {
        (member.has_one_row() ? waiting_ : alone_).push_back(member);
      }
    });
  }
  for (Group waiting = waiting_; !waiting.empty();) process(take_group(waiting));
  for (const Member& member : alone_) go_alone(member);
  return std::move(outcomes_);
}

void JointStep::go_alone(const Member& member) {
  settle(*member.outcome, [&] {
    const Stopwatch watch;
    member.session->process_step();
    member.outcome->result = member.session->leave_step(&watch);
  });
}

/// Those that go together, to the front and out of `waiting`: the one that has room for most of them, rather one that has
/// had others before, and such as keep the same in their caches.
JointStep::Group JointStep::take_group(Group& waiting) {
  const auto room = [&](const Member& member) {
    return std::min(member.session->pipeline_.max_rows(), static_cast<int64_t>(waiting.size()));
  };
  const auto lead = std::max_element(waiting.begin(), waiting.end(), [&](const Member& a, const Member& b) {
    return std::pair(room(a), a.session->joined_ != nullptr) <
           std::pair(room(b), b.session->joined_ != nullptr);
  });
  std::rotate(waiting.begin(), lead, lead + 1);
  const auto end = std::stable_partition(waiting.begin(), waiting.end(), [&](const Member& member) {
    return member.session->elements_ == waiting.front().session->elements_;
  });
  const auto count = static_cast<size_t>(std::min<int64_t>(end - waiting.begin(), room(waiting.front())));
  const Group group = waiting.first(count);
  waiting = waiting.subspan(count);
  return group;
}

void JointStep::process(Group group) {
  const Stopwatch watch;
  std::vector<RowResult> rows;
  while (rows.empty()) {
    group = with_room(group);
    if (group.empty()) return;
    if (group.size() == 1) return go_alone(group.front());
    try {
      rows = compute(group);
    } catch (...) {
      group = go_back(group, std::current_exception(), caught_status());
    }
  }
  for (size_t i = 0; i < group.size(); ++i)
    group[i].session->accept(0, std::move(rows[i].last), std::move(rows[i].hidden));
  for (const Member& member : group) {
    settle(*member.outcome, [&] {
      member.session->check_cancel();  // its row stays for the next step
      member.outcome->result = member.session->leave_step(&watch);
    });
  }
}

/// Of those that have it in their caches.
JointStep::Group JointStep::with_room(Group group) {
  const auto end = std::stable_partition(group.begin(), group.end(), [](const Member& member) {
    return settle(*member.outcome, [&] {
      member.session->mark_cache();
      member.session->cache_->reserve(0, member.total());
    });
  });
  return group.first(static_cast<size_t>(end - group.begin()));
}

/// Who is left to try again together. A cancel was for the first, by whose flag the pipeline goes. Where there was no memory,
/// it may be enough for one after the other.
JointStep::Group JointStep::go_back(Group group, const std::exception_ptr& error, Status status) {
  Session& lead = *group.front().session;
  lead.pipeline_.wait();
  for (const Member& member : group) member.session->go_back();
  if (status == Status::cancelled) {
    lead.cancel_ = false;
    lead.finish_ = FinishReason::cancelled;
    group.front().outcome->error = error;
    group = group.subspan(1);
    const auto more = std::stable_partition(group.begin(), group.end(),
                                            [](const Member& member) { return member.has_one_row(); });
    alone_.insert(alone_.end(), more, group.end());
    return group.first(static_cast<size_t>(more - group.begin()));
  }
  if (status == Status::out_of_memory) {
    alone_.insert(alone_.end(), group.begin(), group.end());
    return {};
  }
  lead.cancel_ = false;  // came too late
  for (const Member& member : group) member.outcome->error = error;
  return {};
}

JointStep::Pass::Pass(Group group) {
  bool has_sums = false;
  for (const Member& member : group) {
    Session& session = *member.session;
    rows.push_back({.sequence = static_cast<int32_t>(caches.size()),
                    .position = static_cast<int32_t>(session.processed_)});
    caches.push_back(session.cache_.get());
    tokens.push_back(session.history_.back());
    lengths.push_back(member.total());
    wanted.push_back(session.wanted_by(*session.sampler_));
    most = std::max(most, wanted.back().largest);
    has_sums = has_sums || wanted.back().temperature > 0;
  }
  largest.resize(group.size() * static_cast<size_t>(most));
  for (const Session::Wanted& w : wanted) temperatures.push_back(w.temperature > 0 ? w.temperature : 1);
  if (has_sums) sums.resize(group.size());
}

/// Of at most `count` rows, from `begin` on.
RowLogits JointStep::Pass::asked(int64_t begin, int64_t count) {
  const int64_t n = std::min(count, static_cast<int64_t>(rows.size()) - begin);
  const auto part = [&](auto span, int64_t each) {
    return span.empty() ? span
                        : span.subspan(static_cast<size_t>(begin * each), static_cast<size_t>(n * each));
  };
  return {.row = begin,
          .rows = n,
          .largest = part(std::span(largest), most),
          .temperatures = part(std::span<const double>(temperatures), 1),
          .exp_sums = part(std::span(sums), 1)};
}

std::vector<JointStep::RowResult> JointStep::compute(Group group) {
  Session& lead = *group.front().session;
  const Spec& spec = lead.model_->spec();
  const Weights& weights = lead.model_->weights();
  const auto count = static_cast<int64_t>(group.size());
  Pass pass(group);
  std::vector<RowResult> results(group.size());
  std::vector<float> hidden(static_cast<size_t>((count - 1) * spec.hidden));

  if (!lead.joined_) lead.joined_ = lead.pipeline_.create_cache(0, lead.elements_);
  // others' memory is theirs again when this is over, however it ends
  struct Joined {
    explicit Joined(KvCache& joined) : cache(joined) {}
    Joined(const Joined&) = delete;
    Joined& operator=(const Joined&) = delete;
    ~Joined() { cache.join({}); }
    KvCache& cache;
  } const joined(*lead.joined_);
  joined.cache.join(pass.caches);
  lead.forget_logits();

  const int64_t slice = lead.pipeline_.most_logits();
  const RowLogits first = pass.asked(0, slice);
  lead.pipeline_.forward(weights, {.tokens = pass.tokens, .rows = pass.rows, .lengths = pass.lengths},
                         joined.cache, first.rows == count ? &first : nullptr);
  lead.pipeline_.download_hidden(1, count - 1, hidden.data());
  for (int64_t i = 0; i < count; ++i) {
    if (first.rows < count && i % slice == 0) lead.pipeline_.row_logits(weights, pass.asked(i, slice));
    RowResult& result = results[static_cast<size_t>(i)];
    if (i > 0) {
      const auto state = hidden.begin() + (i - 1) * spec.hidden;
      result.hidden.assign(state, state + spec.hidden);
    }
    take_logits(lead, pass, i, *group[static_cast<size_t>(i)].session, result.last);
  }
  return results;
}

/// What the pass knows of row `i`, and what it must be asked besides, for its session.
void JointStep::take_logits(Session& lead, const Pass& pass, int64_t i, Session& session,
                            Session::LastLogits& last) {
  const auto at = static_cast<size_t>(i);
  const Session::Wanted& wanted = pass.wanted[at];
  if (wanted.largest == 0) {
    last.all.resize(static_cast<size_t>(lead.model_->spec().vocab));
    return lead.pipeline_.logits(lead.model_->weights(), i, 1, last.all.data());
  }
  const auto first = pass.largest.begin() + i * pass.most;
  last.known.largest.assign(first, first + wanted.largest);
  if (wanted.temperature == 0) return;
  last.known.exp_sum = pass.sums[at];
  session.ask_penalized(lead.pipeline_, i, *session.sampler_, last.known);
}

std::vector<StepOutcome> Session::step_all(std::span<Session* const> sessions) {
  return JointStep(sessions).run();
}

}  // namespace gptq
