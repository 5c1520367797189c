#include "quant/memory_plan.h"

#include <algorithm>
#include <concepts>
#include <optional>

#include "base/checked.h"
#include "base/error.h"
#include "base/folder.h"
#include "base/text.h"
#include "model/decoder.h"
#include "quant/layer_walk.h"
#include "quant/matrix_solve.h"

namespace gptq {
namespace {

using Place = StatePlaces::Place;

constexpr uint64_t kFloat = sizeof(float);
/// The process itself: code that has run, what it links to, threads. 8 MiB of the files are in memory where all are warm.
constexpr uint64_t kProgram = 11u << 20;
/// For what saves a second pass, where no limit is given.
constexpr uint64_t kInputsWithoutLimit = uint64_t{1} << 30;
constexpr uint64_t kSumsWithoutLimit = uint64_t{4} << 30;
/// Rows that the tiled product packs at a time, and rows of one outer product.
constexpr int64_t kPackedRows = 528, kOuterRows = 256;
/// Bytes of a tokenizer in memory for each byte of its file; bytes of tokens for each byte of text.
constexpr uint64_t kTokenizerFactor = 6, kTextFactor = 2;

/// A number of bytes, or of what takes some, that never wraps: Fault::limit instead.
class Amount {
 public:
  template <std::integral T>
  Amount(T value) : value_(static_cast<uint64_t>(value)) {}  // not negative
  uint64_t get() const { return value_; }

  friend Amount operator+(Amount a, Amount b) { return checked(checked_add(a.value_, b.value_)); }
  friend Amount operator*(Amount a, Amount b) { return checked(checked_mul(a.value_, b.value_)); }
  friend Amount operator/(Amount a, Amount b) { return a.value_ / b.value_; }
  Amount& operator+=(Amount other) { return *this = *this + other; }

 private:
  static Amount checked(std::optional<uint64_t> value) {
    if (value) return *value;
    throw Error(Fault::limit, "the job would take more memory than there are numbers for");
  }

  uint64_t value_;
};

Amount floats(Amount count) { return count * kFloat; }
Amount floats(Amount rows, Amount cols) { return floats(rows * cols); }

/// What is in memory at one moment.
class Moment {
 public:
  void add(std::string name, Amount bytes) {
    if (bytes.get() != 0) parts_.push_back({std::move(name), bytes.get()});
    total_ += bytes;
  }
  /// In one piece from the system, at no cost beside its size.
  void add_mapped(std::string name, Amount bytes) {
    add(std::move(name), bytes);
    mapped_ += bytes;
  }
  uint64_t total() const { return total_.get(); }
  uint64_t in_heap() const { return total_.get() - mapped_.get(); }
  std::vector<MemoryPart> parts() && {
    std::sort(parts_.begin(), parts_.end(), [](const MemoryPart& a, const MemoryPart& b) {
      return a.bytes != b.bytes ? a.bytes > b.bytes : a.name < b.name;
    });
    return std::move(parts_);
  }

 private:
  std::vector<MemoryPart> parts_;
  Amount total_ = 0, mapped_ = 0;
};

/// Keys and values of a position.
int64_t position_floats(const CacheLayer& kept) { return kept.kv_heads * (kept.key_dim + kept.value_dim); }

/// Whether a matrix is the last of those that share their sums.
enum class Last : uint8_t { no, yes };

/// A Linear as it lies on disk, with what it takes.
struct Matrix2D {
  size_t stage = 0;  // of the layer
  size_t pass = 0;   // that collects for it
  Input input{};
  int64_t rows = 0, cols = 0;
  Amount dense = 0, quantized = 0;  // bytes
  const SolverOptions* options = nullptr;
};

class Estimate {
 public:
  Estimate(const Loader& loader, const ModulePlan& modules, const QuantOptions& options,
           const CalibrationSize& calibration, Place states, Place inputs, uint64_t sums,
           const Machine& machine)
      : loader_(loader),
        spec_(loader.spec()),
        modules_(modules),
        options_(options),
        calibration_(calibration),
        machine_(machine),
        follow_(follow_original(options.solver)) {
    plan_.states = states;
    plan_.inputs = inputs;
    plan_.sums = sums;
    const Amount kept = tracks() * floats(calibration.tokens, spec_.hidden);
    const Amount mixed = floats(calibration.tokens, widest_mixed(spec_));
    Amount files = 0;
    if (states == Place::memory) in_memory_ += kept;
    if (states == Place::file) files += kept;
    if (inputs == Place::memory) in_memory_ += mixed;
    if (inputs == Place::file) files += mixed;
    plan_.files = files.get();
  }

