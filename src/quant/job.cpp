#include "quant/job.h"

#include <algorithm>
#include <iterator>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "quant/companions.h"
#include "quant/matrix_solve.h"

namespace gptq {
namespace {

constexpr int64_t kDefaultLength = 2048;
/// An expert that fewer tokens went to, 0.5 % of all as in GPTQModel, is rounded to nearest.
constexpr int64_t kExpertShare = 200;

void refuse_quantized(const Loader& loader) {
  if (!loader.quantization()) return;
  throw Error(Fault::unsupported, cat(quoted(loader.folder().string(), 400),
                                      " is quantized already; wanted a 16-bit or 32-bit model"));
}

/// Layers are quantized one after the other: a second device would have nothing to do.
const QuantOptions& on_one_device(const QuantOptions& options, const ModelOptions& model) {
  if (device_count(model.device) > 1) {
    throw Error(Status::invalid_argument, cat("option 'device' is the list ", quoted(model.device),
                                              ", wanted one device to quantize on"));
  }
  if (!model.layer_split.empty()) {
    throw Error(
        Status::invalid_argument,
        "option 'layer_split' is for a model that is loaded, wanted none to quantize: that takes one device");
  }
  return options;
}

ModulePlan make_plan(const Loader& loader, QuantOptions& options) {
  refuse_quantized(loader);
  return ModulePlan(loader, options);
}

}  // namespace

Job::Job(const fs::path& source, const fs::path& target, const ModelOptions& model,
         const QuantOptions& options, Progress progress)
    : options_(on_one_device(options, model)),
      progress_(std::move(progress)),
      loader_(source),
      plan_(make_plan(loader_, options_)),
      own_threads_(model.backend.executor.run == nullptr),
      tokenizer_(loader_.folder()) {
  refuse_in_place(source, target);
  for (int64_t i = 0; i < loader_.spec().layers; ++i) stages_.push_back(stages_of(loader_.modules(i)));
  const int64_t context = loader_.spec().context;
  if (options_.calibration_length == 0) options_.calibration_length = std::min(kDefaultLength, context);
  if (options_.calibration_length > context) {
    throw Error(Status::invalid_argument, cat("option 'calibration_length' is ", options_.calibration_length,
                                              ", but the model's context is ", context));
  }
  BackendOptions backend = model.backend;
  backend.compute = plan_.compute_for(backend.compute);
  backend_ = create_backend(model.device, backend);
  device_free_ = backend_->free_memory();
  options_.named.emplace_back("device", backend_->description());  // its arithmetic decides the bytes, too
  work_.emplace(loader_, target, options_);
  seconds_ = work_->seconds();
  layers_kept_ = work_->finished();
  output_.emplace(loader_, target, work_->folder(), options_, plan_);
  output_bytes_ = output_->bytes();
}

void Job::add_text(std::string_view text) {
  if (next_layer_ >= 0) throw Error(Status::bad_state, "calibration text must come before the first step");
  if (text.empty()) return;
  CalibrationData data;
  parse_calibration(text, options_.calibration_format, loader_.spec(), data,
                    [this](std::string_view json) { return tokenizer_.chat_text(json); });
  if (data.documents.empty() && data.sequences.empty())
    throw Error(Status::invalid_argument, "the calibration holds neither text nor tokens");
  std::move(data.documents.begin(), data.documents.end(), std::back_inserter(documents_));
  std::move(data.sequences.begin(), data.sequences.end(), std::back_inserter(file_sequences_));
}

void Job::add_tokens(std::span<const int32_t> ids) {
  if (next_layer_ >= 0) throw Error(Status::bad_state, "calibration tokens must come before the first step");
  const Spec& spec = loader_.spec();
  const auto count = static_cast<int64_t>(ids.size());
  if (count < 1 || count > spec.context) {
    throw Error(Status::invalid_argument,
                cat("a calibration sequence of ", count, " tokens, wanted 1 to ", spec.context));
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= spec.vocab) {
      throw Error(Status::invalid_argument, cat("calibration sequence ", sequences_.size(), ": token ", i,
                                                " is ", ids[i], ", wanted 0 to ", spec.vocab - 1));
    }
  }
  sequences_.emplace_back(ids.begin(), ids.end());
}

