// The factor of an inverse Hessian in host memory.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "backend/backend.h"
#include "cpu/upper_panels.h"
#include "cpu/workers.h"

namespace gptq::cpu {

class CpuFactor final : public Factor {
 public:
  explicit CpuFactor(UpperPanels u) : u_(std::move(u)) {}
  int64_t size() const override { return u_.size(); }
  const UpperPanels& u() const { return u_; }

  /// P of Stream::spread_drift(), strictly upper triangular; null: none
  const UpperPanels* spread() const { return spread_ ? &*spread_ : nullptr; }
  void set_spread(UpperPanels p) { spread_ = std::move(p); }

 private:
  UpperPanels u_;
  std::optional<UpperPanels> spread_;
};

enum class Definite : uint8_t { no, yes };

/// Replaces the upper triangle of a symmetric matrix by U, upper triangular, with U^T U its inverse. Padding must be
/// that of the identity. Definite::no leaves garbage: a pivot was not positive, or not finite.
Definite factor_inverse(const Workers& workers, UpperPanels& a);

}  // namespace gptq::cpu