  /// Most bytes that a layer takes on a device beside states and inputs: weights, those of the next layer with them; sums,
  /// which are whole squares there; the factor and its scratch; rows that are solved; activations; libraries.
  uint64_t on_device() const {
    constexpr uint64_t kLibraries = uint64_t{1} << 30;
    Amount most = 0;
    for (int64_t i : distinct_layers()) {
      Amount weights = 0, sums = 0, solved = 0;
      const std::vector<Matrix2D> all = matrices(i);
      for (size_t m = 0; m < all.size(); ++m) {
        const Matrix2D& one = all[m];
        const Amount square = floats(one.cols, one.cols);
        weights += 5 * Amount(one.rows) * one.cols;
        if (m == 0 || one.stage != all[m - 1].stage) {
          const Amount of_stage = square + drift(one.cols, i, one.input);
          sums = of_experts(one.input) ? std::max(sums.get(), 2 * plan_.sums + of_stage.get())
                                       : (sums + of_stage).get();
        }
        solved = std::max(solved.get(), solved_on_device(one).get());
      }
      most = std::max(most.get(), (weights + sums + solved).get());
    }
    constexpr int64_t kRows = 2048;
    const Amount batch = tracks() * Decoder::workspace_bytes(spec_, kRows, sizeof(uint16_t));
    const Amount outer = 4 * Amount(spec_.vocab) * spec_.embed_dim;  // the head, and its copy
    Amount head = 0;
    if (options_.lm_head == QuantizeHead::yes) {
      const Matrix2D m = matrix(loader_.head());
      head = outer + floats(m.cols, m.cols) + solved_on_device(m);
    }
    return (std::max(most.get(), head.get()) + batch + kLibraries).get();
  }
  /// Of states and of inputs there, in elements of two bytes.
  uint64_t states_on_device() const {
    return (tracks() * floats(calibration_.tokens, spec_.hidden) / 2).get();
  }
  uint64_t inputs_on_device() const { return (floats(calibration_.tokens, widest_mixed(spec_)) / 2).get(); }

  MemoryPlan run() {
    calibrate();
    standing_ = standing();
    for (int64_t i : distinct_layers()) layer(i);
    if (options_.lm_head == QuantizeHead::yes) head();
    return std::move(plan_);
  }

 private:
  /// Factor and scratch, and rows that are solved: at most target, residual, and two products, in fp32.
  Amount solved_on_device(const Matrix2D& m) const {
    const int64_t rows = std::min(m.rows, rows_together(m.cols, machine_.weights_together));
    return 4 * floats(m.cols, m.cols) + 6 * floats(rows, m.cols);
  }
  Amount tracks() const { return follow_ == FollowOriginal::no ? 1 : 2; }

  void consider(Moment moment) {
    moment.add("what the C library keeps for itself", moment.in_heap() / 16);
    if (moment.total() <= plan_.peak) return;
    plan_.peak = moment.total();
    plan_.parts = std::move(moment).parts();
  }

  /// What is there all the time once the states are.
  Moment standing() const {
    Moment moment;
    moment.add("the program", kProgram);
    moment.add("tokens", Amount(calibration_.tokens) * sizeof(int32_t));
    moment.add_mapped("states of the tokens", in_memory_);
    const int64_t together = std::max(Decoder::kMaxRows, calibration_.longest);
    const int64_t rows = std::min(Decoder::kMaxRows, calibration_.tokens);
    const int64_t inner =
        spec_.most([](const LayerSpec& l) { return std::max(l.intermediate, l.expert_intermediate); });
    const int64_t widest = std::max({inner, spec_.hidden, widest_mixed(spec_)});
    int64_t position = 0, state = 0;  // of the layer that keeps most
    for (int64_t i = 0; i < spec_.layers; ++i) {
      const CacheLayer kept = Decoder::cache_layer(spec_, i);
      position = std::max(position, position_floats(kept));
      state = std::max(state, kept.state);
    }
    const int64_t sequences = together / std::max<int64_t>(calibration_.shortest, 1);
    moment.add("activations of a batch",
               tracks() * (Decoder::workspace_bytes(spec_, rows, kFloat) + floats(together, position) +
                           floats(std::min(sequences, calibration_.sequences), state)) +
                   floats(std::min(kPackedRows, rows), widest));
    return moment;
  }