/// Sequences of files first, and text for the rest of the samples, besides those that were given one by one.
void Job::choose_calibration() {
  const Spec& spec = loader_.spec();
  const auto given = static_cast<int64_t>(file_sequences_.size());
  take_samples(file_sequences_, options_.calibration_samples, options_.seed);
  const auto taken = static_cast<int64_t>(file_sequences_.size());
  left_out_ = given - taken;
  std::move(file_sequences_.begin(), file_sequences_.end(), std::back_inserter(sequences_));
  file_sequences_ = {};
  document_count_ = static_cast<int64_t>(documents_.size());
  calibration_source_ = sequences_.empty() ? "text" : "tokens";
  if (taken == options_.calibration_samples) documents_ = {};
  if (documents_.empty()) return;
  const Tokenizer& tokenizer = tokenizer_.tokenizer();
  CutText cut = cut_documents(tokenizer, documents_,
                              {.samples = options_.calibration_samples - taken,
                               .length = options_.calibration_length,
                               .seed = options_.seed,
                               .packing = options_.calibration_packing,
                               .vocab = spec.vocab,
                               .eos = spec.eos.empty() ? tokenizer.eos_id() : spec.eos.front()});
  too_short_ = cut.too_short;
  if (!sequences_.empty()) calibration_source_ = "text and tokens";
  std::move(cut.sequences.begin(), cut.sequences.end(), std::back_inserter(sequences_));
  documents_ = {};
}

void Job::tick() const {
  if (cancel_.load(std::memory_order_relaxed)) throw Error(Status::cancelled, "cancelled");
  progress_(units_done_, units(), stage_);
}

void Job::begin_stage(int64_t index) {
  stage_ = cat("layer ", index + 1, "/", loader_.spec().layers);
  stage_prefix_ = loader_.layer_prefix(index);
}

/// What is known of the calibration: tokens once they are cut, else as many as there can be.
MemoryPlan Job::memory_plan() const {
  CalibrationSize size{.shortest = kShortestSequence};
  const auto add = [&](const std::vector<int32_t>& sequence) {
    const auto length = static_cast<int64_t>(sequence.size());
    size.tokens += length;
    size.longest = std::max(size.longest, length);
    size.shortest = std::min(size.shortest, length);
  };
  for (const auto& sequence : sequences_) add(sequence);
  for (const std::string& document : documents_) size.text_bytes += document.size();
  const auto of_files = std::min(file_sequences_.size(), static_cast<size_t>(options_.calibration_samples));
  for (size_t i = 0; i < of_files; ++i) {  // which of them is not known yet where a seed is given
    add(file_sequences_[i]);
  }
  size.sequences = static_cast<int64_t>(sequences_.size() + of_files);
  size.from_model = next_layer_ < 0 && size.tokens == 0 && documents_.empty();
  if (size.from_model || size.text_bytes != 0) {
    size.sequences += options_.calibration_samples;
    const int64_t most = options_.calibration_samples * options_.calibration_length;
    size.tokens += size.from_model ? most : std::min(most, static_cast<int64_t>(size.text_bytes));
    size.longest = std::max(size.longest, options_.calibration_length);
  }
  return plan_memory(
      loader_, plan_, options_, size,
      {.threads = backend_->threads(),
       .device_free = device_free_,
       .solves = backend_->free_memory() ? Machine::Solves::on_a_device : Machine::Solves::in_its_memory,
       .weights_together = backend_->weights_together()});
}

/// Where the device has not the room that it had when the job was made, states are kept as if it had no memory.
void Job::create_walk() {
  const auto create = [&] {
    walk_ = std::make_unique<LayerWalk>(
        loader_.spec(), *backend_, sequences_, follow_original(options_.solver),
        StatePlaces{.states = memory_->states, .inputs = memory_->inputs, .folder = &work_->folder()},
        &cancel_, [this] { tick(); });
  };
  try {
    return create();
  } catch (const Error& error) {
    if (error.status() != Status::out_of_memory || memory_->states != StatePlaces::Place::device) throw;
    log(LogLevel::info, cat("states of the tokens are kept in the host's memory: ", error.what()));
  }
  device_free_.reset();
  memory_ = memory_plan();
  check_limit(*memory_, options_.memory_limit);
  create();
}

void Job::calibrate() {
  const Spec& spec = loader_.spec();
  if (!documents_.empty() || !file_sequences_.empty() || !sequences_.empty()) {
    choose_calibration();
    tokenizer_.release();
  } else if (auto written = work_->written_calibration()) {
    sequences_ = std::move(*written);
    calibration_source_ = kWrittenByModel;
  } else {
    std::optional<int32_t> start = spec.bos;
    if (!start && !spec.eos.empty()) start = spec.eos.front();
    if (!start || *start >= spec.vocab) {
      throw Error(Status::invalid_argument,
                  "config.json names no beginning-of-text token to write calibration text from: give one");
    }
    check_limit(memory_plan(), options_.memory_limit);
    Weights weights = loader_.load_outer(*backend_, Access::map);
    for (int64_t i = 0; i < spec.layers; ++i)
      weights.layers.push_back(loader_.load_layer(*backend_, i, Access::map));
    sequences_ = write_own_text(spec, weights, *backend_, *start, options_.calibration_samples,
                                options_.calibration_length, options_.seed.value_or(0), &cancel_, progress_);
    calibration_source_ = kWrittenByModel;
  }
  memory_ = memory_plan();
  check_limit(*memory_, options_.memory_limit);
  work_->set_calibration(calibration_source_, sequences_);
  if (layers_kept_ > 0)
    log(LogLevel::info, cat("goes on after layer ", layers_kept_.load(), " of ", spec.layers));
  create_walk();
  walk_->embed(loader_);
  release_freed_memory();
}

