// Made by bindings/generate.sh from gptq_option_describe(); not to be edited.

package io.github.libgptq;

/** The setters of {@link Options}, one per option of the library. */
abstract class OptionSetters {
  abstract Options setInt(String key, long value);
  abstract Options setFloat(String key, double value);
  abstract Options setString(String key, String value);
  abstract Options setList(String key, String... values);

  /**
   * Where to compute: cpu, cuda, cuda:N, or a list that a model's layers are split over, as cuda:0,cpu; default "cpu". Scope: model.
   *
   * @param value the setting
   * @return this
   */
  public Options device(String value) {
    return setString("device", value);
  }

  /**
   * Layers of each device, as 20,12; empty: by the memory that they have free. Scope: model.
   *
   * @param value the setting
   * @return this
   */
  public Options layerSplit(String value) {
    return setString("layer_split", value);
  }

  /**
   * Threads; 0: all CPUs that the process may use; from 0 to 1024; default 0. Scope: model.
   *
   * @param value the setting
   * @return this
   */
  public Options threads(long value) {
    return setInt("threads", value);
  }

  /**
   * Exact: fp32 throughout; fast: inputs of quantized weights rounded to 8 bits; one of "exact", "fast"; default "fast". Scope: model, quantizer.
   *
   * @param value the setting
   * @return this
   */
  public Options compute(String value) {
    return setString("compute", value);
  }

  /**
   * 4 or 8: round an unquantized output head to so many bits; from 0 to 8; default 0. Scope: model.
   *
   * @param value the setting
   * @return this
   */
  public Options headBits(long value) {
    return setInt("head_bits", value);
  }

  /**
   * False: tokenizer and configuration alone; default true. Scope: model.
   *
   * @param value the setting
   * @return this
   */
  public Options loadWeights(boolean value) {
    return setInt("load_weights", value ? 1 : 0);
  }

  /**
   * True: unquantized weights stay in the mapped file; default true. Scope: model.
   *
   * @param value the setting
   * @return this
   */
  public Options mmap(boolean value) {
    return setInt("mmap", value ? 1 : 0);
  }

  /**
   * Most tokens; 0: the model's; from 0 to 1073741824; default 0. Scope: session, model.
   *
   * @param value the setting
   * @return this
   */
  public Options contextLength(long value) {
    return setInt("context_length", value);
  }

  /**
   * How keys and values are kept: auto as compute has them, int8 in 8 bits, a scale for each position and head; one of "auto", "int8"; default "auto". Scope: session, model.
   *
   * @param value the setting
   * @return this
   */
  public Options kvCache(String value) {
    return setString("kv_cache", value);
  }

  /**
   * Most new tokens; 0: until the context is full; from 0 up; default 0. Scope: generation.
   *
   * @param value the setting
   * @return this
   */
  public Options maxTokens(long value) {
    return setInt("max_tokens", value);
  }

  /**
   * 0: the most likely token; from 0 to 1000000; default 0. Scope: generation.
   *
   * @param value the setting
   * @return this
   */
  public Options temperature(double value) {
    return setFloat("temperature", value);
  }

  /**
   * Keep the k most likely tokens; 0: all; from 0 up; default 0. Scope: generation.
   *
   * @param value the setting
   * @return this
   */
  public Options topK(long value) {
    return setInt("top_k", value);
  }

  /**
   * Keep the fewest tokens of this total probability; above 0 to 1; default 1. Scope: generation.
   *
   * @param value the setting
   * @return this
   */
  public Options topP(double value) {
    return setFloat("top_p", value);
  }

  /**
   * Drop tokens below this part of the best one's probability; from 0 to 1; default 0. Scope: generation.
   *
   * @param value the setting
   * @return this
   */
  public Options minP(double value) {
    return setFloat("min_p", value);
  }

  /**
   * Divides the logits of tokens seen before; above 0 to 1000000; default 1. Scope: generation.
   *
   * @param value the setting
   * @return this
   */
  public Options repetitionPenalty(double value) {
    return setFloat("repetition_penalty", value);
  }

