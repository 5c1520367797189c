// See unigram.h.
#include "text/unigram.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "text/byte_token.h"
#include "text/utf8.h"

namespace gptq {

namespace {

constexpr size_t kLongestToken = 4096;  // bytes: bounds the work per position of a text
constexpr int32_t kUnknown = -1;

std::vector<std::pair<std::string_view, int32_t>> texts_and_ids(const std::vector<ScoredToken>& tokens,
                                                                const std::string& file) {
  std::vector<std::pair<std::string_view, int32_t>> out;
  out.reserve(tokens.size());
  for (const ScoredToken& token : tokens) {
    if (token.text.size() > kLongestToken) {
      throw Error(Fault::limit, cat(file, ": token ", token.id, " has ", token.text.size(),
                                    " bytes, wanted at most ", kLongestToken));
    }
    out.emplace_back(token.text, token.id);
  }
  return out;
}

}  // namespace

Unigram::Unigram(std::shared_ptr<const Vocabulary> vocabulary, const std::vector<ScoredToken>& tokens,
                 const UnigramOptions& options)
    : vocabulary_(std::move(vocabulary)),
      options_(options),
      scores_(static_cast<size_t>(vocabulary_->size())),
      trie_(texts_and_ids(tokens, vocabulary_->name())) {
  byte_tokens_.fill(-1);
  if (options_.byte_fallback) byte_tokens_ = find_byte_tokens(*vocabulary_);
  for (const ScoredToken& token : tokens) scores_[static_cast<size_t>(token.id)] = token.score;
}

// The best way to each position, up to the first that no token reaches over: whatever follows, the best way goes
// through there. steps[i] is how position i is reached; returns where the stretch ends.
size_t Unigram::cut_stretch(std::string_view text, double score_before, std::vector<PathStep>& steps) const {
  steps.assign(1, {score_before, kUnknown, 0});
  size_t at = 0;
  do {
    const double before = steps[at].score;
    const auto reach = [&](size_t length, int32_t id, double score) {
      if (at + length >= steps.size()) steps.resize(at + length + 1);
      PathStep& step = steps[at + length];
      const double exact = before + score;
      const double sum = options_.precision == SumPrecision::single ? static_cast<float>(exact) : exact;
      if (step.length == 0 || sum > step.score) step = {sum, id, static_cast<uint32_t>(length)};
    };
    const size_t character = utf8_sequence_length(text[at]);
    bool alone = false;
    trie_.for_each_prefix(text.substr(at), [&](size_t length, int32_t id) {
      alone |= length == character;
      reach(length, options_.unk_id == id ? kUnknown : id, scores_[static_cast<size_t>(id)]);
    });
    if (!alone) reach(character, kUnknown, options_.unk_score);
    at += character;
  } while (at + 1 < steps.size());
  return at;
}

void Unigram::append_unknown(std::string_view run, std::vector<int32_t>& ids) const {
  if (options_.runs == UnknownRuns::sought) {
    if (const auto id = vocabulary_->find(run)) {
      ids.push_back(*id);
      return;
    }
  }
  const auto byte_token = [&](char c) { return byte_tokens_[static_cast<unsigned char>(c)]; };
  if (std::all_of(run.begin(), run.end(), [&](char c) { return byte_token(c) >= 0; })) {
    for (char c : run) ids.push_back(byte_token(c));
    return;
  }
  if (!options_.unk_id) {
    throw Error(Fault::unsupported, cat(vocabulary_->name(), ": no token for ", quoted(run, 100),
                                        " in the text, and none that stands for the unknown"));
  }
  ids.push_back(*options_.unk_id);
}

void Unigram::encode(std::string_view piece, EncodeScratch& scratch, std::vector<int32_t>& ids) const {
  auto& steps = scratch.steps;
  auto& path = scratch.path;
  double score = 0;
  size_t unknown = 0;  // bytes of unknown characters in front of `at`
  size_t at = 0;
  while (at < piece.size()) {
    const size_t length = cut_stretch(piece.substr(at), score, steps);
    score = steps[length].score;
    path.clear();
    for (size_t end = length; end > 0; end -= steps[end].length) path.push_back(static_cast<uint32_t>(end));
    for (auto end = path.rbegin(); end != path.rend(); ++end) {
      const PathStep& step = steps[*end];
      if (step.id != kUnknown && unknown > 0) {
        append_unknown(piece.substr(at - unknown, unknown), ids);
        unknown = 0;
      }
      if (step.id == kUnknown) {
        unknown += step.length;
      } else {
        ids.push_back(step.id);
      }
      at += step.length;
    }
  }
  if (unknown > 0) append_unknown(piece.substr(at - unknown, unknown), ids);
}

}  // namespace gptq
