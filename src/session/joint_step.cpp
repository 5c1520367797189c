// A step of several sessions: their tokens go through the model as the rows of one batch, in the pipeline of the first of
// them, and keys and values into the cache of each. What is known of a row then goes to its session, which samples as ever.
#include <algorithm>
#include <vector>

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

    int64_t processed() const { return session->processed_; }
    int64_t total() const { return static_cast<int64_t>(session->history_.size()); }
    bool has_one_row() const { return total() - processed() == 1; }
  };
  using Members = std::vector<Member>;

  /// What is known of a member's row.
  struct RowResult {
    Session::LastLogits last;
    std::vector<float> hidden;
  };

  template <class Body>
  static bool settle(StepOutcome& outcome, Body&& body);
  static void go_alone(const Member& member);
  static Members take_group(Members& waiting);
  static void process(Members& group, Members& alone);
  static void make_room(Members& group);
  /// A cancel is for the first, by whose flag the pipeline goes: the others try again.
  enum class Failed : uint8_t { first, all };
  static void go_back(Members& group, Members& alone, Failed failed);
  static std::vector<RowResult> compute(const Members& group);

  std::span<Session* const> sessions_;
  std::vector<StepOutcome> outcomes_;
};

JointStep::JointStep(std::span<Session* const> sessions) : sessions_(sessions), outcomes_(sessions.size()) {
  for (size_t i = 0; i < sessions.size(); ++i) {
    if (sessions[i]->model_ != sessions[0]->model_)
      throw Error(Status::invalid_argument,
                  cat("session ", i, " is of another model than session 0, wanted all of one"));
  }
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
  Members waiting, alone;
  waiting.reserve(sessions_.size());
  alone.reserve(sessions_.size());
  for (size_t i = 0; i < sessions_.size(); ++i) {
    const Member member{sessions_[i], &outcomes_[i]};
    settle(outcomes_[i], [&] {
      if (const auto ended = member.session->enter_step()) {
        outcomes_[i].result = *ended;
      } else if (member.session->pending() == 0) {
        outcomes_[i].result = member.session->leave_step(nullptr);
      } else {
        (member.has_one_row() ? waiting : alone).push_back(member);
      }
    });
  }
  while (!waiting.empty()) {
    Members group = take_group(waiting);
    process(group, alone);
  }
  for (const Member& member : alone) go_alone(member);
  return std::move(outcomes_);
}

/// One that has more to compute than a token, behind a step that failed.
void JointStep::go_alone(const Member& member) {
  settle(*member.outcome, [&] {
    const Stopwatch watch;
    member.session->process_step();
    member.outcome->result = member.session->leave_step(&watch);
  });
}

/// The first and those that it has room for, of caches that hold the same.
JointStep::Members JointStep::take_group(Members& waiting) {
  const Session& lead = *waiting.front().session;
  const auto most = static_cast<size_t>(lead.pipeline_.max_rows());
  Members group, rest;
  for (const Member& member : waiting)
    (group.size() < most && member.session->elements_ == lead.elements_ ? group : rest).push_back(member);
  waiting = std::move(rest);
  return group;
}

void JointStep::process(Members& group, Members& alone) {
  const Stopwatch watch;
  std::vector<RowResult> rows;
  for (bool done = false; !done;) {
    make_room(group);
    if (group.empty()) return;
    try {
      rows = compute(group);
      done = true;
    } catch (const Error& error) {
      go_back(group, alone, error.status() == Status::cancelled ? Failed::first : Failed::all);
    } catch (...) {
      go_back(group, alone, Failed::all);
    }
  }
  for (size_t i = 0; i < group.size(); ++i) {
    Session& session = *group[i].session;
    session.processed_ = session.done_ = group[i].total();
    session.last_row_ = 0;
    session.hidden_ = std::move(rows[i].hidden);
    session.keep_logits(std::move(rows[i].last));
  }
  for (const Member& member : group)
    settle(*member.outcome, [&] { member.outcome->result = member.session->leave_step(&watch); });
}

/// In the caches. Who gets none is out.
void JointStep::make_room(Members& group) {
  std::erase_if(group, [](const Member& member) {
    return !settle(*member.outcome, [&] {
      member.session->mark_cache();
      member.session->cache_->reserve(0, member.total());
    });
  });
}

