// Regular expressions on UTF-8, by PCRE2.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace gptq {

/// How the pattern is to be read: as tokenizer files write it; as text; or as PCRE2 itself, at the start only of the
/// subject (Python's re.match). The steps of the last are counted, which makes it ten times slower.
enum class PatternKind : uint8_t { regex, literal, prefix };

/// A compiled pattern; immutable, any number of threads may use it.
class Regex {
 public:
  /// `where` names file and place. Fault::unsupported for a pattern that is invalid or not known here.
  Regex(std::string_view pattern, PatternKind kind, std::string where);
  Regex(Regex&&) noexcept;
  ~Regex();

 private:
  friend class RegexMatcher;
  struct Code;
  std::unique_ptr<Code> code_;
};

/// Buffers for matching; one thread at a time.
class RegexMatcher {
 public:
  /// Matches of PatternKind::prefix may take `most_steps` together, at about 30 ns each.
  explicit RegexMatcher(uint64_t most_steps = UINT64_MAX);
  RegexMatcher(const RegexMatcher&) = delete;
  RegexMatcher& operator=(const RegexMatcher&) = delete;
  ~RegexMatcher();

  /// The first match in `subject` (valid UTF-8) that starts at or behind `from`. Fault::limit when the pattern needs
  /// too many steps.
  bool find(const Regex& regex, std::string_view subject, size_t from, size_t* begin, size_t* end);

  /// Counted so far, at most `most_steps`.
  uint64_t steps() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The matches in a text, one after the other; an empty match right behind another match does not count.
class RegexMatches {
 public:
  RegexMatches(const Regex& regex, RegexMatcher& matcher, std::string_view subject)
      : regex_(regex), matcher_(matcher), subject_(subject) {}
  bool next(size_t* begin, size_t* end);

 private:
  const Regex& regex_;
  RegexMatcher& matcher_;
  std::string_view subject_;
  size_t from_ = 0;
  size_t last_end_ = ~size_t{0};
};

}  // namespace gptq
