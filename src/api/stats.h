// Figures of a handle by key: a table of names and getters.
#pragma once

#include <array>
#include <string_view>

#include "base/error.h"
#include "base/text.h"

namespace gptq::api {

template <class T>
struct StatRow {
  std::string_view key;
  double (*get)(const T&);
};

/// The figure named `key`; Status::not_found names the nearest. `owner` is for the message: "a session".
template <class T, size_t N>
double stat(const std::array<StatRow<T>, N>& rows, std::string_view key, const T& object,
            std::string_view owner) {
  std::array<std::string_view, N> known;
  for (size_t i = 0; i < N; ++i) {
    if (rows[i].key == key) return rows[i].get(object);
    known[i] = rows[i].key;
  }
  throw Error(Status::not_found, cat(owner, " has no figure ", quoted(key), nearest_hint(key, known)));
}

}  // namespace gptq::api