  /**
   * Of all that is random; from 0 up; default 0. Scope: generation, quantizer.
   *
   * @param value the setting
   * @return this
   */
  public Options seed(long value) {
    return setInt("seed", value);
  }

  /**
   * True: go on after an end-of-text token; default false. Scope: generation.
   *
   * @param value the setting
   * @return this
   */
  public Options ignoreEos(boolean value) {
    return setInt("ignore_eos", value ? 1 : 0);
  }

  /**
   * Texts that end a generation and are left out of what it writes. Scope: generation.
   *
   * @param value the setting
   * @return this
   */
  public Options stop(String... value) {
    return setList("stop", value);
  }

  /**
   * 2, 3, 4 or 8; from 2 to 8; default 4. Scope: quantizer.
   *
   * @param value the setting
   * @return this
   */
  public Options bits(long value) {
    return setInt("bits", value);
  }

  /**
   * Inputs that share a scale; -1: all; from -1 to 1073741824; default 128. Scope: quantizer.
   *
   * @param value the setting
   * @return this
   */
  public Options groupSize(long value) {
    return setInt("group_size", value);
  }

  /**
   * True: symmetric; default true. Scope: quantizer.
   *
   * @param value the setting
   * @return this
   */
  public Options sym(boolean value) {
    return setInt("sym", value ? 1 : 0);
  }

  /**
   * Order in which columns are quantized; one of "none", "act", "gar"; default "gar". Scope: quantizer.
   *
   * @param value the setting
   * @return this
   */
  public Options order(String value) {
    return setString("order", value);
  }

  /**
   * True: ranges of groups from the unquantized weights; default false. Scope: quantizer.
   *
   * @param value the setting
   * @return this
   */
  public Options staticGroups(boolean value) {
    return setInt("static_groups", value ? 1 : 0);
  }

  /**
   * Damping, as a part of the mean diagonal of the Hessian; above 0 below 1; default 0.05. Scope: quantizer.
   *
   * @param value the setting
   * @return this
   */
  public Options dampPercent(double value) {
    return setFloat("damp_percent", value);
  }

  /**
   * Added to the damping until the Hessian factors; from 0 below 1; default 0.01. Scope: quantizer.
   *
   * @param value the setting
   * @return this
   */
  public Options dampAutoIncrement(double value) {
    return setFloat("damp_auto_increment", value);
  }

  /**
   * How the scale of a group is found; one of "minmax", "mse", "hessian"; default "hessian". Scope: quantizer.
   *
   * @param value the setting
   * @return this
   */
  public Options range(String value) {
    return setString("range", value);
  }

  /**
   * Power of the error that range = mse makes least; above 0 to 16; default 2.4. Scope: quantizer.
   *
   * @param value the setting
   * @return this
   */
  public Options mseNorm(double value) {
    return setFloat("mse_norm", value);
  }

  /**
   * What the weights are to reproduce; one of "sequential", "gptaq", "exact"; default "exact". Scope: quantizer.
   *
   * @param value the setting
   * @return this
   */
  public Options target(String value) {
    return setString("target", value);
  }

  /**
   * Part of the way to the target; from 0 to 1; default 0.75. Scope: quantizer.
   *
   * @param value the setting
   * @return this
   */
  public Options targetAlpha(double value) {
    return setFloat("target_alpha", value);
  }

  /**
   * Part of earlier layers' error that target = exact makes up for; from 0 to 1; default 0.5. Scope: quantizer.
   *
   * @param value the setting
   * @return this
   */
  public Options residualAlpha(double value) {
    return setFloat("residual_alpha", value);
  }

  /**
   * Rounds of coordinate descent on the codes; from 0 to 1000; default 4. Scope: quantizer.
   *
   * @param value the setting
   * @return this
   */
  public Options sweeps(long value) {
    return setInt("sweeps", value);
  }

  /**
   * Of the last sweeps that fit the scales, too; from 0 to 1000; default 2. Scope: quantizer.
   *
   * @param value the setting
   * @return this
   */
  public Options refit(long value) {
    return setInt("refit", value);
  }

