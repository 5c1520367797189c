// See added_tokens.h.
#include "text/added_tokens.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace gptq {

namespace {

constexpr size_t kLongestToken = 4096;  // bytes: bounds the work per position of a text

bool word_before(std::string_view text, size_t position) {
  return position > 0 && is_word(previous_code_point(text, position));
}

bool word_behind(std::string_view text, size_t position) {
  return position < text.size() && is_word(next_code_point(text, position));
}

size_t space_begin(std::string_view text, size_t position, size_t lowest) {
  while (position > lowest) {
    size_t previous = position;
    if (!is_white_space(previous_code_point(text, previous))) break;
    position = previous;
  }
  return position;
}

size_t space_end(std::string_view text, size_t position) {
  while (position < text.size()) {
    size_t next = position;
    if (!is_white_space(next_code_point(text, next))) break;
    position = next;
  }
  return position;
}

}  // namespace

void AddedTokens::Set::finish() {
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.text < b.text; });
  // of tokens that normalize to the same text the first counts; those that vanish are never found
  entries.erase(std::unique(entries.begin(), entries.end(),
                            [](const Entry& a, const Entry& b) { return a.text == b.text; }),
                entries.end());
  if (!entries.empty() && entries.front().text.empty()) entries.erase(entries.begin());
  for (const Entry& entry : entries) starts[static_cast<unsigned char>(entry.text[0])] = true;
}

// Narrows the range of entries that share the bytes seen so far.
const AddedTokens::Entry* AddedTokens::Set::longest_at(std::string_view text, size_t position) const {
  const Entry* longest = nullptr;
  auto low = entries.begin(), high = entries.end();
  for (size_t depth = 0; low != high; ++depth) {
    if (low->text.size() == depth) {
      longest = &*low;
      if (++low == high) break;
    }
    if (position + depth >= text.size()) break;
    const auto byte = static_cast<unsigned char>(text[position + depth]);
    const auto at_depth = [&](const Entry& entry) { return static_cast<unsigned char>(entry.text[depth]); };
    if (at_depth(*low) == byte && at_depth(*(high - 1)) == byte) continue;
    low = std::partition_point(low, high, [&](const Entry& entry) { return at_depth(entry) < byte; });
    high = std::partition_point(low, high, [&](const Entry& entry) { return at_depth(entry) == byte; });
  }
  return longest;
}

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, const Normalizers& normalizers,
                         std::string_view file)
    : tokens_(std::move(tokens)) {
  EncodeScratch scratch;
  for (size_t i = 0; i < tokens_.size(); ++i) {
    AddedToken& token = tokens_[i];
    std::string text = token.content;
    for (const auto& normalizer : normalizers) {
      if (token.normalized) normalizer->apply(text, scratch);
    }
    if (text.size() > kLongestToken) {
      throw Error(Fault::limit, cat(file, ": added token ", quoted(token.content), " has ", text.size(),
                                    " bytes, wanted at most ", kLongestToken));
    }
    token.shown = text;
    (token.normalized ? normalized_ : original_)
        .entries.push_back({std::move(text), static_cast<uint32_t>(i)});
  }
  original_.finish();
  normalized_.finish();
}

void AddedTokens::find_original(std::string_view text, ParseSpecial parse, std::vector<Segment>& out) const {
  find(original_, text, parse, out);
}

void AddedTokens::find_normalized(std::string_view text, ParseSpecial parse,
                                  std::vector<Segment>& out) const {
  find(normalized_, text, parse, out);
}

// Leftmost, longest, without overlap; a match that is refused is not sought again inside. `done` may run ahead of
// `at` when a token took the space behind it along.
void AddedTokens::find(const Set& set, std::string_view text, ParseSpecial parse,
                       std::vector<Segment>& out) const {
  out.clear();
  size_t done = 0, spaces = 0;  // where the spaces end that a token took along last
  for (size_t at = 0; at < text.size() && !set.entries.empty();) {
    if (!set.starts[static_cast<unsigned char>(text[at])]) {
      ++at;
      continue;
    }
    const Entry* entry = set.longest_at(text, at);
    if (entry == nullptr) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[entry->token];
    size_t begin = at, end = at + entry->text.size();
    at = end;
    if (token.special && parse == ParseSpecial::no) continue;
    if (token.single_word && (word_before(text, begin) || word_behind(text, end))) continue;
    if (token.lstrip) begin = std::max(space_begin(text, begin, std::min(begin, done)), done);
    if (token.rstrip) end = spaces = end < spaces ? spaces : space_end(text, end);
    if (done < begin) out.push_back({done, begin, -1});
    out.push_back({begin, end, token.id});
    done = end;
  }
  if (done < text.size()) out.push_back({done, text.size(), -1});
}

}  // namespace gptq