QTensor Job::solve(const StoredLinear& linear, const SolverOptions& options, const Hessian& hessian,
                   Solver& solver, Drifts* last) {
  const std::string& path = linear.path;
  const Stopwatch watch;
  const auto read = [&](int64_t begin, int64_t count) {
    tick();
    return loader_.dense_rows(linear, begin, count);
  };
  auto [result, energy] =
      solve_matrix(walk_->stream(), hessian, solver,
                   {.name = path,
                    .rows = linear.out_features,
                    .together = rows_together(hessian.size(), backend_->weights_together()),
                    .read = read},
                   last);
  output_->write_module(path, result.q);
  ModuleReport report = describe(result, energy);
  report.name = path;
  report.group_size = options.group_size;
  report.seconds = watch.seconds();
  modules_.push_back(std::move(report));
  work_->add_module(modules_.back(), result.q);
  tell_module(modules_.back());
  return std::move(result.q);
}

void Job::solve_stage(LayerStages& layer, const Stage& stage, InputSums sums) {
  std::vector<std::pair<const StoredLinear*, const SolverOptions*>> planned;
  for (const StoredLinear* linear : stage.linears) {
    const SolverOptions* options = plan_.find(linear->path);
    if (options != nullptr) planned.emplace_back(linear, options);
  }
  int64_t tokens = 0;
  for (const auto& sequence : sequences_) tokens += static_cast<int64_t>(sequence.size());
  const bool of_expert = of_experts(stage.input);
  const int64_t least = of_expert ? (tokens + kExpertShare - 1) / kExpertShare : 0;
  std::optional<Solver> solver;  // shared by neighbours of the same options
  const SolverOptions* solver_options = nullptr;
  for (const auto& [linear, options] : planned) {
    tick();
    if (!solver || *options != *solver_options) {
      solver.reset();
      solver.emplace(walk_->stream(), *sums.hessian, &sums.drifts, *options, least);
    }
    solver_options = options;
    for (Role role : linear->module->all_roles()) layer.now.slot(role, linear->expert).reset();
    const bool is_last = linear == planned.back().first;
    const QTensor q = solve(*linear, *options, *sums.hessian, *solver, is_last ? &sums.drifts : nullptr);
    set_quantized(layer, *linear, q);
  }
  release_freed_memory();
}

void Job::set_quantized(LayerStages& layer, const StoredLinear& linear, const QTensor& q) {
  const std::optional<Tensor> bias = loader_.bias(linear, Access::read);
  set_module(layer.now, *backend_, loader_.spec(), linear, q, bias ? &*bias : nullptr);
}

bool Job::wants(const Stage& stage) const {
  return std::any_of(stage.linears.begin(), stage.linears.end(),
                     [&](const StoredLinear* linear) { return plan_.find(linear->path) != nullptr; });
}

/// In the order in which they are solved.
std::vector<PlannedMatrix> Job::planned_matrices(int64_t index) const {
  std::vector<PlannedMatrix> planned;
  for (const Stage& stage : stages_[static_cast<size_t>(index)]) {
    for (const StoredLinear* linear : stage.linears) {
      const SolverOptions* options = plan_.find(linear->path);
      if (options == nullptr) continue;
      const ModuleShape shape = planned_shape(*options, linear->in_features, linear->out_features);
      planned.push_back({linear->path,
                         {.bits = shape.bits,
                          .rows = shape.out_features,
                          .cols = shape.in_features,
                          .groups = shape.groups}});
    }
  }
  return planned;
}

/// A layer that an earlier run has finished: the hidden states go through it as they did then.
void Job::pass_finished_layer(int64_t index) {
  if (!work_->check_layer(index, planned_matrices(index))) {
    layers_kept_ = work_->kept();
    return quantize_layer(index);
  }
  begin_stage(index);
  std::string hash;
  LayerStages layer = load_stages(index, hash);
  for (const StoredLinear& linear : loader_.modules(index)) {
    tick();
    const std::optional<QTensor> q = work_->read_module(index, linear.path);
    if (!q) continue;
    output_->write_module(linear.path, *q);
    set_quantized(layer, linear, *q);
  }
  for (const FinishedModule& module : work_->layer(index).modules) modules_.push_back(module.report);
  if (goes_on_after(index)) {
    walk_->advance_attention(layer, index);
    walk_->advance_mlp(layer, index);
  }
  const auto units = static_cast<int64_t>(stages_[static_cast<size_t>(index)].size());
  units_done_ += units;
  units_before_ += units;
}

