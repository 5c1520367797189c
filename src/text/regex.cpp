// See regex.h.
#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <new>

#include "base/error.h"
#include "base/text.h"
#include "text/regex_syntax.h"
#include "text/utf8.h"

namespace gptq {

namespace {

constexpr size_t kLongestPattern = size_t{64} << 10;
constexpr uint32_t kSteps = 10'000'000;   // for one match, and more for long subjects
constexpr uint32_t kHeapKiB = 64 * 1024;  // of the matcher that is not compiled
constexpr size_t kJitStack = 512 << 10;   // bytes; most matches do with the 32 KiB that PCRE2 takes itself

PCRE2_SPTR units(std::string_view text) { return reinterpret_cast<PCRE2_SPTR>(text.data()); }

}  // namespace

struct Regex::Code {
  pcre2_code* code = nullptr;
  bool jit = false;
  std::string where;
  ~Code() { pcre2_code_free(code); }
};

Regex::Regex(std::string_view pattern, PatternKind kind, std::string where)
    : code_(std::make_unique<Code>()) {
  code_->where = std::move(where);
  if (pattern.size() > kLongestPattern) {
    throw Error(Fault::limit, cat(code_->where, ": a pattern of ", pattern.size(), " bytes, wanted at most ",
                                  kLongestPattern));
  }
  uint32_t options = PCRE2_UTF | PCRE2_NO_UTF_CHECK;
  std::string text(pattern);
  if (kind == PatternKind::regex) {
    text = pcre2_syntax(pattern, code_->where);
    options |= PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
  } else if (kind == PatternKind::prefix) {
    options |= PCRE2_ANCHORED | PCRE2_NEVER_BACKSLASH_C | PCRE2_AUTO_CALLOUT;
  } else {
    options |= PCRE2_LITERAL;
  }
  const std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
  if (!context) throw std::bad_alloc();
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(context.get(), 64);
  int error = 0;
  PCRE2_SIZE offset = 0;
  code_->code = pcre2_compile(units(text), text.size(), options, &error, &offset, context.get());
  if (error == PCRE2_ERROR_HEAP_FAILED && code_->code == nullptr) throw std::bad_alloc();
  if (code_->code == nullptr) {
    PCRE2_UCHAR message[160] = {};
    pcre2_get_error_message(error, message, sizeof message);
    throw Error(Fault::unsupported, cat(code_->where, ": regular expression ", quoted(pattern, 200), ": ",
                                        reinterpret_cast<const char*>(message)));
  }
  code_->jit = kind != PatternKind::prefix && pcre2_jit_compile(code_->code, PCRE2_JIT_COMPLETE) == 0;
}

Regex::Regex(Regex&&) noexcept = default;
Regex::~Regex() = default;

struct RegexMatcher::State {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = nullptr;
  uint64_t steps = 0, most_steps = 0;
  ~State() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    if (stack != nullptr) pcre2_jit_stack_free(stack);
  }
};

namespace {

/// PCRE2 calls it before each item of a pattern that was compiled with PCRE2_AUTO_CALLOUT.
template <class State>
int count_step(pcre2_callout_block*, void* data) {
  auto& state = *static_cast<State*>(data);
  if (state.steps == state.most_steps) return PCRE2_ERROR_CALLOUT;
  ++state.steps;
  return 0;
}

}  // namespace

RegexMatcher::RegexMatcher(uint64_t most_steps) : state_(std::make_unique<State>()) {
  if (state_->data == nullptr || state_->context == nullptr) throw std::bad_alloc();
  pcre2_set_heap_limit(state_->context, kHeapKiB);
  state_->most_steps = most_steps;
  pcre2_set_callout(state_->context, count_step<State>, state_.get());
}

RegexMatcher::~RegexMatcher() = default;

uint64_t RegexMatcher::steps() const { return state_->steps; }

bool RegexMatcher::find(const Regex& regex, std::string_view subject, size_t from, size_t* begin,
                        size_t* end) {
  const Regex::Code& code = *regex.code_;
  // a match may look at every byte a few times, so that the steps allowed grow with the subject
  pcre2_set_match_limit(state_->context,
                        static_cast<uint32_t>(std::min<size_t>(kSteps + 4 * subject.size(), UINT32_MAX)));
  int result;
  if (code.jit) {
    result =
        pcre2_jit_match(code.code, units(subject), subject.size(), from, 0, state_->data, state_->context);
    if (result == PCRE2_ERROR_JIT_STACKLIMIT && state_->stack == nullptr) {
      state_->stack = pcre2_jit_stack_create(32 << 10, kJitStack, nullptr);
      if (state_->stack == nullptr) throw std::bad_alloc();
      pcre2_jit_stack_assign(state_->context, nullptr, state_->stack);
      result =
          pcre2_jit_match(code.code, units(subject), subject.size(), from, 0, state_->data, state_->context);
    }
  } else {
    result = pcre2_match(code.code, units(subject), subject.size(), from, PCRE2_NO_UTF_CHECK, state_->data,
                         state_->context);
  }
  if (result == PCRE2_ERROR_NOMATCH) return false;
  if (result == PCRE2_ERROR_NOMEMORY) throw std::bad_alloc();
  if (result < 0) {
    throw Error(
        Fault::limit,
        cat(code.where, ": the regular expression needs too many steps or too much memory on a text of ",
            subject.size(), " bytes"));
  }
  const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(state_->data);
  *begin = ends[0];
  *end = std::max(ends[0], ends[1]);  // \K in a lookahead could set the start behind the end
  return true;
}

bool RegexMatches::next(size_t* begin, size_t* end) {
  while (from_ <= subject_.size() && matcher_.find(regex_, subject_, from_, begin, end)) {
    if (*begin < from_)
      throw Error(Fault::unsupported, "a regular expression whose match starts behind where it was sought");
    if (*begin == *end && *end == last_end_) {
      from_ += from_ < subject_.size() ? utf8_sequence_length(subject_[from_]) : 1;
      continue;
    }
    from_ = last_end_ = *end;
    return true;
  }
  return false;
}

}  // namespace gptq
