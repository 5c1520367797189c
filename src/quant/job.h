// A quantization job from folder to folder, one step at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/stopwatch.h"
#include "model/loader.h"
#include "quant/calibration.h"
#include "quant/calibration_tokenizer.h"
#include "quant/job_work.h"
#include "quant/layer_ahead.h"
#include "quant/layer_walk.h"
#include "quant/memory_plan.h"
#include "quant/module_plan.h"
#include "quant/options.h"
#include "quant/output.h"
#include "quant/report.h"
#include "session/model.h"

namespace gptq {

/// How far a job is. Layers are counted from 1; 0 is the calibration before them.
struct JobProgress {
  double fraction = 0;  // of the solves
  int64_t layer = 0, layers = 0;
  double seconds = 0;        // since the first step
  double seconds_left = -1;  // -1: no estimate yet
  int64_t layers_kept = 0;   // on disk, for the next run of the same job
};

enum class JobStep : uint8_t { more, done };

class Job {
 public:
  /// Opens the source, checks the options against it and stages the output: what can fail early fails here. Takes up
  /// the work that an unfinished run of the same job left (job_work.h).
  Job(const fs::path& source, const fs::path& target, const ModelOptions& model, const QuantOptions& options,
      Progress progress);

  /// Before the first step only (Status::bad_state).
  void add_text(std::string_view text);
  void add_tokens(std::span<const int32_t> ids);

  /// Calibration first, then a layer a call, then the closing of the folder. After an exception the job is over; another
  /// one can go on with its layers.
  JobStep step();
  /// Any thread: ends the running step, or the next.
  void cancel() const { cancel_.store(true, std::memory_order_relaxed); }

  /// Any thread, while another one steps.
  JobProgress progress() const;
  std::string report() const;  // JSON

 private:
  void calibrate();
  void choose_calibration();
  void create_walk();
  void begin_stage(int64_t index);
  MemoryPlan memory_plan() const;
  void quantize_layer(int64_t index);
  void quantize_head();
  void pass_finished_layer(int64_t index);
  /// `hash` becomes that of the model's weights, unless an earlier run has finished the layer. Begins with the next layer.
  LayerStages load_stages(int64_t index, std::string& hash);
  LayerAhead::Load load_of(int64_t index) const;
  void solve_stage(LayerStages& layer, const Stage& stage, InputSums sums);
  void set_quantized(LayerStages& layer, const StoredLinear& linear, const QTensor& q);
  /// Solves and writes the matrix; what came out, for the layers behind it. `last` as for solve_matrix().
  QTensor solve(const StoredLinear& linear, const SolverOptions& options, const Hessian& hessian,
                Solver& solver, Drifts* last);
  void write_report();
  int64_t units() const;
  /// Whether any of its modules is to be quantized.
  bool wants(const Stage& stage) const;
  std::vector<PlannedMatrix> planned_matrices(int64_t index) const;
  /// Whether anything reads the hidden states behind the layer.
  bool goes_on_after(int64_t index) const;
  void tick() const;
  /// Says so by the stage, as "layer 3/32: mlp.up_proj, loss 0.0123".
  void tell_module(const ModuleReport& module);

  mutable std::atomic<bool> cancel_{false};
  QuantOptions options_;
  Progress progress_;
  Loader loader_;
  ModulePlan plan_;
  std::vector<std::vector<Stage>> stages_;  // of each layer
  std::shared_ptr<const Backend> backend_;
  std::optional<uint64_t> device_free_;    // Machine::device_free
  bool own_threads_;                       // the host gives none
  std::optional<JobWork> work_;            // gone once committed or failed, as is
  std::optional<QuantizedFolder> output_;  // this
  CalibrationTokenizer tokenizer_;
  std::vector<std::string> documents_;
  Sequences file_sequences_;  // given as tokens in files
  Sequences sequences_;       // those that are used
  std::string calibration_source_;
  int64_t document_count_ = 0, too_short_ = 0;  // of the calibration text
  int64_t left_out_ = 0;                        // of file_sequences_
  std::unique_ptr<LayerWalk> walk_;
  std::atomic<int64_t> next_layer_{-1};   // -1: calibration; layers: closing; beyond: done
  std::string stage_, stage_prefix_;      // the names of its modules begin with the latter
  std::atomic<int64_t> units_done_{0};    // stages solved
  std::atomic<int64_t> units_before_{0};  // of them by earlier runs
  std::atomic<int64_t> layers_kept_{0};
  Stopwatch clock_;
  // by clock_; negative: not yet
  std::atomic<double> first_step_at_{-1}, first_layer_at_{-1}, ended_at_{-1};
  double seconds_ = 0;
  uint64_t output_bytes_ = 0;
  std::optional<MemoryPlan> memory_;  // once the calibration is there
  std::vector<ModuleReport> modules_;
  LayerAhead ahead_;  // reads what is above
};

}  // namespace gptq