/// Of those that are left some may have more to compute than before.
void JointStep::go_back(Members& group, Members& alone, Failed failed) {
  Session& lead = *group.front().session;
  lead.pipeline_.wait();
  for (const Member& member : group)
    member.session->processed_ = member.session->cache_->truncate(0, member.processed());
  lead.cancel_ = false;
  if (failed == Failed::first) lead.finish_ = FinishReason::cancelled;
  const auto end = failed == Failed::first ? group.begin() + 1 : group.end();
  for (auto member = group.begin(); member != end; ++member)
    member->outcome->error = std::current_exception();
  const auto more =
      std::stable_partition(end, group.end(), [](const Member& member) { return member.has_one_row(); });
  alone.insert(alone.end(), more, group.end());
  group.erase(more, group.end());
  group.erase(group.begin(), end);
}

std::vector<JointStep::RowResult> JointStep::compute(const Members& group) {
  Session& lead = *group.front().session;
  const Spec& spec = lead.model_->spec();
  const Weights& weights = lead.model_->weights();
  const auto count = static_cast<int64_t>(group.size());
  std::vector<KvCache*> caches;
  std::vector<int32_t> tokens;
  std::vector<Row> rows;
  std::vector<int64_t> lengths;
  std::vector<Session::Wanted> wanted;
  int64_t most = 0;  // of the largest
  bool has_sums = false;
  for (const Member& member : group) {
    Session& session = *member.session;
    rows.push_back({.sequence = static_cast<int32_t>(caches.size()),
                    .position = static_cast<int32_t>(member.processed())});
    caches.push_back(session.cache_.get());
    tokens.push_back(session.history_.back());
    lengths.push_back(member.total());
    wanted.push_back(session.wanted_by(*session.sampler_));
    most = std::max(most, wanted.back().largest);
    has_sums = has_sums || wanted.back().temperature > 0;
  }
  std::vector<Ranked> largest(static_cast<size_t>(count * most));
  // of all rows or of none; one that nobody wants is at any temperature
  std::vector<double> temperatures, sums(has_sums ? group.size() : 0);
  for (const Session::Wanted& w : wanted) temperatures.push_back(w.temperature > 0 ? w.temperature : 1);
  std::vector<RowResult> results(group.size());

  if (!lead.joined_) lead.joined_ = lead.pipeline_.create_cache(0, lead.elements_);
  // others' memory is theirs again when this is over
  struct Joined {
    Joined(KvCache& cache, std::span<KvCache* const> caches) : joined(cache) { joined.join(caches); }
    Joined(const Joined&) = delete;
    Joined& operator=(const Joined&) = delete;
    ~Joined() { joined.join({}); }
    KvCache& joined;
  } const joined(*lead.joined_, caches);
  lead.keep_logits({});  // the pipeline has other rows from here on
  lead.hidden_.clear();

  const int64_t slice = lead.pipeline_.most_logits();
  const auto asked = [&](int64_t begin) {
    const int64_t n = std::min(slice, count - begin);
    const auto part = [&](auto span, int64_t each) {
      return span.empty() ? span
                          : span.subspan(static_cast<size_t>(begin * each), static_cast<size_t>(n * each));
    };
    return RowLogits{.row = begin,
                     .rows = n,
                     .largest = part(std::span(largest), most),
                     .temperatures = part(std::span<const double>(temperatures), 1),
                     .exp_sums = part(std::span(sums), 1)};
  };
  const RowLogits all = asked(0);
  lead.pipeline_.forward(weights, {.tokens = tokens, .rows = rows, .lengths = lengths}, joined.joined,
                         count <= slice ? &all : nullptr);
  std::vector<float> hidden;
  if (most > 0) {
    hidden.resize(static_cast<size_t>(count * spec.hidden));
    lead.pipeline_.hidden(0, count, hidden.data());
  }
  for (int64_t i = 0; i < count; ++i) {
    if (count > slice && i % slice == 0) lead.pipeline_.row_logits(weights, asked(i));
    RowResult& result = results[static_cast<size_t>(i)];
    const Session::Wanted& want = wanted[static_cast<size_t>(i)];
    if (want.largest == 0) {
      result.last.all.resize(static_cast<size_t>(spec.vocab));
      lead.pipeline_.logits(weights, i, 1, result.last.all.data());
      continue;
    }
    const auto first = largest.begin() + i * most;
    KnownLogits& known = result.last.known;
    known.largest.assign(first, first + want.largest);
    if (want.temperature > 0) {
      Session& session = *group[static_cast<size_t>(i)].session;
      known.exp_sum = sums[static_cast<size_t>(i)];
      session.ask_penalized(lead.pipeline_, i, *session.sampler_, known);
    }
    if (i == 0) continue;  // the pipeline has it
    const auto state = hidden.begin() + i * spec.hidden;
    result.hidden.assign(state, state + spec.hidden);
  }
  return results;
}

std::vector<StepOutcome> Session::step_all(std::span<Session* const> sessions) {
  return JointStep(sessions).run();
}

}  // namespace gptq