  void calibrate() {
    Moment moment;
    moment.add("the program", kProgram);
    if (calibration_.from_model) {
      Amount weights = 0;
      for (const TensorInfo& tensor : loader_.checkpoint().tensors()) weights += tensor.bytes;
      moment.add("the whole model, which writes the calibration", weights);
      const int64_t together = std::min<int64_t>(64, options_.calibration_samples);
      int64_t position = 0, state = 0;  // of all layers
      for (int64_t i = 0; i < spec_.layers; ++i) {
        const CacheLayer kept = Decoder::cache_layer(spec_, i);
        position += position_floats(kept);
        state += kept.state;
      }
      moment.add("its keys and values", floats(together, Amount(calibration_.longest) * position + state));
    }
    moment.add("the calibration text", Amount(calibration_.text_bytes) * (1 + kTextFactor));
    if (calibration_.text_bytes != 0) {
      const fs::path tokenizer = join(loader_.folder(), "tokenizer.json");
      if (file_exists(tokenizer))
        moment.add("the tokenizer", Amount(File(tokenizer).size()) * kTokenizerFactor);
    }
    moment.add("tokens", Amount(calibration_.tokens) * sizeof(int32_t));
    consider(std::move(moment));
  }

  /// The first, for which nothing is quantized before, the second, and those of other shapes or that overrides change.
  std::vector<int64_t> distinct_layers() const {
    std::vector<int64_t> layers;
    for (int64_t i = 0; i < spec_.layers; ++i) {
      const bool alike = std::any_of(layers.begin(), layers.end(), [&](int64_t before) {
        return before > 0 && same_shape(spec_.at(before), spec_.at(i));
      });
      if (!alike || !options_.overrides.empty()) layers.push_back(i);
    }
    return layers;
  }

  static bool same_shape(const LayerSpec& a, const LayerSpec& b) {
    return a.mixer == b.mixer && a.heads == b.heads && a.kv_heads == b.kv_heads && a.key_dim == b.key_dim &&
           a.value_dim == b.value_dim && a.intermediate == b.intermediate && a.experts == b.experts &&
           a.expert_intermediate == b.expert_intermediate;
  }

  std::vector<Matrix2D> matrices(int64_t index) const {
    std::vector<Matrix2D> result;
    const std::vector<Stage> stages = stages_of(loader_.modules(index));
    size_t pass = 0, pass_end = 0;
    for (size_t s = 0; s < stages.size(); ++s) {
      if (s == pass_end) {
        ++pass;
        pass_end += stages_together(std::span(stages).subspan(s), plan_.sums).size();
      }
      for (const StoredLinear* linear : stages[s].linears) {
        result.push_back(matrix(*linear));
        result.back().stage = s;
        result.back().pass = pass;
        result.back().input = stages[s].input;
      }
    }
    return result;
  }

  Matrix2D matrix(const StoredLinear& linear) const {
    const int64_t rows = linear.out_features, cols = linear.in_features;
    Matrix2D m{.rows = rows, .cols = cols, .options = modules_.find(linear.path)};
    const TensorInfo* tensor = loader_.checkpoint().find(linear.weight);
    const auto element = static_cast<uint64_t>(tensor != nullptr ? dtype_bits(tensor->dtype) / 8 : 4);
    m.dense = static_cast<uint64_t>(rows * cols) * element;
    if (m.options == nullptr) return m;
    const int field = m.options->bits == 3 ? 4 : m.options->bits;  // 3 bits lie in 4 with some group sizes
    const int64_t per_group = m.options->group_size == -1 ? cols : std::min(m.options->group_size, cols);
    const Amount ranges = m.options->symmetric == Symmetric::yes ? 1 : 2;
    m.quantized = Amount(rows) * cols * field / 8 + ranges * floats(rows, (cols + per_group - 1) / per_group);
    return m;
  }

  /// Upper triangles take half of a square.
  Amount hessian(int64_t size) const { return floats(size, size) / 2; }
  Amount drift(int64_t size, int64_t layer, Input input) const {
    const DriftsOf drifts = drifts_of(spec_, follow_, layer, input);
    return (drifts.inputs ? floats(size, size) : 0) + (drifts.stream ? floats(spec_.hidden, size) : 0);
  }

