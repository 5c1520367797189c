// The unfinished work of a job: each layer that is done, on disk before it counts, and found again by the next run.
//
// In the work folder: job.json (manifest.h), layer-0, layer-1, ... (layer_file.h), calibration (where the model wrote it)
// and output/, which becomes the output folder. A layer's file is synced before the manifest that names it takes the
// place of the one before; files that no manifest names are waste.
//
// Another run may go on only where it would come to the same bytes. Options and calibration are compared. Of the model
// the headers of all files are, at once, and the bytes of all tensors that finished layers were made from, when these
// are gone through again: layers that are still to come are read from the model as it is then.
//
// The hidden states before the next layer are not stored but computed again, by running the finished layers: storing
// would write tokens x hidden floats to disk with every layer (4 GB for each of a 7B model's with 128 x 2048 tokens),
// and the runs that nobody interrupts, nearly all, would pay for it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/work_folder.h"
#include "model/loader.h"
#include "quant/calibration.h"
#include "quant/manifest.h"
#include "quant/options.h"

namespace gptq {

/// A matrix that a layer must have.
struct PlannedMatrix {
  std::string name;
  MatrixShape shape;
};

class JobWork {
 public:
  /// Opens and locks the work folder; Fault::exists naming what is another there, see manifest.h. What is not to be gone
  /// on with stays until set_calibration().
  JobWork(const Loader& source, const fs::path& target, const QuantOptions& options);

  const WorkFolder& folder() const { return folder_; }

  /// The calibration that the model wrote for an earlier run, if it did.
  std::optional<Sequences> written_calibration() const;
  /// To be called once, before anything below. Fault::exists where finished layers were made with another one.
  void set_calibration(const std::string& source, const Sequences& sequences);

  /// What earlier runs took.
  double seconds() const { return manifest_.seconds; }
  /// Layers that an earlier run has finished.
  int64_t finished() const { return finished_; }
  /// Layers that the next run would go on after.
  int64_t kept() const { return keeps() ? static_cast<int64_t>(manifest_.layers.size()) : 0; }
  /// False when the file of a finished layer is not what it was, or has not the matrices planned, in their order: it and
  /// those after it are forgotten then.
  /// Fault::exists when the layer was made from other weights.
  bool check_layer(int64_t index, const std::vector<PlannedMatrix>& planned);
  const FinishedLayer& layer(int64_t index) const { return manifest_.layers[static_cast<size_t>(index)]; }
  /// Empty if the layer has no such module.
  std::optional<QTensor> read_module(int64_t index, std::string_view name) const;

  // Writing a layer, the next one after those that are there.
  /// `weights` is what weights_of() gives, or empty: it is asked then.
  void begin_layer(int64_t index, std::string weights);
  /// Hash of the weights of a layer in the model; empty where nothing is kept. Any thread.
  std::string weights_of(
      int64_t index, const std::function<void()>& check = [] {}) const;
  void add_module(const ModuleReport& report, const QTensor& q);
  /// `seconds`: what the job has taken so far.
  void end_layer(double seconds);

  /// The output is complete: nothing is kept.
  void done() { folder_.remove(); }

 private:
  bool keeps() const { return resume_ != Resume::never; }
  void discard_earlier();
  void forget_from(int64_t index);
  void write_manifest_file();

  const Loader& source_;
  Resume resume_;
  WorkFolder folder_;
  Manifest manifest_;
  bool earlier_ = false;   // the manifest is on disk
  bool discards_ = false;  // there is work that is not gone on with
  int64_t finished_ = 0;
  std::optional<LayerFileWriter> writer_;
  FinishedLayer current_;
};

}  // namespace gptq
