// What was meant by a word that is not known: one that it begins, or one few edits away.
#include "suggest.h"

#include <algorithm>

namespace cli {
namespace {

/// Levenshtein's distance, one row at a time.
size_t distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

std::string suggestion(const std::string& word, const std::vector<std::string>& known) {
  constexpr size_t kLongest = 40;
  const size_t letters = word.size() - std::min(word.size(), word.find_first_not_of('-'));
  if (letters < 2 || word.size() > kLongest) return {};
  const std::string* best = nullptr;
  size_t least = 1 + std::max<size_t>(1, letters / 3);
  for (const std::string& candidate : known) {
    const size_t edits = candidate.starts_with(word) ? 1 : distance(word, candidate);
    if (edits >= least) continue;
    least = edits;
    best = &candidate;
  }
  return best == nullptr ? std::string() : "; did you mean '" + *best + "'?";
}

}  // namespace cli