  void layer(int64_t index) {
    const std::vector<Matrix2D> all = matrices(index);
    for (size_t stage = 0; stage <= all.back().stage; ++stage) {
      std::vector<const Matrix2D*> planned;
      for (const Matrix2D& m : all) {
        if (m.stage == stage && m.options != nullptr) planned.push_back(&m);
      }
      if (planned.empty()) continue;
      const Input input = planned[0]->input;
      const int64_t size = planned[0]->cols;
      const Amount sums = hessian(size) + drift(size, index, input);
      Moment collecting = standing_;
      add_weights(collecting, all, stage, nullptr);
      collecting.add(sums_name(size), sums + waiting(all, stage, index) + 2 * floats(kOuterRows, size));
      consider(std::move(collecting));
      for (const Matrix2D* m : planned) {
        Moment base = standing_;
        add_weights(base, all, stage, m);
        const Last last = m == planned.back() ? Last::yes : Last::no;
        solve(base, *m, drift(size, index, input), waiting(all, stage, index), last);
      }
    }
  }

  static std::string sums_name(int64_t size) { return cat("sums over the tokens, of ", size, " inputs"); }

  /// Sums of the inputs behind this one that the same pass collects.
  Amount waiting(const std::vector<Matrix2D>& all, size_t stage, int64_t index) const {
    const auto own =
        std::find_if(all.begin(), all.end(), [&](const Matrix2D& m) { return m.stage == stage; });
    Amount bytes = 0;
    for (size_t i = 1; i < all.size(); ++i) {
      const Matrix2D& m = all[i];
      const bool together = options_.true_sequential == TrueSequential::no || m.pass == own->pass;
      if (together && m.stage > stage && m.stage != all[i - 1].stage)
        bytes += hessian(m.cols) + drift(m.cols, index, m.input);
    }
    return bytes;
  }

  /// While `solved` is under way, or, where it is null, inputs are collected.
  void add_weights(Moment& moment, const std::vector<Matrix2D>& all, size_t stage,
                   const Matrix2D* solved) const {
    Amount dense = 0, quantized = 0;
    const bool original =
        follow_ != FollowOriginal::no && (solved == nullptr || solved->pass != all.back().pass ||
                                          options_.true_sequential == TrueSequential::no);
    for (const Matrix2D& m : all) {
      const bool done = m.options != nullptr &&
                        (m.stage < stage || (solved != nullptr && m.stage == stage && &m <= solved));
      if (!done || original) dense += m.dense;
      if (done) quantized += m.quantized;
    }
    moment.add("weights of a layer", dense + quantized);
  }

  /// See Solver and solve_matrix(): what they hold at a time.
  void solve(const Moment& base, const Matrix2D& m, Amount drifts, Amount waiting, Last is_last) {
    const int64_t cols = m.cols, rows = std::min(m.rows, rows_together(cols, machine_.weights_together));
    const bool whole = rows == m.rows, lets_go = is_last == Last::yes && whole;
    const SolverOptions& options = *m.options;
    const bool moved = drifts.get() != 0 && options.target == Target::exact;
    const Amount square = floats(cols, cols), h = square / 2, factor = square / 2;
    const Amount spread = drifts.get() != 0 && options.target == Target::gptaq ? square / 2 : 0;
    const Amount weights = Amount(rows) * cols;
    const Amount result = whole ? 0 : Amount(m.rows) * cols;
    const Amount sample = floats(std::min<int64_t>(m.rows, 512), cols);
    const bool here = machine_.solves == Machine::Solves::in_its_memory;
    const Amount half_way = here && options.sweeps > 0 ? 4 * weights : 0;  // the target of the sweeps
    const auto moment = [&](Amount sums, Amount rows_solved) {
      Moment now = base;
      now.add(sums_name(cols), sums + waiting);
      now.add(cat("rows being solved, ", rows, " of ", cols, " inputs"), rows_solved + result);
      consider(std::move(now));
    };
    if (spread.get() != 0) moment(h + drifts + factor + 2 * square + spread, 0);
    // values, weights, codes, and the products that move them; on a device all but values and codes
    const Amount kept = (here ? 9 : 5) * weights + sample;
    moment(h + drifts + factor + spread,
           kept + (moved && here ? 2 * floats(std::min<int64_t>(rows, 512), cols) : 0));
    const Amount later = lets_go ? 0 : drifts + factor + spread;
    moment(h + (lets_go ? 0 : drifts) + factor + spread, kept + half_way + floats(cols, 128));
    // the Hessian as a square, and parts of it; residual, its product and changes of a band of rows
    const Amount group =
        options.group_size < 0 ? cols : options.group_size;  // whose codes are there to fit its scale
    const Amount band = !here ? 0
                              : floats(refined_rows(rows, machine_.threads),
                                       Amount(cols) + group + 2 * (kRefinedColumns + 32));
    if (options.sweeps > 0) moment(h + square + floats(cols, 128) + later, kept + half_way + band);
    const Amount codes = Amount(m.rows) * cols;
    moment(h + square + later, codes + sample / 4 * 9);
    moment(h + later, codes + m.quantized * 3);
  }

