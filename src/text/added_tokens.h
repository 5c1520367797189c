// Added tokens: fixed strings that are found in a text before anything else looks at it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/normalizer.h"
#include "text/tokenizer.h"

namespace gptq {

struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // and behind it
  bool normalized = false;   // sought in the normalized text instead of the original
  bool special = false;
  std::string shown;  // what decoding makes of it: `content`, normalized if `normalized`; set by AddedTokens
};

/// A part of a text: plain (id < 0), or an added token.
struct Segment {
  size_t begin, end;
  int32_t id;
};

class AddedTokens {
 public:
  /// Fault::limit, naming `file`, for tokens that are too long to be sought everywhere.
  AddedTokens(std::vector<AddedToken> tokens, const Normalizers& normalizers, std::string_view file);

  const std::vector<AddedToken>& tokens() const { return tokens_; }
  /// Cuts `text` at the tokens that are sought before normalizing; `out` is cleared.
  void find_original(std::string_view text, ParseSpecial parse, std::vector<Segment>& out) const;
  /// The same for those sought behind.
  void find_normalized(std::string_view text, ParseSpecial parse, std::vector<Segment>& out) const;
  bool any_normalized() const { return !normalized_.entries.empty(); }

 private:
  struct Entry {
    std::string text;
    uint32_t token;  // index into tokens_
  };
  /// Sorted by text, to walk it byte by byte.
  struct Set {
    std::vector<Entry> entries;
    bool starts[256] = {};
    void finish();
    const Entry* longest_at(std::string_view text, size_t position) const;
  };

  void find(const Set& set, std::string_view text, ParseSpecial parse, std::vector<Segment>& out) const;

  std::vector<AddedToken> tokens_;
  Set original_, normalized_;
};

}  // namespace gptq
