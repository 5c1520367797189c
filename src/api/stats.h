// Figures of a handle by key: tables of names and getters.
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

/// The names in a table whose rows have a `key`.
template <class Row, size_t N>
constexpr std::array<std::string_view, N> keys_of(const std::array<Row, N>& rows) {
  std::array<std::string_view, N> keys;
  for (size_t i = 0; i < N; ++i) keys[i] = rows[i].key;
  return keys;
}

/// The figure named `key`; Status::not_found names the nearest. `owner` is for the message: "a session".
template <class T, size_t N>
double stat(const std::array<StatRow<T>, N>& rows, std::string_view key, const T& object,
            std::string_view owner) {
  for (const StatRow<T>& row : rows) {
    if (row.key == key) return row.get(object);
  }
  throw Error(Status::not_found,
              cat(owner, " has no figure ", quoted(key), nearest_hint(key, keys_of(rows))));
}

}  // namespace gptq::api