  void head() {
    const Matrix2D m = matrix(loader_.head());
    if (m.options == nullptr) return;
    solve(standing_, m, head_drifts(follow_).inputs ? floats(m.cols, m.cols) : 0, 0, Last::yes);
  }

  const Loader& loader_;
  const Spec& spec_;
  const ModulePlan& modules_;
  const QuantOptions& options_;
  const CalibrationSize& calibration_;
  const Machine& machine_;
  FollowOriginal follow_;
  Amount in_memory_ = 0;  // of what goes from pass to pass
  Moment standing_;
  MemoryPlan plan_;
};

}  // namespace

MemoryPlan estimate_memory(const Loader& loader, const ModulePlan& modules, const QuantOptions& options,
                           const CalibrationSize& calibration, Place states, Place inputs, uint64_t sums,
                           const Machine& machine) {
  return Estimate(loader, modules, options, calibration, states, inputs, sums, machine).run();
}

MemoryPlan plan_memory(const Loader& loader, const ModulePlan& modules, const QuantOptions& options,
                       const CalibrationSize& calibration, const Machine& machine) {
  const bool in_one_pass = options.true_sequential == TrueSequential::no;  // keeps no inputs
  const auto estimate = [&](Place states, Place inputs, uint64_t sums) {
    return estimate_memory(loader, modules, options, calibration, states,
                           in_one_pass ? Place::nowhere : inputs, sums, machine);
  };
  bool states_fit = false, inputs_fit = false;  // the device
  if (machine.device_free) {
    const Estimate there(loader, modules, options, calibration, Place::device, Place::device,
                         kSumsWithoutLimit, machine);
    const Amount needed = Amount(there.on_device()) + there.states_on_device();
    states_fit = needed.get() <= *machine.device_free;
    inputs_fit = (needed + there.inputs_on_device()).get() <= *machine.device_free;
  }
  if (options.memory_limit == 0) {
    const Spec& spec = loader.spec();
    const int64_t widest = widest_mixed(spec);
    const bool small = floats(calibration.tokens, widest).get() <= kInputsWithoutLimit;
    return estimate(states_fit ? Place::device : Place::memory,
                    inputs_fit ? Place::device
                    : small    ? Place::memory
                               : Place::nowhere,
                    kSumsWithoutLimit);
  }
  // 2 x hidden multiplications give an input again, at some 10^11 a second and thread; a disk writes it and reads it in
  // about a hundred millionth of a second
  const Place elsewhere =
      loader.spec().hidden > 128 * int64_t{machine.threads} ? Place::file : Place::nowhere;
  std::vector<std::pair<Place, Place>> ways{
      {Place::memory, Place::memory}, {Place::memory, elsewhere}, {Place::file, elsewhere}};
  if (states_fit) ways = {{Place::device, Place::memory}, {Place::device, elsewhere}};
  if (inputs_fit) ways = {{Place::device, Place::device}};
  MemoryPlan plan;
  for (uint64_t sums : {kSumsWithoutLimit, options.memory_limit / 4, uint64_t{0}}) {
    for (const auto& [states, inputs] : ways) {
      plan = estimate(states, inputs, sums);
      if (plan.peak <= options.memory_limit) return plan;
    }
  }
  return plan;
}

void check_limit(const MemoryPlan& plan, uint64_t limit) {
  if (limit == 0 || plan.peak <= limit) return;
  throw Error(Status::invalid_argument,
              cat("option 'memory_limit' is ", limit, " bytes, the job needs ", plan.peak,
                  " with the states of the tokens in a file; most of them, ", plan.parts.front().bytes,
                  ", for ", plan.parts.front().name));
}

}  // namespace gptq