  /**
   * Faults and defaults of another package, for comparison; one of "none", "gptqmodel"; default "none". Scope: quantizer.
   *
   * @param value the setting
   * @return this
   */
  public Options compat(String value) {
    return setString("compat", value);
  }

  /**
   * True: modules see the quantized ones before them; default true. Scope: quantizer.
   *
   * @param value the setting
   * @return this
   */
  public Options trueSequential(boolean value) {
    return setInt("true_sequential", value ? 1 : 0);
  }

  /**
   * Calibration sequences; from 1 to 16777216; default 128. Scope: quantizer.
   *
   * @param value the setting
   * @return this
   */
  public Options calibrationSamples(long value) {
    return setInt("calibration_samples", value);
  }

  /**
   * Tokens of each; 0: 2048 or the model's context; from 0 to 1073741824; default 0. Scope: quantizer.
   *
   * @param value the setting
   * @return this
   */
  public Options calibrationLength(long value) {
    return setInt("calibration_length", value);
  }

  /**
   * True: texts follow one another and are cut as one; else each on its own; default true. Scope: quantizer.
   *
   * @param value the setting
   * @return this
   */
  public Options calibrationPacking(boolean value) {
    return setInt("calibration_packing", value ? 1 : 0);
  }

  /**
   * How calibration text is given: plain, a JSON value a line, a JSON array; one of "text", "jsonl", "json"; default "text". Scope: quantizer.
   *
   * @param value the setting
   * @return this
   */
  public Options calibrationFormat(String value) {
    return setString("calibration_format", value);
  }

  /**
   * Layout of the output; gptq or gptq_v2 by symmetry; dense, gguf: to convert to; one of "gptq", "gptq_v2", "compressed_tensors", "dense", "gguf". Scope: quantizer, convert.
   *
   * @param value the setting
   * @return this
   */
  public Options format(String value) {
    return setString("format", value);
  }

  /**
   * Type of dense weights; one of "bf16", "f16", "f32"; default "bf16". Scope: convert.
   *
   * @param value the setting
   * @return this
   */
  public Options dtype(String value) {
    return setString("dtype", value);
  }

  /**
   * Type of the layers' matrices, and of a quantized head, in gguf; auto: for each what holds it best; one of "auto", "q4_0", "q4_1", "q8_0", "f16"; default "auto". Scope: convert.
   *
   * @param value the setting
   * @return this
   */
  public Options ggufType(String value) {
    return setString("gguf_type", value);
  }

  /**
   * Bytes of tensors in one file of the output; from 1 up; default 4294967296. Scope: quantizer, convert.
   *
   * @param value the setting
   * @return this
   */
  public Options maxShardSize(long value) {
    return setInt("max_shard_size", value);
  }

  /**
   * Bytes that the process shall take at most; 0: no limit; from 0 up; default 0. Scope: quantizer.
   *
   * @param value the setting
   * @return this
   */
  public Options memoryLimit(long value) {
    return setInt("memory_limit", value);
  }

  /**
   * True: quantize the output head, too; default false. Scope: quantizer.
   *
   * @param value the setting
   * @return this
   */
  public Options lmHead(boolean value) {
    return setInt("lm_head", value ? 1 : 0);
  }

  /**
   * Settings of single modules, as JSON: {regular expression on names: {settings}}. Scope: quantizer.
   *
   * @param value the setting
   * @return this
   */
  public Options dynamic(String value) {
    return setString("dynamic", value);
  }

  /**
   * True: write quantize_report.json and quantize_report.html into the output; default true. Scope: quantizer.
   *
   * @param value the setting
   * @return this
   */
  public Options report(boolean value) {
    return setInt("report", value ? 1 : 0);
  }

  /**
   * True: replace an existing output folder; default false. Scope: quantizer, convert.
   *
   * @param value the setting
   * @return this
   */
  public Options overwrite(boolean value) {
    return setInt("overwrite", value ? 1 : 0);
  }

  /**
   * Whether a job goes on with what an unfinished run left, and leaves its own work to the next; one of "auto", "restart", "never"; default "auto". Scope: quantizer.
   *
   * @param value the setting
   * @return this
   */
  public Options resume(String value) {
    return setString("resume", value);
  }
}
