#include "api/option_table.h"

#include "gptq.h"

namespace gptq::api {
namespace {

constexpr double kMaxInt = 9007199254740992.0;  // 2^53: bounds are compared as doubles

constexpr OptionRow integer(std::string_view key, std::string_view scope, double low, double high,
                            std::string_view otherwise, std::string_view help) {
  return {key, OptionType::integer, scope, low, high, false, false, {}, otherwise, help};
}

constexpr OptionRow text(std::string_view key, std::string_view scope, std::string_view values,
                         std::string_view otherwise, std::string_view help) {
  return {key, OptionType::text, scope, 0, 0, false, false, values, otherwise, help};
}

constexpr OptionRow texts(std::string_view key, std::string_view scope, std::string_view help) {
  return {key, OptionType::text, scope, 0, 0, false, false, {}, "\"\"", help, true};
}

constexpr OptionRow kOptions[] = {
    text(
        GPTQ_KEY_DEVICE, "model", "", "\"cpu\"",
        "where to compute: cpu, cuda, cuda:N, or a list that a model's layers are split over, as cuda:0,cpu"),
    text(GPTQ_KEY_LAYER_SPLIT, "model", "", "\"\"",
         "layers of each device, as 20,12; empty: by the memory that they have free"),
    integer(GPTQ_KEY_THREADS, "model", 0, 1024, "0", "threads; 0: all CPUs that the process may use"),
    text(GPTQ_KEY_COMPUTE, "model, quantizer", "exact|fast", "\"fast\"",
         "exact: fp32 throughout; fast: inputs of quantized weights rounded to 8 bits"),
    integer(GPTQ_KEY_HEAD_BITS, "model", 0, 8, "0",
            "4 or 8: round an unquantized output head to so many bits"),
    integer(GPTQ_KEY_LOAD_WEIGHTS, "model", 0, 1, "1", "0: tokenizer and configuration alone"),
    integer(GPTQ_KEY_MMAP, "model", 0, 1, "1", "1: unquantized weights stay in the mapped file"),
    integer(GPTQ_KEY_CONTEXT_LENGTH, "session, model", 0, 1 << 30, "0", "most tokens; 0: the model's"),
    text(GPTQ_KEY_KV_CACHE, "session, model", "auto|int8", "\"auto\"",
         "how keys and values are kept: auto as compute has them, int8 in 8 bits, a scale for each position "
         "and head"),
    integer(GPTQ_KEY_MAX_TOKENS, "generation", 0, kMaxInt, "0",
            "most new tokens; 0: until the context is full"),
    {GPTQ_KEY_TEMPERATURE,
     OptionType::real,
     "generation",
     0,
     1e6,
     false,
     false,
     {},
     "0.0",
     "0: the most likely token"},
    integer(GPTQ_KEY_TOP_K, "generation", 0, kMaxInt, "0", "keep the k most likely tokens; 0: all"),
    {GPTQ_KEY_TOP_P,
     OptionType::real,
     "generation",
     0,
     1,
     true,
     false,
     {},
     "1.0",
     "keep the fewest tokens of this total probability"},
    {GPTQ_KEY_MIN_P,
     OptionType::real,
     "generation",
     0,
     1,
     false,
     false,
     {},
     "0.0",
     "drop tokens below this part of the best one's probability"},
    {GPTQ_KEY_REPETITION_PENALTY,
     OptionType::real,
     "generation",
     0,
     1e6,
     true,
     false,
     {},
     "1.0",
     "divides the logits of tokens seen before"},
    integer(GPTQ_KEY_SEED, "generation, quantizer", 0, kMaxInt, "0", "of all that is random"),
    integer(GPTQ_KEY_IGNORE_EOS, "generation", 0, 1, "0", "1: go on after an end-of-text token"),
    texts(GPTQ_KEY_STOP, "generation", "texts that end a generation and are left out of what it writes"),
    integer(GPTQ_KEY_BITS, "quantizer", 2, 8, "4", "2, 3, 4 or 8"),
    integer(GPTQ_KEY_GROUP_SIZE, "quantizer", -1, 1 << 30, "128", "inputs that share a scale; -1: all"),
    integer(GPTQ_KEY_SYM, "quantizer", 0, 1, "1", "1: symmetric"),
    text(GPTQ_KEY_ORDER, "quantizer", "none|act|gar", "\"gar\"", "order in which columns are quantized"),
    integer(GPTQ_KEY_STATIC_GROUPS, "quantizer", 0, 1, "0",
            "1: ranges of groups from the unquantized weights"),
    {GPTQ_KEY_DAMP_PERCENT,
     OptionType::real,
     "quantizer",
     0,
     1,
     true,
     true,
     {},
     "0.05",
     "damping, as a part of the mean diagonal of the Hessian"},
    {GPTQ_KEY_DAMP_AUTO_INCREMENT,
     OptionType::real,
     "quantizer",
     0,
     1,
     false,
     true,
     {},
     "0.01",
     "added to the damping until the Hessian factors"},
    text(GPTQ_KEY_RANGE, "quantizer", "minmax|mse|hessian", "\"hessian\"",
         "how the scale of a group is found"),
    {GPTQ_KEY_MSE_NORM,
     OptionType::real,
     "quantizer",
     0,
     16,
     true,
     false,
     {},
     "2.4",
     "power of the error that range = mse makes least"},
    text(GPTQ_KEY_TARGET, "quantizer", "sequential|gptaq|exact", "\"exact\"",
         "what the weights are to reproduce"),
    {GPTQ_KEY_TARGET_ALPHA,
     OptionType::real,
     "quantizer",
     0,
     1,
     false,
     false,
     {},
     "0.75",
     "part of the way to the target"},
    {GPTQ_KEY_RESIDUAL_ALPHA,
     OptionType::real,
     "quantizer",
     0,
     1,
     false,
     false,
     {},
     "0.5",
     "part of earlier layers' error that target = exact makes up for"},
    integer(GPTQ_KEY_SWEEPS, "quantizer", 0, 1000, "4", "rounds of coordinate descent on the codes"),
    integer(GPTQ_KEY_REFIT, "quantizer", 0, 1000, "2", "of the last sweeps that fit the scales, too"),
    text(GPTQ_KEY_COMPAT, "quantizer", "none|gptqmodel", "\"none\"",
         "faults and defaults of another package, for comparison"),
    integer(GPTQ_KEY_TRUE_SEQUENTIAL, "quantizer", 0, 1, "1",
            "1: modules see the quantized ones before them"),
    integer(GPTQ_KEY_CALIBRATION_SAMPLES, "quantizer", 1, 1 << 24, "128", "calibration sequences"),
    integer(GPTQ_KEY_CALIBRATION_LENGTH, "quantizer", 0, 1 << 30, "0",
            "tokens of each; 0: 2048 or the model's context"),
    integer(GPTQ_KEY_CALIBRATION_PACKING, "quantizer", 0, 1, "1",
            "1: texts follow one another and are cut as one; else each on its own"),
    text(GPTQ_KEY_CALIBRATION_FORMAT, "quantizer", "text|jsonl|json", "\"text\"",
         "how calibration text is given: plain, a JSON value a line, a JSON array"),
    text(GPTQ_KEY_FORMAT, "quantizer, convert", "gptq|gptq_v2|compressed_tensors|dense|gguf", "\"\"",
         "layout of the output; gptq or gptq_v2 by symmetry; dense, gguf: to convert to"),
    text(GPTQ_KEY_DTYPE, "convert", "bf16|f16|f32", "\"bf16\"", "type of dense weights"),
    text(GPTQ_KEY_GGUF_TYPE, "convert", "auto|q4_0|q4_1|q8_0|f16", "\"auto\"",
         "type of the layers' matrices, and of a quantized head, in gguf; auto: for each what holds it best"),
    integer(GPTQ_KEY_MAX_SHARD_SIZE, "quantizer, convert", 1, kMaxInt, "4294967296",
            "bytes of tensors in one file of the output"),
    integer(GPTQ_KEY_MEMORY_LIMIT, "quantizer", 0, kMaxInt, "0",
            "bytes that the process shall take at most; 0: no limit"),
    integer(GPTQ_KEY_LM_HEAD, "quantizer", 0, 1, "0", "1: quantize the output head, too"),
    text(GPTQ_KEY_DYNAMIC, "quantizer", "", "\"\"",
         "settings of single modules, as JSON: {regular expression on names: {settings}}"),
    integer(GPTQ_KEY_REPORT, "quantizer", 0, 1, "1",
            "1: write quantize_report.json and quantize_report.html into the output"),
    integer(GPTQ_KEY_OVERWRITE, "quantizer, convert", 0, 1, "0", "1: replace an existing output folder"),
    text(GPTQ_KEY_RESUME, "quantizer", "auto|restart|never", "\"auto\"",
         "whether a job goes on with what an unfinished run left, and leaves its own work to the next"),
};

}  // namespace

std::span<const OptionRow> option_table() { return kOptions; }

const OptionRow* find_option(std::string_view key) {
  for (const OptionRow& row : kOptions) {
    if (row.key == key) return &row;
  }
  return nullptr;
}

}  // namespace gptq::api