void Job::quantize_layer(int64_t index) {
  const Stopwatch watch;
  if (first_layer_at_ < 0) first_layer_at_ = clock_.seconds();
  begin_stage(index);
  std::string hash;
  LayerStages layer = load_stages(index, hash);
  work_->begin_layer(index, std::move(hash));
  const std::vector<Stage>& stages = stages_[static_cast<size_t>(index)];
  const Advances on = goes_on_after(index) ? Advances::yes : Advances::no;
  if (options_.true_sequential == TrueSequential::no) {
    auto sums = walk_->collect_all(layer, index, stages, on);
    for (size_t i = 0; i < stages.size(); ++i, ++units_done_)
      solve_stage(layer, stages[i], std::move(sums[i]));
    if (on == Advances::yes) walk_->advance_attention(layer, index);
  } else {
    for (std::span<const Stage> left(stages), part; !left.empty(); left = left.subspan(part.size())) {
      part = stages_together(left, memory_->sums);
      const bool last = part.size() == left.size();
      if (std::any_of(part.begin(), part.end(), [&](const Stage& stage) { return wants(stage); })) {
        auto sums = walk_->collect(layer, index, part,
                                   last                                    ? on
                                   : part[0].input == Input::attention_out ? Advances::yes
                                                                           : Advances::no);
        if (last) layer.original = {};  // it has done its part
        for (size_t i = 0; i < part.size(); ++i) solve_stage(layer, part[i], std::move(sums[i]));
      }
      units_done_ += static_cast<int64_t>(part.size());
      if (part[0].input == Input::attention_out) walk_->advance_attention(layer, index);
    }
  }
  if (on == Advances::yes) walk_->advance_mlp(layer, index);
  work_->end_layer(seconds_ + watch.seconds());
  layers_kept_ = work_->kept();
}

bool Job::goes_on_after(int64_t index) const {
  return index + 1 < loader_.spec().layers || options_.lm_head == QuantizeHead::yes;
}

LayerAhead::Load Job::load_of(int64_t index) const {
  return [this, index, finished = index < work_->finished()](const LayerAhead::Check& check) {
    return LoadedLayer{.weights = loader_.load_layer(*backend_, index, Access::read, check),
                       .hash = finished ? std::string() : work_->weights_of(index, check)};
  };
}

LayerStages Job::load_stages(int64_t index, std::string& hash) {
  LoadedLayer loaded = ahead_.take(index, load_of(index), [this] { tick(); });
  hash = std::move(loaded.hash);
  // where states have room on a device, those weights do (memory_plan.h)
  if (own_threads_ && memory_->states == StatePlaces::Place::device && index + 1 < loader_.spec().layers)
    ahead_.begin(index + 1, load_of(index + 1));
  LayerStages layer{.now = std::move(loaded.weights), .original = {}};
  if (follow_original(options_.solver) != FollowOriginal::no) layer.original = layer.now;
  return layer;
}

void Job::quantize_head() {
  const StoredLinear head = loader_.head();
  stage_ = head.path;
  tick();
  const SolverOptions& options = *plan_.find(head.path);
  InputSums sums = walk_->collect_head(loader_.load_around(*backend_, Access::read));
  Solver solver(walk_->stream(), *sums.hessian, &sums.drifts, options);
  solve(head, options, *sums.hessian, solver, &sums.drifts);
  ++units_done_;
}

JobStep Job::step() {
  const int64_t layers = loader_.spec().layers;
  if (next_layer_ > layers) return JobStep::done;
  if (!output_) throw Error(Status::bad_state, "the job is over: it failed or was cancelled");
  const Stopwatch watch;
  if (first_step_at_ < 0) first_step_at_ = clock_.seconds();
  try {
    tick();
    if (next_layer_ < 0) {
      stage_ = "calibrate";
      calibrate();
    } else if (next_layer_ < work_->finished()) {
      pass_finished_layer(next_layer_);
    } else if (next_layer_ < layers) {
      quantize_layer(next_layer_);
    } else {
      if (options_.lm_head == QuantizeHead::yes) quantize_head();
      stage_ = "write";
      tick();
      walk_.reset();
      if (options_.report == WriteReport::yes) write_report();
      output_->finish();
      work_->done();
      layers_kept_ = 0;
    }
  } catch (...) {
    ahead_.drop();
    output_.reset();
    work_.reset();
    walk_.reset();
    ended_at_ = clock_.seconds();
    throw;
  }
  seconds_ += watch.seconds();
  if (++next_layer_ <= layers) return JobStep::more;
  output_.reset();
  work_.reset();
  ended_at_ = clock_.seconds();
  return JobStep::done;
}

}  // namespace gptq
