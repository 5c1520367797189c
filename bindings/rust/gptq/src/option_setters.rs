// Made by bindings/generate.sh from gptq_option_describe(); not to be edited.

use crate::Options;

impl Options {
    /// Where to compute: cpu, cuda, cuda:N, or a list that a model's layers are split over, as cuda:0,cpu; default "cpu". Scope: model.
    #[must_use]
    pub fn device(self, value: &str) -> Self {
        self.set("device", value)
    }

    /// Layers of each device, as 20,12; empty: by the memory that they have free. Scope: model.
    #[must_use]
    pub fn layer_split(self, value: &str) -> Self {
        self.set("layer_split", value)
    }

    /// Threads; 0: all CPUs that the process may use; from 0 to 1024; default 0. Scope: model.
    #[must_use]
    pub fn threads(self, value: i64) -> Self {
        self.set("threads", value)
    }

    /// Exact: fp32 throughout; fast: inputs of quantized weights rounded to 8 bits; one of "exact", "fast"; default "fast". Scope: model, quantizer.
    #[must_use]
    pub fn compute(self, value: &str) -> Self {
        self.set("compute", value)
    }

    /// 4 or 8: round an unquantized output head to so many bits; from 0 to 8; default 0. Scope: model.
    #[must_use]
    pub fn head_bits(self, value: i64) -> Self {
        self.set("head_bits", value)
    }

    /// False: tokenizer and configuration alone; default true. Scope: model.
    #[must_use]
    pub fn load_weights(self, value: bool) -> Self {
        self.set("load_weights", value)
    }

    /// True: unquantized weights stay in the mapped file; default true. Scope: model.
    #[must_use]
    pub fn mmap(self, value: bool) -> Self {
        self.set("mmap", value)
    }

    /// Most tokens; 0: the model's; from 0 to 1073741824; default 0. Scope: session, model.
    #[must_use]
    pub fn context_length(self, value: i64) -> Self {
        self.set("context_length", value)
    }

    /// How keys and values are kept: auto as compute has them, int8 in 8 bits, a scale for each position and head; one of "auto", "int8"; default "auto". Scope: session, model.
    #[must_use]
    pub fn kv_cache(self, value: &str) -> Self {
        self.set("kv_cache", value)
    }

    /// Most new tokens; 0: until the context is full; from 0 up; default 0. Scope: generation.
    #[must_use]
    pub fn max_tokens(self, value: i64) -> Self {
        self.set("max_tokens", value)
    }

    /// 0: the most likely token; from 0 to 1000000; default 0. Scope: generation.
    #[must_use]
    pub fn temperature(self, value: f64) -> Self {
        self.set("temperature", value)
    }

    /// Keep the k most likely tokens; 0: all; from 0 up; default 0. Scope: generation.
    #[must_use]
    pub fn top_k(self, value: i64) -> Self {
        self.set("top_k", value)
    }

    /// Keep the fewest tokens of this total probability; above 0 to 1; default 1. Scope: generation.
    #[must_use]
    pub fn top_p(self, value: f64) -> Self {
        self.set("top_p", value)
    }

    /// Drop tokens below this part of the best one's probability; from 0 to 1; default 0. Scope: generation.
    #[must_use]
    pub fn min_p(self, value: f64) -> Self {
        self.set("min_p", value)
    }

    /// Divides the logits of tokens seen before; above 0 to 1000000; default 1. Scope: generation.
    #[must_use]
    pub fn repetition_penalty(self, value: f64) -> Self {
        self.set("repetition_penalty", value)
    }

    /// Of all that is random; from 0 up; default 0. Scope: generation, quantizer.
    #[must_use]
    pub fn seed(self, value: i64) -> Self {
        self.set("seed", value)
    }

    /// True: go on after an end-of-text token; default false. Scope: generation.
    #[must_use]
    pub fn ignore_eos(self, value: bool) -> Self {
        self.set("ignore_eos", value)
    }

    /// Texts that end a generation and are left out of what it writes. Scope: generation.
    #[must_use]
    pub fn stop<T: AsRef<str>>(self, values: impl IntoIterator<Item = T>) -> Self {
        self.set_list("stop", values)
    }

    /// 2, 3, 4 or 8; from 2 to 8; default 4. Scope: quantizer.
    #[must_use]
    pub fn bits(self, value: i64) -> Self {
        self.set("bits", value)
    }

    /// Inputs that share a scale; -1: all; from -1 to 1073741824; default 128. Scope: quantizer.
    #[must_use]
    pub fn group_size(self, value: i64) -> Self {
        self.set("group_size", value)
    }

    /// True: symmetric; default true. Scope: quantizer.
    #[must_use]
    pub fn sym(self, value: bool) -> Self {
        self.set("sym", value)
    }

    /// Order in which columns are quantized; one of "none", "act", "gar"; default "gar". Scope: quantizer.
    #[must_use]
    pub fn order(self, value: &str) -> Self {
        self.set("order", value)
    }

    /// True: ranges of groups from the unquantized weights; default false. Scope: quantizer.
    #[must_use]
    pub fn static_groups(self, value: bool) -> Self {
        self.set("static_groups", value)
    }

    /// Damping, as a part of the mean diagonal of the Hessian; above 0 below 1; default 0.05. Scope: quantizer.
    #[must_use]
    pub fn damp_percent(self, value: f64) -> Self {
        self.set("damp_percent", value)
    }

