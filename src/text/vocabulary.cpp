// See vocabulary.h.
#include "text/vocabulary.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"

namespace gptq {

// Ids with holes are allowed, but not so many that the table by id outgrows the file.
Vocabulary::Vocabulary(size_t count, std::string name)
    : name_(std::move(name)),
      largest_size_(std::min<size_t>(count * 8 + (size_t{1} << 20), INT32_MAX)),
      table_(count) {}

void Vocabulary::add(std::string_view text, int64_t id, Respelling respelling) {
  if (id < 0 || static_cast<uint64_t>(id) >= largest_size_) {
    throw Error(Fault::range,
                cat(name_, ": token ", quoted(text), " has id ", id, ", wanted 0 to ", largest_size_ - 1));
  }
  const auto index = static_cast<size_t>(id);
  if (index >= spans_.size()) spans_.resize(index + 1);
  if (spans_[index].offset != kNone) {
    throw Error(Fault::range,
                cat(name_, ": id ", id, " is given to ", quoted(this->text(static_cast<int32_t>(id))),
                    " and to ", quoted(text), ", wanted one token per id"));
  }
  if (texts_.size() + text.size() >= kNone)
    throw Error(Fault::limit, cat(name_, ": more than 4 GiB of tokens"));
  if (!table_.insert(text, static_cast<int32_t>(id)) && respelling == Respelling::refused) {
    throw Error(Fault::duplicate, cat(name_, ": token ", quoted(text), " is there twice"));
  }
  spans_[index] = {static_cast<uint32_t>(texts_.size()), static_cast<uint32_t>(text.size())};
  texts_ += text;
}

std::string_view Vocabulary::text(int32_t id) const {
  if (!has(id)) return {};
  const Span& span = spans_[static_cast<size_t>(id)];
  return {texts_.data() + span.offset, span.length};
}

}  // namespace gptq