    /// Added to the damping until the Hessian factors; from 0 below 1; default 0.01. Scope: quantizer.
    #[must_use]
    pub fn damp_auto_increment(self, value: f64) -> Self {
        self.set("damp_auto_increment", value)
    }

    /// How the scale of a group is found; one of "minmax", "mse", "hessian"; default "hessian". Scope: quantizer.
    #[must_use]
    pub fn range(self, value: &str) -> Self {
        self.set("range", value)
    }

    /// Power of the error that range = mse makes least; above 0 to 16; default 2.4. Scope: quantizer.
    #[must_use]
    pub fn mse_norm(self, value: f64) -> Self {
        self.set("mse_norm", value)
    }

    /// What the weights are to reproduce; one of "sequential", "gptaq", "exact"; default "exact". Scope: quantizer.
    #[must_use]
    pub fn target(self, value: &str) -> Self {
        self.set("target", value)
    }

    /// Part of the way to the target; from 0 to 1; default 0.75. Scope: quantizer.
    #[must_use]
    pub fn target_alpha(self, value: f64) -> Self {
        self.set("target_alpha", value)
    }

    /// Part of earlier layers' error that target = exact makes up for; from 0 to 1; default 0.5. Scope: quantizer.
    #[must_use]
    pub fn residual_alpha(self, value: f64) -> Self {
        self.set("residual_alpha", value)
    }

    /// Rounds of coordinate descent on the codes; from 0 to 1000; default 4. Scope: quantizer.
    #[must_use]
    pub fn sweeps(self, value: i64) -> Self {
        self.set("sweeps", value)
    }

    /// Of the last sweeps that fit the scales, too; from 0 to 1000; default 2. Scope: quantizer.
    #[must_use]
    pub fn refit(self, value: i64) -> Self {
        self.set("refit", value)
    }

    /// Faults and defaults of another package, for comparison; one of "none", "gptqmodel"; default "none". Scope: quantizer.
    #[must_use]
    pub fn compat(self, value: &str) -> Self {
        self.set("compat", value)
    }

    /// True: modules see the quantized ones before them; default true. Scope: quantizer.
    #[must_use]
    pub fn true_sequential(self, value: bool) -> Self {
        self.set("true_sequential", value)
    }

    /// Calibration sequences; from 1 to 16777216; default 128. Scope: quantizer.
    #[must_use]
    pub fn calibration_samples(self, value: i64) -> Self {
        self.set("calibration_samples", value)
    }

    /// Tokens of each; 0: 2048 or the model's context; from 0 to 1073741824; default 0. Scope: quantizer.
    #[must_use]
    pub fn calibration_length(self, value: i64) -> Self {
        self.set("calibration_length", value)
    }

    /// True: texts follow one another and are cut as one; else each on its own; default true. Scope: quantizer.
    #[must_use]
    pub fn calibration_packing(self, value: bool) -> Self {
        self.set("calibration_packing", value)
    }

    /// How calibration text is given: plain, a JSON value a line, a JSON array; one of "text", "jsonl", "json"; default "text". Scope: quantizer.
    #[must_use]
    pub fn calibration_format(self, value: &str) -> Self {
        self.set("calibration_format", value)
    }

    /// Layout of the output; gptq or gptq_v2 by symmetry; dense, gguf: to convert to; one of "gptq", "gptq_v2", "compressed_tensors", "dense", "gguf". Scope: quantizer, convert.
    #[must_use]
    pub fn format(self, value: &str) -> Self {
        self.set("format", value)
    }

    /// Type of dense weights; one of "bf16", "f16", "f32"; default "bf16". Scope: convert.
    #[must_use]
    pub fn dtype(self, value: &str) -> Self {
        self.set("dtype", value)
    }

    /// Type of the layers' matrices, and of a quantized head, in gguf; auto: for each what holds it best; one of "auto", "q4_0", "q4_1", "q8_0", "f16"; default "auto". Scope: convert.
    #[must_use]
    pub fn gguf_type(self, value: &str) -> Self {
        self.set("gguf_type", value)
    }

    /// Bytes of tensors in one file of the output; from 1 up; default 4294967296. Scope: quantizer, convert.
    #[must_use]
    pub fn max_shard_size(self, value: i64) -> Self {
        self.set("max_shard_size", value)
    }

    /// Bytes that the process shall take at most; 0: no limit; from 0 up; default 0. Scope: quantizer.
    #[must_use]
    pub fn memory_limit(self, value: i64) -> Self {
        self.set("memory_limit", value)
    }

    /// True: quantize the output head, too; default false. Scope: quantizer.
    #[must_use]
    pub fn lm_head(self, value: bool) -> Self {
        self.set("lm_head", value)
    }

    /// Settings of single modules, as JSON: {regular expression on names: {settings}}. Scope: quantizer.
    #[must_use]
    pub fn dynamic(self, value: &str) -> Self {
        self.set("dynamic", value)
    }

    /// True: write quantize_report.json and quantize_report.html into the output; default true. Scope: quantizer.
    #[must_use]
    pub fn report(self, value: bool) -> Self {
        self.set("report", value)
    }

    /// True: replace an existing output folder; default false. Scope: quantizer, convert.
    #[must_use]
    pub fn overwrite(self, value: bool) -> Self {
        self.set("overwrite", value)
    }

    /// Whether a job goes on with what an unfinished run left, and leaves its own work to the next; one of "auto", "restart", "never"; default "auto". Scope: quantizer.
    #[must_use]
    pub fn resume(self, value: &str) -> Self {
        self.set("resume", value)
    }
}
