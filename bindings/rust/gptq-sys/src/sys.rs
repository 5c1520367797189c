// Made by bindings/generate.sh from gptq.h; not to be edited.

use std::ffi::CStr;
use std::marker::{PhantomData, PhantomPinned};
use std::os::raw::{c_char, c_void};

const fn text(with_nul: &'static [u8]) -> &'static CStr {
    // SAFETY: the texts below end in their only NUL.
    unsafe { CStr::from_bytes_with_nul_unchecked(with_nul) }
}

/// Of this header; [`gptq_version`] tells that of the library.
pub const GPTQ_VERSION_MAJOR: i32 = 0;

/// May add functions, keys and statuses.
pub const GPTQ_VERSION_MINOR: i32 = 1;

/// Changes no interface.
pub const GPTQ_VERSION_PATCH: i32 = 0;

/// 0, a positive [`GPTQ_DONE`], or a negative `GPTQ_ERROR_*`. The numbers never change.
pub type gptq_status = i32;

/// Done as asked.
pub const GPTQ_OK: gptq_status = 0;

/// Nothing more to do: the end of a generation or of a job.
pub const GPTQ_DONE: gptq_status = 1;

/// A cancel function or a progress callback asked for it.
pub const GPTQ_ERROR_CANCELLED: gptq_status = -1;

/// NULL, an unknown key, a value out of its bounds.
pub const GPTQ_ERROR_INVALID_ARGUMENT: gptq_status = -2;

/// A file, tensor or key that is not there.
pub const GPTQ_ERROR_NOT_FOUND: gptq_status = -3;

/// The system refused: permission, full disk, output exists.
pub const GPTQ_ERROR_IO: gptq_status = -4;

/// A file contradicts its format or itself.
pub const GPTQ_ERROR_CORRUPT: gptq_status = -5;

/// Valid, but not known here, or above a limit.
pub const GPTQ_ERROR_UNSUPPORTED: gptq_status = -6;

/// The machine has no more, or the process may have no more.
pub const GPTQ_ERROR_OUT_OF_MEMORY: gptq_status = -7;

/// A fault of the GPU or its driver.
pub const GPTQ_ERROR_DEVICE: gptq_status = -8;

/// More tokens than the session's context holds.
pub const GPTQ_ERROR_CONTEXT_FULL: gptq_status = -9;

/// Another thread is inside this handle; another job makes this output.
pub const GPTQ_ERROR_BUSY: gptq_status = -10;

/// Out of order: a step before begin, for example.
pub const GPTQ_ERROR_BAD_STATE: gptq_status = -11;

/// A callback misbehaved.
pub const GPTQ_ERROR_CALLBACK: gptq_status = -12;

/// A fault of this library: please report it.
pub const GPTQ_ERROR_INTERNAL: gptq_status = -99;

/// Settings by key.
#[repr(C)]
pub struct gptq_options {
    _data: [u8; 0],
    _marker: PhantomData<(*mut u8, PhantomPinned)>,
}

/// Bytes that the library hands out.
#[repr(C)]
pub struct gptq_buffer {
    _data: [u8; 0],
    _marker: PhantomData<(*mut u8, PhantomPinned)>,
}

/// Weights and tokenizer; immutable, shared by threads.
#[repr(C)]
pub struct gptq_model {
    _data: [u8; 0],
    _marker: PhantomData<(*mut u8, PhantomPinned)>,
}

/// One conversation: cache, sampler, text.
#[repr(C)]
pub struct gptq_session {
    _data: [u8; 0],
    _marker: PhantomData<(*mut u8, PhantomPinned)>,
}

/// One quantization job.
#[repr(C)]
pub struct gptq_quantizer {
    _data: [u8; 0],
    _marker: PhantomData<(*mut u8, PhantomPinned)>,
}

/// Called now and then during long calls, on the calling thread.
///
/// - `done`, `total`: units of work; total is 0 while unknown
/// - `stage`: what is being done: "load", "calibrate", "layer 3/32", and with what was done last in
///   it, "layer 3/32: mlp.up_proj, loss 0.0123" (per token); good during the call
///
/// Returns 0 to go on; anything else cancels ([`GPTQ_ERROR_CANCELLED`])
pub type gptq_progress_fn = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        done: i64,
        total: i64,
        stage: *const c_char,
    ) -> i32,
>;

/// A piece of the library's work, number `index`.
pub type gptq_task_fn = Option<
    unsafe extern "C" fn(
        context: *mut c_void,
        index: i64,
    ),
>;

/// Runs work on threads of the host ([`gptq_options_set_executor`]): calls task(context, i) once
/// for each i from 0 to count - 1, on any threads and in any order, and returns when all calls have
/// returned. Tasks take up to some 10 ms, wait for nothing and call nothing back. A model calls it
/// once at a time; several models, and jobs, side by side. Nothing may be thrown through it.
pub type gptq_executor_fn = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        count: i64,
        task: gptq_task_fn,
        context: *mut c_void,
    ),
>;

/// Messages of the library; it needs none to be read: what fails says so by its status.
///
/// - `level`: 1 error, 2 warning, 3 information, 4 debugging
/// - `text`: NUL-terminated, `len` bytes; good during the call. May be called from any thread.
pub type gptq_log_fn = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        level: i32,
        text: *const c_char,
        len: i64,
    ),
>;

/// String: "cpu" (default), "cuda" or "cuda:N": the NVIDIA GPU number 0 or N, by the plugin
/// libgptq-cuda.so. It is looked for in the folder "gptq" beside the library, or beside the program
/// where libgptq.a is part of it, or in the folder that `GPTQ_PLUGIN_PATH` of the environment
/// names; it is opened when first asked for and stays until the process ends. A child made by
/// fork() can't go on with a GPU that its parent has used. [`gptq_device_check`] says why a device
/// can't be used. Several, "cuda:0,cuda:1" or "cuda:0,cpu", for [`gptq_model_load`], 64 at most:
/// the layers lie one behind the other on them, as [`GPTQ_KEY_LAYER_SPLIT`] says, so that a model
/// can be larger than the memory of one. A token goes through one device after the other, and each
/// keeps the keys and values of its layers; the options below go to each. One that is listed twice
/// is one device. A quantizer takes one device.
pub const GPTQ_KEY_DEVICE: &CStr = text(b"device\0");

/// String, of [`gptq_model_load`]: how many layers each of several devices gets, "20,12", 0 for
/// none; they add up to the model's. "" (default): devices that can tell what memory they have free
/// hold as much as they have room for, in proportion to it; what they don't hold goes to the first
/// that can't, the CPU: "cuda:0,cpu" has the first layers on the GPU, "cpu,cuda:0" the last. Room
/// is planned for the keys and values of "context_length" positions if that is among these options,
/// else of at most 4096. Without a GPU all get as many. A GPU that gets none is warned of; of one
/// that is listed twice the room counts where it comes first. More devices than layers need
/// numbers. The embedding is on the first device that has layers, the output head on the last; one
/// that is tied to it is on both.
pub const GPTQ_KEY_LAYER_SPLIT: &CStr = text(b"layer_split\0");

/// Int \>= 0: 0 (default) takes all CPUs the process may use. Sessions of a model share them: one
/// call at a time has all of them, calls beside it run on the threads that make them.
pub const GPTQ_KEY_THREADS: &CStr = text(b"threads\0");

/// String: "exact" for fp32 throughout, or "fast" (default). On CPUs "fast" rounds the inputs of
/// quantized weights to 8 bits, at most 128 inputs of a group to a scale, and keeps keys and values
/// in fp16 (beyond 65504: its largest number); with AMX or AVX-512 BF16 both sides of products of
/// many tokens with other weights, of more than 512 outputs, are rounded to bf16 (2^-7 of each
/// term). A quantizer rounds likewise in sums over calibration inputs, and, where most weights get
/// at most 4 bits, in products with weights; with AMX its other products are within 2^-15 of each
/// term. On GPUs "fast" is all that there is: bf16 activations, sums in fp32.
pub const GPTQ_KEY_COMPUTE: &CStr = text(b"compute\0");

/// Int 0 (default), 4 or 8, of [`gptq_model_load`] alone: an unquantized output head is rounded to
/// nearest, in groups of 128 inputs, as it is loaded. 8 costs next to nothing, 4 may cost more than
/// quantizing the rest to 4 bits has. Where embedding and head are one tensor, the embedding stays
/// beside it as it is: more memory, but fewer bytes that are read for each token.
pub const GPTQ_KEY_HEAD_BITS: &CStr = text(b"head_bits\0");

/// Int 0 or 1 (default): 0 reads tokenizer and configuration alone, for [`gptq_model_tokenize`] and
/// the like, also of architectures that are not known here; it can't make sessions.
pub const GPTQ_KEY_LOAD_WEIGHTS: &CStr = text(b"load_weights\0");

/// Int 0 or 1 (default): 16-bit and 32-bit weights stay in the mapped file, which must not shrink
/// meanwhile; 0 copies them.
pub const GPTQ_KEY_MMAP: &CStr = text(b"mmap\0");

/// Int \>= 0: most tokens; 0 (default) takes the model's. [`gptq_model_load`] on several devices
/// plans their room with it.
pub const GPTQ_KEY_CONTEXT_LENGTH: &CStr = text(b"context_length\0");

/// String: how keys and values are kept. "auto" (default): in fp32 where compute is "exact", in
/// fp16 where it is "fast", in bf16 on GPUs. "int8": rounded to 8 bits, with a scale in fp32 for
/// the key and one for the value of each position and head, largest magnitude / 127: little more
/// than half of fp16's memory (docs/performance.md has what it costs). A key or value with a number
/// that is not finite counts as NaN. Of sessions, not of models; on CPUs alone:
/// [`gptq_session_create`] returns [`GPTQ_ERROR_UNSUPPORTED`] where a model has layers elsewhere,
/// and so does [`gptq_model_load`], before it reads weights, where it is among its options, too.
pub const GPTQ_KEY_KV_CACHE: &CStr = text(b"kv_cache\0");

/// Int \>= 0: most new tokens; 0 (default) until the end of the context.
pub const GPTQ_KEY_MAX_TOKENS: &CStr = text(b"max_tokens\0");

/// Float \>= 0: 0 (default) takes the most likely token.
pub const GPTQ_KEY_TEMPERATURE: &CStr = text(b"temperature\0");

/// Int \>= 0: keep the k most likely tokens; 0 (default) all.
pub const GPTQ_KEY_TOP_K: &CStr = text(b"top_k\0");

/// Float in (0, 1\]: keep the fewest tokens of this total; 1 (default) all.
pub const GPTQ_KEY_TOP_P: &CStr = text(b"top_p\0");

/// Float in \[0, 1\]: drop tokens below this part of the best; 0 (default)
pub const GPTQ_KEY_MIN_P: &CStr = text(b"min_p\0");

/// Float \> 0: as CTRL, arXiv 1909.05858; 1 (default) none.
pub const GPTQ_KEY_REPETITION_PENALTY: &CStr = text(b"repetition_penalty\0");

/// Int \>= 0, default 0: equal seeds give equal text, so set another one for another text; also
/// "quantizer".
pub const GPTQ_KEY_SEED: &CStr = text(b"seed\0");

/// Int 0 (default) or 1: go on after an end-of-text token.
pub const GPTQ_KEY_IGNORE_EOS: &CStr = text(b"ignore_eos\0");

/// String, JSON: texts that end a generation where they come up in what it writes, as in
/// \["\nUser:", "\n\n"\], at most 64, of 1 to 4,096 bytes each; \[\] or "" (default) for none.
/// [`gptq_options_add_string`] adds one without JSON. Chunks hold what comes before the text that
/// is complete first, and before the longest of several; what may be the beginning of one is held
/// back until more has come, or comes with the last chunk (after a cancel, if the generation goes
/// on). A text that is the name of a special token of the model, such as "\<|im_end|\>", ends it
/// where that token comes. [`gptq_session_begin`] returns [`GPTQ_ERROR_UNSUPPORTED`] where the
/// model has no tokenizer.
pub const GPTQ_KEY_STOP: &CStr = text(b"stop\0");

/// Int: 2, 3, 4 (default) or 8.
pub const GPTQ_KEY_BITS: &CStr = text(b"bits\0");

/// Int: -1 (one group) or \>= 1 inputs share a scale; default 128. vLLM's fast kernels take -1, 32,
/// 64 and 128.
pub const GPTQ_KEY_GROUP_SIZE: &CStr = text(b"group_size\0");

/// Int 0 or 1 (default): zero points fixed in the middle.
pub const GPTQ_KEY_SYM: &CStr = text(b"sym\0");

/// String: "none", "act" (by falling activation) or "gar" (default: the same inside groups and
/// among them, at no cost when running)
pub const GPTQ_KEY_ORDER: &CStr = text(b"order\0");

/// Int 0 (default) or 1: ranges from the weights as they were.
pub const GPTQ_KEY_STATIC_GROUPS: &CStr = text(b"static_groups\0");

/// Float in (0, 1), default 0.05: of the mean diagonal of the Hessian.
pub const GPTQ_KEY_DAMP_PERCENT: &CStr = text(b"damp_percent\0");

/// Float in \[0, 1), default 0.01: added until it factors.
pub const GPTQ_KEY_DAMP_AUTO_INCREMENT: &CStr = text(b"damp_auto_increment\0");

/// String: how the scale of a group is found: "hessian" (default: the range of least loss under the
/// Hessian), "mse" (of least |error| to the power of mse_norm) or "minmax" (that of all its
/// weights)
pub const GPTQ_KEY_RANGE: &CStr = text(b"range\0");

/// Float in (0, 16\], default 2.4: for range = "mse".
pub const GPTQ_KEY_MSE_NORM: &CStr = text(b"mse_norm\0");

/// String: what the weights are to reproduce: "exact" (default: outputs of the unquantized model,
/// arXiv 2504.09629), "gptaq" (likewise, column by column, arXiv 2504.02692) or "sequential" (the
/// outputs that they would have on the inputs they get); the first two run the unquantized model,
/// too.
pub const GPTQ_KEY_TARGET: &CStr = text(b"target\0");

/// Float in \[0, 1\], default 0.75: of the way; "exact" and "gptaq".
pub const GPTQ_KEY_TARGET_ALPHA: &CStr = text(b"target_alpha\0");

/// Float in \[0, 1\], default 0.5: of the error of earlier layers, which the Linears that add to
/// the residual stream make up for; "exact" only.
pub const GPTQ_KEY_RESIDUAL_ALPHA: &CStr = text(b"residual_alpha\0");

/// Int \>= 0, default 4: rounds of coordinate descent on the codes afterwards.
pub const GPTQ_KEY_SWEEPS: &CStr = text(b"sweeps\0");

/// Int, 0 to sweeps; default 2, or sweeps where that is less: so many of the last sweeps fit the
/// scales, too.
pub const GPTQ_KEY_REFIT: &CStr = text(b"refit\0");

/// String: "none" (default) or "gptqmodel": known faults of that package, and its defaults for the
/// keys from "range" on, for comparison.
pub const GPTQ_KEY_COMPAT: &CStr = text(b"compat\0");

/// Int 0 or 1 (default): modules of a layer see the quantized ones before them.
pub const GPTQ_KEY_TRUE_SEQUENTIAL: &CStr = text(b"true_sequential\0");

/// Int \>= 1, default 128: most sequences from texts and files.
pub const GPTQ_KEY_CALIBRATION_SAMPLES: &CStr = text(b"calibration_samples\0");

/// Int \>= 0 tokens each; 0 (default) takes 2,048 or the model's context, whichever is less.
pub const GPTQ_KEY_CALIBRATION_LENGTH: &CStr = text(b"calibration_length\0");

/// Int 1 (default): calibration texts follow one another, with the end-of-text token between them,
/// and are cut as one; 0: each is cut on its own, and what is left of it stays as a shorter
/// sequence if it has 10 tokens.
pub const GPTQ_KEY_CALIBRATION_PACKING: &CStr = text(b"calibration_packing\0");

/// String: what [`gptq_quantizer_add_calibration_text`] takes: "text" (default), one text a call;
/// "jsonl", lines of JSON; "json", an array: of values each, which are a text (a string, {"text":
/// ...}, or {"messages": ...}, to which the chat template is applied) or a sequence of tokens (an
/// array, or {"input_ids": \[...\]}), which is not cut.
pub const GPTQ_KEY_CALIBRATION_FORMAT: &CStr = text(b"calibration_format\0");

/// String: "gptq" (default for symmetric), "gptq_v2" (default for asymmetric) or
/// "compressed_tensors" (its "pack-quantized", of vLLM's quantizer: no GPT-2, no order "act" unless
/// the groups are static). Also "convert", without default, where "dense" and "gguf" are, too.
pub const GPTQ_KEY_FORMAT: &CStr = text(b"format\0");

/// Int \>= 1, default 4294967296 (4 GB): bytes of tensors that a file of the output holds; more go
/// into several files with an index (one tensor is never cut). At most 500 files; also "convert".
pub const GPTQ_KEY_MAX_SHARD_SIZE: &CStr = text(b"max_shard_size\0");

/// Int \>= 0, bytes that the process is to take at most, by an estimate (the report's "planned"):
/// hidden states go to files where they must; else the first step fails. 0 (default): none.
pub const GPTQ_KEY_MEMORY_LIMIT: &CStr = text(b"memory_limit\0");

/// Int 0 (default) or 1: quantize the output head, too, unless "dynamic" says otherwise to 8 bits
/// in groups of 32, symmetric. An error where the head is the embedding itself (tied)
pub const GPTQ_KEY_LM_HEAD: &CStr = text(b"lm_head\0");

/// String, JSON: other settings for the modules whose names match, such as {".\*\\.down_proj":
/// {"bits": 8, "group_size": 32}, "-:.\*\\.layers\\.0\\.": {}}. Keys are regular expressions
/// (PCRE2) that match from the start of the name on; with "-:" before it modules stay as they are,
/// with "+:" or nothing they get the settings "bits", "group_size", "sym", "desc_act",
/// "act_group_aware", "static_groups", "damp_percent" and "mse". Those with "-:" are tried first,
/// then the others in their order; the first that matches decides; patterns that take very many
/// steps are refused. Written to the output as GPTQModel does; what matches nothing is a warning in
/// the report.
pub const GPTQ_KEY_DYNAMIC: &CStr = text(b"dynamic\0");

/// Int 0 or 1 (default): put what [`gptq_quantizer_report_json`] gives into the output, as
/// quantize_report.json, and as a page for people with plots that needs no network,
/// quantize_report.html.
pub const GPTQ_KEY_REPORT: &CStr = text(b"report\0");

/// Int 0 (default) or 1: replace an existing output folder, when the new one is complete; an empty
/// one is no obstacle to either; also "convert".
pub const GPTQ_KEY_OVERWRITE: &CStr = text(b"overwrite\0");

/// String: "auto" (default) goes on with what an unfinished run of the same job left beside the
/// output, and leaves its own finished layers to the next; "restart" drops that with the first
/// step; "never" does, too, and leaves nothing.
pub const GPTQ_KEY_RESUME: &CStr = text(b"resume\0");

/// String: "bf16" (default), "f16" or "f32": type of "dense" weights.
pub const GPTQ_KEY_DTYPE: &CStr = text(b"dtype\0");

/// String: "auto" (default; for each what holds it best), "q4_0", "q4_1", "q8_0" or "f16": type of
/// the layers' matrices, and of a quantized head, in "gguf".
pub const GPTQ_KEY_GGUF_TYPE: &CStr = text(b"gguf_type\0");

/// Add what the tokenizer puts around a text, such as a beginning-of-text token.
pub const GPTQ_TOKENIZE_ADD_SPECIAL: i32 = 1;

/// Let the text "\<|eot_id|\>" become that token: not for text that users write.
pub const GPTQ_TOKENIZE_PARSE_SPECIAL: i32 = 2;

/// Leave special tokens out of the text.
pub const GPTQ_DETOKENIZE_SKIP_SPECIAL: i32 = 1;

/// Keep none.
pub const GPTQ_LOGITS_NONE: i32 = 0;

/// Those after the last token.
pub const GPTQ_LOGITS_LAST: i32 = 1;

/// Those after each token.
pub const GPTQ_LOGITS_ALL: i32 = 2;

extern "C" {
    /// Major \* 1000000 + minor \* 1000 + patch of the library at run time.
    ///
    /// Since 0.1. Threads: any.
    pub fn gptq_version() -> i32;

    /// "0.1.0"; static.
    ///
    /// Since 0.1. Threads: any.
    pub fn gptq_version_string() -> *const c_char;

    /// 1 if the library at run time has the feature: "cpu", "quantize", "cuda".
    ///
    /// Since 0.1. Threads: any.
    pub fn gptq_has_feature(name: *const c_char) -> i32;

    /// Whether there is a device to compute with: [`GPTQ_OK`], or the error that a model would not
    /// load with, and a message that says what is missing.
    ///
    /// - `device`: a value of [`GPTQ_KEY_DEVICE`]; of a list, all are looked at
    ///
    /// Returns [`GPTQ_ERROR_NOT_FOUND`] or [`GPTQ_ERROR_UNSUPPORTED`] where the plugin of the
    /// library for such devices is not there or of another build; [`GPTQ_ERROR_DEVICE`] for a
    /// driver that is missing, too old or has no device; [`GPTQ_ERROR_INVALID_ARGUMENT`] for
    /// another name, or a number beyond the last.
    ///
    /// Since 0.1. Threads: any.
    pub fn gptq_device_check(device: *const c_char) -> gptq_status;

    /// Version, compiler and the instruction set in use, as one line of text for bug reports;
    /// static.
    ///
    /// Since 0.1. Threads: any.
    pub fn gptq_build_info() -> *const c_char;

    /// "GPTQ_ERROR_CORRUPT" and so on; static, never NULL.
    ///
    /// Since 0.1. Threads: any.
    pub fn gptq_status_name(status: gptq_status) -> *const c_char;

    /// Status of the last call on this thread that failed; [`GPTQ_OK`] if none has.
    ///
    /// Since 0.1. Threads: any.
    pub fn gptq_last_error_code() -> gptq_status;

    /// Its text, good until the next failing call on this thread; "" if none. A message about bad
    /// input names file, tensor or key, what was found and what was wanted, and ends in the kind of
    /// fault in brackets: TRUNC, FORMAT, LIMIT, RANGE, MISMATCH, DUP, PATH, UNSUPPORTED, NUMERIC,
    /// IO, EXISTS or CHANGED.
    ///
    /// Since 0.1. Threads: any.
    pub fn gptq_last_error_message() -> *const c_char;

    /// Forgets both.
    ///
    /// Since 0.1. Threads: any.
    pub fn gptq_clear_error();

    /// Sends messages to `callback`; NULL, the state at the start, drops them. One for the whole
    /// process. A call of the callback before that has begun on another thread may still be running
    /// when this returns.
    ///
    /// Since 0.1. Threads: any.
    pub fn gptq_set_log_callback(callback: gptq_log_fn, user_data: *mut c_void);

    /// Least urgent level to send, 1 to 4; 2 at the start.
    ///
    /// Since 0.1. Threads: any.
    pub fn gptq_set_log_level(level: i32);

    /// An empty set: every key has its default.
    ///
    /// Since 0.1. Owner: caller, [`gptq_options_free`]. Threads: any.
    pub fn gptq_options_create(out: *mut *mut gptq_options) -> gptq_status;

    /// Since 0.1.
    pub fn gptq_options_free(options: *mut gptq_options);

    /// Sets an integer key. A key of type float takes it too.
    ///
    /// Returns [`GPTQ_ERROR_INVALID_ARGUMENT`] for an unknown key (the message names the nearest),
    /// one of another type, or a value out of its bounds; the options are then as before.
    ///
    /// Since 0.1. Threads: exclusive.
    pub fn gptq_options_set_int(
        options: *mut gptq_options,
        key: *const c_char,
        value: i64,
    ) -> gptq_status;

    /// Sets a floating-point key; errors as [`gptq_options_set_int`].
    ///
    /// Since 0.1. Threads: exclusive.
    pub fn gptq_options_set_float(
        options: *mut gptq_options,
        key: *const c_char,
        value: f64,
    ) -> gptq_status;

    /// Sets a text key; the NUL-terminated value is copied; errors as [`gptq_options_set_int`].
    ///
    /// Since 0.1. Threads: exclusive.
    pub fn gptq_options_set_string(
        options: *mut gptq_options,
        key: *const c_char,
        value: *const c_char,
    ) -> gptq_status;

    /// Adds a text to a key that is a list of them, such as "stop", which
    /// [`gptq_options_set_string`] takes as a JSON array; the NUL-terminated UTF-8 is copied;
    /// errors as [`gptq_options_set_int`], also for a key that is no list.
    ///
    /// Since 0.1. Threads: exclusive.
    pub fn gptq_options_add_string(
        options: *mut gptq_options,
        key: *const c_char,
        value: *const c_char,
    ) -> gptq_status;

    /// Sets several keys from a JSON object such as {"bits": 4, "order": "act", "sym": true}, in
    /// which true and false are 1 and 0, "dynamic" may be the object itself and "stop" the array;
    /// all of them, or none on an error.
    ///
    /// Returns errors as [`gptq_options_set_int`], also for a text that is no JSON object.
    ///
    /// Since 0.1. Threads: exclusive.
    pub fn gptq_options_set_json(
        options: *mut gptq_options,
        json: *const c_char,
        len: i64,
    ) -> gptq_status;

    /// The keys that were set, as a JSON object.
    ///
    /// Since 0.1. Owner: caller, [`gptq_buffer_free`].
    pub fn gptq_options_get_json(
        options: *const gptq_options,
        out_json: *mut *mut gptq_buffer,
    ) -> gptq_status;

    /// Reports the progress of calls that are given these options; NULL for none. `user_data` must
    /// outlive every handle made with them.
    ///
    /// Since 0.1. Threads: exclusive.
    pub fn gptq_options_set_progress(
        options: *mut gptq_options,
        callback: gptq_progress_fn,
        user_data: *mut c_void,
    ) -> gptq_status;

    /// Models and quantization jobs that are made with these options compute on threads of the
    /// host, and start none of their own; [`GPTQ_KEY_THREADS`] says into how many tasks work is
    /// cut. Results are the same. NULL for the library's own threads. `user_data` must outlive
    /// every handle made with them.
    ///
    /// Since 0.1. Threads: exclusive.
    pub fn gptq_options_set_executor(
        options: *mut gptq_options,
        executor: gptq_executor_fn,
        user_data: *mut c_void,
    ) -> gptq_status;

    /// Back to the empty set.
    ///
    /// Since 0.1. Threads: exclusive.
    pub fn gptq_options_reset(options: *mut gptq_options) -> gptq_status;

    /// Number of keys known.
    ///
    /// Since 0.1. Threads: any.
    pub fn gptq_option_count() -> i64;

    /// Key number `index` as a JSON object: name, type ("int", "float", "string"), scope, default
    /// ("" of a string that has none), min and max with exclusive_min and exclusive_max where the
    /// bound itself is out, or values (an array; empty: any), items ("string") of a string that is
    /// a list, since, help.
    ///
    /// Since 0.1. Owner: caller, [`gptq_buffer_free`]. Threads: any.
    pub fn gptq_option_describe(index: i64, out_json: *mut *mut gptq_buffer) -> gptq_status;

    /// The bytes: text (a NUL follows it), int32_t ids or floats, as the function that made it
    /// says; aligned for any of them. Good until the buffer is freed.
    ///
    /// Since 0.1.
    pub fn gptq_buffer_data(buffer: *const gptq_buffer) -> *const c_void;

    /// Size in bytes, without the NUL after a text; 0 for NULL.
    ///
    /// Since 0.1.
    pub fn gptq_buffer_size(buffer: *const gptq_buffer) -> i64;

    /// Since 0.1.
    pub fn gptq_buffer_free(buffer: *mut gptq_buffer);

    /// Loads a folder: config.json, tokenizer files and safetensors weights: F32, F16, BF16, or
    /// quantized as GPTQ v1 and v2, AWQ (GEMM, GEMV), Marlin or compressed-tensors
    /// ("pack-quantized"). Everything is checked before it is used: each tensor must be one that
    /// the architecture has, of its shape.
    ///
    /// - `path`: the folder; with load_weights 0 also a GGUF file, of which nothing but the
    ///   tokenizer is read
    /// - `options`: scope "model", and a progress callback; NULL for the defaults
    /// - `out`: the model: immutable, to be used by any number of threads and sessions
    ///
    /// Returns [`GPTQ_OK`]; [`GPTQ_ERROR_NOT_FOUND`], _IO, _CORRUPT, _UNSUPPORTED (an architecture
    /// or option not known here), _OUT_OF_MEMORY, _CANCELLED.
    ///
    /// Since 0.1. Blocks. Owner: caller, [`gptq_model_free`]. Threads: any.
    pub fn gptq_model_load(
        path: *const c_char,
        options: *const gptq_options,
        out: *mut *mut gptq_model,
    ) -> gptq_status;

    /// Writes a quantized model in another format: from GPTQ v1 and v2, AWQ, Marlin and
    /// compressed-tensors to "gptq", "gptq_v2" or "compressed_tensors" with the same codes, to
    /// "dense" 16-bit or 32-bit weights of the values that they stand for, or to "gguf", a file for
    /// llama.cpp. Memory holds one module at a time. The output appears by one rename when all of
    /// it is on disk; until then, and after a failure or a cancel, there is none, or the old one.
    ///
    /// - `model_path`: the folder, for "dense" and "gguf" quantized or not; or, for "dense", a GGUF
    ///   file
    /// - `output_path`: the folder to make, for "gguf" the file; its parent must exist
    /// - `options`: scope "convert", and a progress callback, which may cancel; "format" must be
    ///   set
    ///
    /// Returns [`GPTQ_OK`]; as [`gptq_model_load`]; [`GPTQ_ERROR_INVALID_ARGUMENT`] without a
    /// format, and for a weight beyond "gguf_type"; _UNSUPPORTED for a model that is not quantized,
    /// unless for "dense" or "gguf", and for what the format can't hold: zero points of 0 beside
    /// codes at the top in "gptq", inputs in activation order and groups that do not divide the
    /// inputs in "compressed_tensors" (the message names the module; nothing is written then), in
    /// "gguf" what llama.cpp has not; _CORRUPT for a value too large for "dtype" = "f16"; _IO.
    ///
    /// Since 0.1. Blocks. Threads: any.
    pub fn gptq_model_convert(
        model_path: *const c_char,
        output_path: *const c_char,
        options: *const gptq_options,
    ) -> gptq_status;

    /// Drops the caller's hold; sessions keep the model alive until they go.
    ///
    /// Since 0.1. Threads: any.
    pub fn gptq_model_free(model: *mut gptq_model);

    /// One more hold, to be given back with [`gptq_model_free`].
    ///
    /// Since 0.1. Threads: any.
    pub fn gptq_model_retain(model: *const gptq_model) -> gptq_status;

    /// A number about the model: "n_layer", "hidden_size", "vocab_size", "context_length",
    /// "context_limit" (most that a session may be given: rotary positions can go beyond
    /// context_length, learned ones not), "n_head", "n_kv_head", "head_dim", "parameters" (of
    /// embedding, head and Linears, without norms, biases and positions), "quantized" (0 or 1),
    /// "bits" (of the quantized modules, 0 if none), "group_size" (-1: one group; 0 if none),
    /// "sym", "desc_act", "weight_bytes" (held or mapped, on all devices), "weight_bytes_per_token"
    /// (read to decode one token), "bos_token_id", "eos_token_id" (the first; -1 if none),
    /// "threads". "parameters" and the bytes are 0 where load_weights is 0.
    ///
    /// Returns [`GPTQ_ERROR_NOT_FOUND`] for another key (the message names the nearest)
    ///
    /// Since 0.1.
    pub fn gptq_model_get_int(
        model: *const gptq_model,
        key: *const c_char,
        out: *mut i64,
    ) -> gptq_status;

    /// A text about the model, good as long as the model: "family", "architecture", "path",
    /// "device" (several with " + " between, each by its name: "cuda:0 (...) + cpu (...)"),
    /// "layer_split" (the layers of each, "20,12"; "" where load_weights is 0), "dtype",
    /// "quantization" ("gptq 4-bit g128 sym", with "awq", "marlin" or "compressed-tensors" for
    /// others; or "").
    ///
    /// Returns [`GPTQ_ERROR_NOT_FOUND`] for another key; \*out is then NULL.
    ///
    /// Since 0.1.
    pub fn gptq_model_get_string(
        model: *const gptq_model,
        key: *const c_char,
        out: *mut *const c_char,
    ) -> gptq_status;

    /// All of the above as one JSON object; of a folder without config.json, what is known without
    /// it.
    ///
    /// Since 0.1. Owner: caller, [`gptq_buffer_free`].
    pub fn gptq_model_metadata_json(
        model: *const gptq_model,
        out_json: *mut *mut gptq_buffer,
    ) -> gptq_status;

    /// Text to ids.
    ///
    /// - `flags`: `GPTQ_TOKENIZE_*`, combined with |
    /// - `out_ids`: int32_t ids; [`gptq_buffer_size`] / 4 of them
    ///
    /// Invalid UTF-8 counts as U+FFFD.
    ///
    /// Since 0.1. Owner: caller, [`gptq_buffer_free`].
    pub fn gptq_model_tokenize(
        model: *const gptq_model,
        text: *const c_char,
        len: i64,
        flags: i32,
        out_ids: *mut *mut gptq_buffer,
    ) -> gptq_status;

    /// Ids to text, always valid UTF-8.
    ///
    /// - `flags`: `GPTQ_DETOKENIZE_*`
    ///
    /// Returns [`GPTQ_ERROR_INVALID_ARGUMENT`] for an id that no token has.
    ///
    /// Since 0.1. Owner: caller, [`gptq_buffer_free`].
    pub fn gptq_model_detokenize(
        model: *const gptq_model,
        ids: *const i32,
        count: i64,
        flags: i32,
        out_text: *mut *mut gptq_buffer,
    ) -> gptq_status;

    /// The token's own spelling, as in the vocabulary.
    ///
    /// Returns [`GPTQ_ERROR_NOT_FOUND`] for an id without a token.
    ///
    /// Since 0.1. Owner: caller, [`gptq_buffer_free`].
    pub fn gptq_model_token_text(
        model: *const gptq_model,
        id: i32,
        out_text: *mut *mut gptq_buffer,
    ) -> gptq_status;

    /// The id of "bos", "eos", or of a token by its own spelling.
    ///
    /// Returns [`GPTQ_ERROR_NOT_FOUND`] if there is none; \*out_id is then -1.
    ///
    /// Since 0.1.
    pub fn gptq_model_special_token(
        model: *const gptq_model,
        name: *const c_char,
        out_id: *mut i32,
    ) -> gptq_status;

    /// 1 if generation ends at this id, else 0: the "eos_token_id" of generation_config.json, else
    /// of config.json, and the special token that the chat template writes after an answer, where
    /// there is one.
    ///
    /// Since 0.1.
    pub fn gptq_model_is_end_of_generation(model: *const gptq_model, id: i32) -> i32;

    /// The text that the model's chat template makes of messages. The template is a program in the
    /// language Jinja from the folder (chat_template.jinja, or "chat_template" in
    /// tokenizer_config.json), which runs as in transformers, within limits on steps, depth and
    /// memory.
    ///
    /// - `json`: the chat: an array of messages as OpenAI has them, \[{"role": "user", "content":
    ///   "Hi"}, ...\]; or an object with "messages", and any of "tools", "add_generation_prompt"
    ///   (true: end in what begins the assistant's answer; default false), "chat_template" (one of
    ///   the folder's by name, or a template itself) and further variables of the template, which
    ///   win over the tokenizer's "bos_token" and so on
    ///
    /// Returns [`GPTQ_ERROR_CORRUPT`] for ill-formed JSON or a text that is no template;
    /// _INVALID_ARGUMENT where the template refuses these messages, with its line and message;
    /// _NOT_FOUND where the folder has no template (of this name); _UNSUPPORTED for what no chat
    /// template does, and above a limit.
    ///
    /// Since 0.1. Owner: caller, [`gptq_buffer_free`].
    pub fn gptq_model_apply_chat_template(
        model: *const gptq_model,
        json: *const c_char,
        len: i64,
        out_text: *mut *mut gptq_buffer,
    ) -> gptq_status;

    /// The same as ids, for [`gptq_session_append_tokens`]. Special tokens come from the template
    /// alone: what messages, tools and documents spell out stays text, unless flags say otherwise.
    /// No beginning-of-text token is added to the template's.
    ///
    /// - `flags`: 0 or [`GPTQ_TOKENIZE_PARSE_SPECIAL`]
    /// - `out_ids`: int32_t ids; [`gptq_buffer_size`] / 4 of them
    ///
    /// Since 0.1. Owner: caller, [`gptq_buffer_free`].
    pub fn gptq_model_tokenize_chat(
        model: *const gptq_model,
        json: *const c_char,
        len: i64,
        flags: i32,
        out_ids: *mut *mut gptq_buffer,
    ) -> gptq_status;

    /// How the makers of the model mean it to be sampled, from generation_config.json, as JSON for
    /// [`gptq_options_set_json`]: {"temperature": 0.6, "top_k": 50, "top_p": 0.9}; {} where it does
    /// not say. [`gptq_session_begin`] does not look at it.
    ///
    /// Since 0.1. Owner: caller, [`gptq_buffer_free`].
    pub fn gptq_model_sampling_defaults(
        model: *const gptq_model,
        out_json: *mut *mut gptq_buffer,
    ) -> gptq_status;

    /// A conversation with a model: token history, key/value cache (memory grows with use) and
    /// sampler.
    ///
    /// - `options`: scope "session"; NULL for the defaults
    ///
    /// Since 0.1. Owner: caller, [`gptq_session_free`]. Threads: any.
    pub fn gptq_session_create(
        model: *const gptq_model,
        options: *const gptq_options,
        out: *mut *mut gptq_session,
    ) -> gptq_status;

    /// Since 0.1.
    pub fn gptq_session_free(session: *mut gptq_session);

    /// Back to an empty history; the memory of the cache is given back.
    ///
    /// Since 0.1. Threads: exclusive.
    pub fn gptq_session_reset(session: *mut gptq_session) -> gptq_status;

    /// Adds text to the history; it is processed by the next begin or prefill. Text that starts a
    /// history gets the tokenizer's special tokens ([`GPTQ_TOKENIZE_ADD_SPECIAL`]); special tokens
    /// written in it stay text: a chat's own markers go through [`gptq_model_tokenize`] with
    /// [`GPTQ_TOKENIZE_PARSE_SPECIAL`] and [`gptq_session_append_tokens`]. Appending ends a
    /// generation that is under way.
    ///
    /// Returns [`GPTQ_ERROR_CONTEXT_FULL`] when it does not fit; the history is then as before.
    ///
    /// Since 0.1. Threads: exclusive.
    pub fn gptq_session_append_text(
        session: *mut gptq_session,
        text: *const c_char,
        len: i64,
    ) -> gptq_status;

    /// Adds ids as they are.
    ///
    /// Returns [`GPTQ_ERROR_INVALID_ARGUMENT`] for an id outside the vocabulary, _CONTEXT_FULL when
    /// they do not fit; the history is then as before.
    ///
    /// Since 0.1. Threads: exclusive.
    pub fn gptq_session_append_tokens(
        session: *mut gptq_session,
        ids: *const i32,
        count: i64,
    ) -> gptq_status;

    /// Processes the appended tokens now, without generating, and ends a generation that is under
    /// way.
    ///
    /// - `logits`: which to keep for [`gptq_session_logits`]: none, those after the last token, or
    ///   after each token of this call (tokens x vocabulary floats: append in pieces to bound the
    ///   memory)
    ///
    /// Returns [`GPTQ_OK`]; [`GPTQ_ERROR_CANCELLED`], _OUT_OF_MEMORY, _DEVICE: the cache is then as
    /// before this call, and the tokens are still pending; _BAD_STATE when nothing is pending.
    ///
    /// Since 0.1. Blocks. Threads: exclusive.
    pub fn gptq_session_prefill(session: *mut gptq_session, logits: i32) -> gptq_status;

    /// Starts a generation: processes the appended tokens, if there are any, and sets up the
    /// sampler. After a generation it starts the next one where the history ends, with a fresh
    /// sampler.
    ///
    /// - `options`: scope "generation", and a progress callback for the prompt; NULL for the
    ///   defaults
    ///
    /// Returns as [`gptq_session_prefill`]; [`GPTQ_ERROR_BAD_STATE`] when the history is empty,
    /// [`GPTQ_ERROR_UNSUPPORTED`] with texts to stop at where the model has no tokenizer.
    ///
    /// Since 0.1. Blocks. Threads: exclusive.
    pub fn gptq_session_begin(
        session: *mut gptq_session,
        options: *const gptq_options,
    ) -> gptq_status;

    /// Advances generation by one chunk: a token, and the text that it completes.
    ///
    /// - `session`: after [`gptq_session_begin`]. Exclusive: one thread at a time; only
    ///   [`gptq_session_cancel`] may overlap
    ///
    /// Returns
    ///
    /// - [`GPTQ_OK`]: a chunk is ready: [`gptq_session_text`], [`gptq_session_token`]
    /// - [`GPTQ_DONE`]: finished, and so until the next begin; see [`gptq_session_finish_reason`].
    ///   The history keeps what was generated, without the end-of-text token, but with all tokens
    ///   up to the one that completed a text of "stop", in [`gptq_session_token`] as well. To leave
    ///   them out, [`gptq_session_reset`], and append what is to stay
    /// - [`GPTQ_ERROR_CANCELLED`], _OUT_OF_MEMORY, _DEVICE, _BUSY: the history is as before this
    ///   call; _BAD_STATE without a begin
    ///
    /// A chunk is valid UTF-8, and empty while a character is incomplete or may be part of a text
    /// of "stop".
    ///
    /// Since 0.1. Blocks. Threads: exclusive.
    pub fn gptq_session_step(session: *mut gptq_session) -> gptq_status;

    /// Advances the generations of several sessions of one model by one chunk each, as
    /// [`gptq_session_step`] of each would, but their tokens go through the model together: weights
    /// are read once for all of them, so that eight sessions get several times the tokens of one
    /// (docs/performance.md says how many). Any sessions at each call, wherever in their texts: one
    /// that has ended may leave, another one that has begun may come. Prompts are for
    /// [`gptq_session_begin`], which may run on another thread meanwhile, or come in pieces by
    /// [`gptq_session_prefill`] between steps. With compute "exact", text is that of a session
    /// alone but for the last bits of sums; with "fast", and on GPUs, many sessions together are
    /// rounded as the tokens of a prompt are, so that a text may depend on how many there were.
    ///
    /// - `sessions`: `count` of them, none twice. The pass takes working memory of one of them,
    ///   which keeps it
    /// - `statuses`: of each what [`gptq_session_step`] would return: [`GPTQ_OK`], [`GPTQ_DONE`] or
    ///   its own failure, whose text [`gptq_session_error_message`] has. One that has failed may
    ///   stay: the next call tries again. [`gptq_session_cancel`] of one ends its step alone; the
    ///   call returns when the others' is done
    ///
    /// Returns
    ///
    /// - [`GPTQ_OK`]: one session at least has a chunk
    /// - [`GPTQ_DONE`]: none has: each is finished or has failed, as its status says; also for a
    ///   count of 0
    /// - [`GPTQ_ERROR_BUSY`] where another thread is inside one, _INVALID_ARGUMENT for NULL, one
    ///   twice, or several models, _OUT_OF_MEMORY: none has taken a step, and all of `statuses` are
    ///   this
    ///
    /// Since 0.1. Blocks. Threads: exclusive, for each of the sessions.
    pub fn gptq_session_step_all(
        sessions: *const *mut gptq_session,
        count: i64,
        statuses: *mut gptq_status,
    ) -> gptq_status;

    /// Ends the call that is running on this session, prefill included, within 50 ms, or when other
    /// sessions have taken their step ([`gptq_session_step_all`]); if none is, the next one. The
    /// session stays usable. Sets a flag and no more: a signal handler may call it.
    ///
    /// Since 0.1. Threads: any.
    pub fn gptq_session_cancel(session: *const gptq_session) -> gptq_status;

    /// Forgets a cancel that came too late for the call it was meant for, so that the next call
    /// runs.
    ///
    /// Since 0.1. Threads: any.
    pub fn gptq_session_clear_cancel(session: *const gptq_session) -> gptq_status;

    /// Text of the last failure on this session; "" if none. Good until the next call on it. Unlike
    /// [`gptq_last_error_message`] it may be read on another thread, once the call has returned.
    ///
    /// Since 0.1.
    pub fn gptq_session_error_message(session: *const gptq_session) -> *const c_char;

    /// Text of the last chunk: NUL-terminated valid UTF-8, good until the next call on this
    /// session; "" if none. A chunk that holds U+0000 has it inside: ask
    /// [`gptq_session_text_size`].
    ///
    /// Since 0.1.
    pub fn gptq_session_text(session: *const gptq_session) -> *const c_char;

    /// Its size in bytes.
    ///
    /// Since 0.1.
    pub fn gptq_session_text_size(session: *const gptq_session) -> i64;

    /// Id of the last chunk's token; -1 if there is none (a chunk that only completes held-back
    /// text).
    ///
    /// Since 0.1.
    pub fn gptq_session_token(session: *const gptq_session) -> i32;

    /// Why the last generation ended: "stop" (an end-of-text token, or a text of the option
    /// "stop"), "length" (max_tokens), "context" (the context is full), "cancelled"; "" while it
    /// has not. Static.
    ///
    /// Since 0.1.
    pub fn gptq_session_finish_reason(session: *const gptq_session) -> *const c_char;

    /// Logits kept by the last prefill or step, before sampling settings.
    ///
    /// - `out`: floats \[rows\]\[vocab_size\]; one row after begin or step
    ///
    /// Returns [`GPTQ_ERROR_BAD_STATE`] when none were kept.
    ///
    /// Since 0.1. Owner: caller, [`gptq_buffer_free`].
    pub fn gptq_session_logits(
        session: *const gptq_session,
        out: *mut *mut gptq_buffer,
    ) -> gptq_status;

    /// Number of tokens in the history, pending ones included.
    ///
    /// Since 0.1.
    pub fn gptq_session_token_count(session: *const gptq_session) -> i64;

    /// A figure since creation or reset: "prefill_tokens", "prefill_seconds",
    /// "prefill_tokens_per_second", "decode_tokens", "decode_seconds", "decode_tokens_per_second",
    /// "cache_bytes". The first token of a generation comes from the prompt's logits: it counts
    /// among the tokens, but not in the seconds and the rate. A step with other sessions counts its
    /// whole time for each.
    ///
    /// Returns [`GPTQ_ERROR_NOT_FOUND`] for another key.
    ///
    /// Since 0.1.
    pub fn gptq_session_get_stat(
        session: *const gptq_session,
        key: *const c_char,
        out: *mut f64,
    ) -> gptq_status;

    /// A job that quantizes a folder's Linear layers with GPTQ (arXiv 2210.17323) and writes a
    /// folder that transformers, GPTQModel and vLLM load. Weights are read one layer at a time. The
    /// output folder appears by one rename when all of it is on disk; until then, and after a
    /// failure, a cancel or a crash, there is none, or the old one where "overwrite" is 1. A layer
    /// that is finished is on disk, in the hidden folder ".NAME.unfinished" beside the output. The
    /// next job with the same model, options, calibration and output goes on after it, with any
    /// number of threads on a machine with the same instruction sets, or on a GPU of the same kind
    /// with the same cuBLAS and cuSOLVER as long as they refuse nothing, and comes to the same
    /// bytes ("max_shard_size", "memory_limit", "report", "overwrite" and "resume" may differ);
    /// another job for that output is refused while the folder is there, the message naming what is
    /// different. See "resume" to start anew instead, or to leave nothing. Folder and output
    /// together take about twice the output's size.
    ///
    /// - `model_path`: a 16-bit or 32-bit model folder
    /// - `output_path`: the folder to make; its parent must exist
    /// - `options`: scopes "model" and "quantizer", and a progress callback; NULL for the defaults
    ///
    /// Returns [`GPTQ_OK`]; as [`gptq_model_load`]; [`GPTQ_ERROR_IO`] when the output exists (see
    /// "overwrite"), can't be made, or has the unfinished work of another job (see "resume");
    /// [`GPTQ_ERROR_BUSY`] when another job makes it right now: all are noticed here, before any
    /// work.
    ///
    /// Since 0.1. Owner: caller, [`gptq_quantizer_free`]. Threads: any.
    pub fn gptq_quantizer_create(
        model_path: *const c_char,
        output_path: *const c_char,
        options: *const gptq_options,
        out: *mut *mut gptq_quantizer,
    ) -> gptq_status;

    /// An unfinished job ends; its finished layers stay for the next (see "resume").
    ///
    /// Since 0.1.
    pub fn gptq_quantizer_free(quantizer: *mut gptq_quantizer);

    /// Calibration text, or several in JSON (calibration_format): all texts, one after another
    /// (calibration_packing), are tokenized and cut into consecutive sequences of
    /// calibration_length tokens, of which the first calibration_samples are taken, or that many at
    /// random where a seed is set; less text than one sequence is taken as it is. Nothing is
    /// padded. Sequences of tokens in JSON go first, as they are, the first calibration_samples of
    /// them or as many at random; text fills up what is left. The report counts those left out.
    /// Without any calibration the model writes its own: sequences sampled at temperature 1 from
    /// its beginning-of-text token.
    ///
    /// Returns [`GPTQ_ERROR_CORRUPT`] for ill-formed UTF-8 or JSON and for tokens that the model
    /// lacks, naming byte or line; for {"messages": ...} also as
    /// [`gptq_model_apply_chat_template`]; [`GPTQ_ERROR_BAD_STATE`] after the first step.
    ///
    /// Since 0.1. Threads: exclusive.
    pub fn gptq_quantizer_add_calibration_text(
        quantizer: *mut gptq_quantizer,
        text: *const c_char,
        len: i64,
    ) -> gptq_status;

    /// One calibration sequence, taken as it is, besides those that come as text, whatever
    /// calibration_samples is.
    ///
    /// Returns [`GPTQ_ERROR_INVALID_ARGUMENT`] for an id outside the vocabulary, none, or more than
    /// the model's context; [`GPTQ_ERROR_BAD_STATE`] after the first step.
    ///
    /// Since 0.1. Threads: exclusive.
    pub fn gptq_quantizer_add_calibration_tokens(
        quantizer: *mut gptq_quantizer,
        ids: *const i32,
        count: i64,
    ) -> gptq_status;

    /// One unit of work: preparing the calibration, then a layer a call, then the closing of the
    /// output.
    ///
    /// Returns [`GPTQ_OK`]; [`GPTQ_DONE`] when the output folder is complete;
    /// [`GPTQ_ERROR_CANCELLED`], _IO, _CORRUPT, _OUT_OF_MEMORY, _INVALID_ARGUMENT (text of fewer
    /// than two tokens, or no calibration for a model that names no token to begin with, a
    /// memory_limit too small): the job is then over and leaves no output; further steps give
    /// _BAD_STATE. [`GPTQ_ERROR_IO`] also where the calibration is not that of the work to go on
    /// with.
    ///
    /// Since 0.1. Blocks. Threads: exclusive.
    pub fn gptq_quantizer_step(quantizer: *mut gptq_quantizer) -> gptq_status;

    /// Steps until the end: [`GPTQ_OK`] (not [`GPTQ_DONE`]) when the output folder is complete,
    /// else the failing step's status.
    ///
    /// Since 0.1. Blocks. Threads: exclusive.
    pub fn gptq_quantizer_run(quantizer: *mut gptq_quantizer) -> gptq_status;

    /// Ends the step that is running, or the next one, and with it the job. Sets a flag and no
    /// more: a signal handler may call it.
    ///
    /// Since 0.1. Threads: any.
    pub fn gptq_quantizer_cancel(quantizer: *const gptq_quantizer) -> gptq_status;

    /// How far the job is; may be asked while another thread steps: "progress" (0 to 1), "layer"
    /// (being quantized, counted from 1; 0 before the first), "n_layer", "seconds" (since the first
    /// step), "seconds_left" (an estimate; -1 while there is none), "layers_kept" (on disk, for the
    /// next job to go on after, also when this one has failed).
    ///
    /// Returns [`GPTQ_ERROR_NOT_FOUND`] for another key.
    ///
    /// Since 0.1. Threads: any.
    pub fn gptq_quantizer_get_stat(
        quantizer: *const gptq_quantizer,
        key: *const c_char,
        out: *mut f64,
    ) -> gptq_status;

    /// Text of the last failure of this job; "" if none. Good until the next call on it.
    ///
    /// Since 0.1.
    pub fn gptq_quantizer_error_message(quantizer: *const gptq_quantizer) -> *const c_char;

    /// What was done so far, as JSON: {"model", "options": ..., "calibration": {"source",
    /// "documents", "too_short", "left_out", "sequences", "tokens"}, "modules": \[{"name", "bits",
    /// "group_size", "weights", "bits_per_weight", "loss", "relative_error", "damp", "method",
    /// "seconds", "memory", "scales", "note"}, ...\], "warnings": \[text, ...\], "seconds": n,
    /// "planned": {"modules", "output_bytes", "peak_memory" (an estimate), "file_bytes" (of hidden
    /// states), "memory": \[{"name", "bytes"} of the parts of peak_memory, ...\]}}. loss is the
    /// squared output error per token; relative_error the same over the energy of the outputs, null
    /// where it is not known; memory the most bytes that the process has held; scales their least,
    /// first tenth, median, last tenth and largest.
    ///
    /// Since 0.1. Owner: caller, [`gptq_buffer_free`].
    pub fn gptq_quantizer_report_json(
        quantizer: *const gptq_quantizer,
        out_json: *mut *mut gptq_buffer,
    ) -> gptq_status;
}

#[cfg(test)]
pub(crate) fn functions() -> Vec<(&'static str, *const ())> {
    vec![
        ("gptq_version", gptq_version as *const ()),
        ("gptq_version_string", gptq_version_string as *const ()),
        ("gptq_has_feature", gptq_has_feature as *const ()),
        ("gptq_device_check", gptq_device_check as *const ()),
        ("gptq_build_info", gptq_build_info as *const ()),
        ("gptq_status_name", gptq_status_name as *const ()),
        ("gptq_last_error_code", gptq_last_error_code as *const ()),
        ("gptq_last_error_message", gptq_last_error_message as *const ()),
        ("gptq_clear_error", gptq_clear_error as *const ()),
        ("gptq_set_log_callback", gptq_set_log_callback as *const ()),
        ("gptq_set_log_level", gptq_set_log_level as *const ()),
        ("gptq_options_create", gptq_options_create as *const ()),
        ("gptq_options_free", gptq_options_free as *const ()),
        ("gptq_options_set_int", gptq_options_set_int as *const ()),
        ("gptq_options_set_float", gptq_options_set_float as *const ()),
        ("gptq_options_set_string", gptq_options_set_string as *const ()),
        ("gptq_options_add_string", gptq_options_add_string as *const ()),
        ("gptq_options_set_json", gptq_options_set_json as *const ()),
        ("gptq_options_get_json", gptq_options_get_json as *const ()),
        ("gptq_options_set_progress", gptq_options_set_progress as *const ()),
        ("gptq_options_set_executor", gptq_options_set_executor as *const ()),
        ("gptq_options_reset", gptq_options_reset as *const ()),
        ("gptq_option_count", gptq_option_count as *const ()),
        ("gptq_option_describe", gptq_option_describe as *const ()),
        ("gptq_buffer_data", gptq_buffer_data as *const ()),
        ("gptq_buffer_size", gptq_buffer_size as *const ()),
        ("gptq_buffer_free", gptq_buffer_free as *const ()),
        ("gptq_model_load", gptq_model_load as *const ()),
        ("gptq_model_convert", gptq_model_convert as *const ()),
        ("gptq_model_free", gptq_model_free as *const ()),
        ("gptq_model_retain", gptq_model_retain as *const ()),
        ("gptq_model_get_int", gptq_model_get_int as *const ()),
        ("gptq_model_get_string", gptq_model_get_string as *const ()),
        ("gptq_model_metadata_json", gptq_model_metadata_json as *const ()),
        ("gptq_model_tokenize", gptq_model_tokenize as *const ()),
        ("gptq_model_detokenize", gptq_model_detokenize as *const ()),
        ("gptq_model_token_text", gptq_model_token_text as *const ()),
        ("gptq_model_special_token", gptq_model_special_token as *const ()),
        ("gptq_model_is_end_of_generation", gptq_model_is_end_of_generation as *const ()),
        ("gptq_model_apply_chat_template", gptq_model_apply_chat_template as *const ()),
        ("gptq_model_tokenize_chat", gptq_model_tokenize_chat as *const ()),
        ("gptq_model_sampling_defaults", gptq_model_sampling_defaults as *const ()),
        ("gptq_session_create", gptq_session_create as *const ()),
        ("gptq_session_free", gptq_session_free as *const ()),
        ("gptq_session_reset", gptq_session_reset as *const ()),
        ("gptq_session_append_text", gptq_session_append_text as *const ()),
        ("gptq_session_append_tokens", gptq_session_append_tokens as *const ()),
        ("gptq_session_prefill", gptq_session_prefill as *const ()),
        ("gptq_session_begin", gptq_session_begin as *const ()),
        ("gptq_session_step", gptq_session_step as *const ()),
        ("gptq_session_step_all", gptq_session_step_all as *const ()),
        ("gptq_session_cancel", gptq_session_cancel as *const ()),
        ("gptq_session_clear_cancel", gptq_session_clear_cancel as *const ()),
        ("gptq_session_error_message", gptq_session_error_message as *const ()),
        ("gptq_session_text", gptq_session_text as *const ()),
        ("gptq_session_text_size", gptq_session_text_size as *const ()),
        ("gptq_session_token", gptq_session_token as *const ()),
        ("gptq_session_finish_reason", gptq_session_finish_reason as *const ()),
        ("gptq_session_logits", gptq_session_logits as *const ()),
        ("gptq_session_token_count", gptq_session_token_count as *const ()),
        ("gptq_session_get_stat", gptq_session_get_stat as *const ()),
        ("gptq_quantizer_create", gptq_quantizer_create as *const ()),
        ("gptq_quantizer_free", gptq_quantizer_free as *const ()),
        ("gptq_quantizer_add_calibration_text", gptq_quantizer_add_calibration_text as *const ()),
        ("gptq_quantizer_add_calibration_tokens", gptq_quantizer_add_calibration_tokens as *const ()),
        ("gptq_quantizer_step", gptq_quantizer_step as *const ()),
        ("gptq_quantizer_run", gptq_quantizer_run as *const ()),
        ("gptq_quantizer_cancel", gptq_quantizer_cancel as *const ()),
        ("gptq_quantizer_get_stat", gptq_quantizer_get_stat as *const ()),
        ("gptq_quantizer_error_message", gptq_quantizer_error_message as *const ()),
        ("gptq_quantizer_report_json", gptq_quantizer_report_json as *const ()),
    ]
}

#[cfg(test)]
pub(crate) fn errors() -> Vec<(&'static str, gptq_status)> {
    vec![
        ("GPTQ_ERROR_CANCELLED", GPTQ_ERROR_CANCELLED),
        ("GPTQ_ERROR_INVALID_ARGUMENT", GPTQ_ERROR_INVALID_ARGUMENT),
        ("GPTQ_ERROR_NOT_FOUND", GPTQ_ERROR_NOT_FOUND),
        ("GPTQ_ERROR_IO", GPTQ_ERROR_IO),
        ("GPTQ_ERROR_CORRUPT", GPTQ_ERROR_CORRUPT),
        ("GPTQ_ERROR_UNSUPPORTED", GPTQ_ERROR_UNSUPPORTED),
        ("GPTQ_ERROR_OUT_OF_MEMORY", GPTQ_ERROR_OUT_OF_MEMORY),
        ("GPTQ_ERROR_DEVICE", GPTQ_ERROR_DEVICE),
        ("GPTQ_ERROR_CONTEXT_FULL", GPTQ_ERROR_CONTEXT_FULL),
        ("GPTQ_ERROR_BUSY", GPTQ_ERROR_BUSY),
        ("GPTQ_ERROR_BAD_STATE", GPTQ_ERROR_BAD_STATE),
        ("GPTQ_ERROR_CALLBACK", GPTQ_ERROR_CALLBACK),
        ("GPTQ_ERROR_INTERNAL", GPTQ_ERROR_INTERNAL),
    ]
}

#[cfg(test)]
pub(crate) fn keys() -> Vec<(&'static str, &'static CStr)> {
    vec![
        ("GPTQ_KEY_DEVICE", GPTQ_KEY_DEVICE),
        ("GPTQ_KEY_LAYER_SPLIT", GPTQ_KEY_LAYER_SPLIT),
        ("GPTQ_KEY_THREADS", GPTQ_KEY_THREADS),
        ("GPTQ_KEY_COMPUTE", GPTQ_KEY_COMPUTE),
        ("GPTQ_KEY_HEAD_BITS", GPTQ_KEY_HEAD_BITS),
        ("GPTQ_KEY_LOAD_WEIGHTS", GPTQ_KEY_LOAD_WEIGHTS),
        ("GPTQ_KEY_MMAP", GPTQ_KEY_MMAP),
        ("GPTQ_KEY_CONTEXT_LENGTH", GPTQ_KEY_CONTEXT_LENGTH),
        ("GPTQ_KEY_KV_CACHE", GPTQ_KEY_KV_CACHE),
        ("GPTQ_KEY_MAX_TOKENS", GPTQ_KEY_MAX_TOKENS),
        ("GPTQ_KEY_TEMPERATURE", GPTQ_KEY_TEMPERATURE),
        ("GPTQ_KEY_TOP_K", GPTQ_KEY_TOP_K),
        ("GPTQ_KEY_TOP_P", GPTQ_KEY_TOP_P),
        ("GPTQ_KEY_MIN_P", GPTQ_KEY_MIN_P),
        ("GPTQ_KEY_REPETITION_PENALTY", GPTQ_KEY_REPETITION_PENALTY),
        ("GPTQ_KEY_SEED", GPTQ_KEY_SEED),
        ("GPTQ_KEY_IGNORE_EOS", GPTQ_KEY_IGNORE_EOS),
        ("GPTQ_KEY_STOP", GPTQ_KEY_STOP),
        ("GPTQ_KEY_BITS", GPTQ_KEY_BITS),
        ("GPTQ_KEY_GROUP_SIZE", GPTQ_KEY_GROUP_SIZE),
        ("GPTQ_KEY_SYM", GPTQ_KEY_SYM),
        ("GPTQ_KEY_ORDER", GPTQ_KEY_ORDER),
        ("GPTQ_KEY_STATIC_GROUPS", GPTQ_KEY_STATIC_GROUPS),
        ("GPTQ_KEY_DAMP_PERCENT", GPTQ_KEY_DAMP_PERCENT),
        ("GPTQ_KEY_DAMP_AUTO_INCREMENT", GPTQ_KEY_DAMP_AUTO_INCREMENT),
        ("GPTQ_KEY_RANGE", GPTQ_KEY_RANGE),
        ("GPTQ_KEY_MSE_NORM", GPTQ_KEY_MSE_NORM),
        ("GPTQ_KEY_TARGET", GPTQ_KEY_TARGET),
        ("GPTQ_KEY_TARGET_ALPHA", GPTQ_KEY_TARGET_ALPHA),
        ("GPTQ_KEY_RESIDUAL_ALPHA", GPTQ_KEY_RESIDUAL_ALPHA),
        ("GPTQ_KEY_SWEEPS", GPTQ_KEY_SWEEPS),
        ("GPTQ_KEY_REFIT", GPTQ_KEY_REFIT),
        ("GPTQ_KEY_COMPAT", GPTQ_KEY_COMPAT),
        ("GPTQ_KEY_TRUE_SEQUENTIAL", GPTQ_KEY_TRUE_SEQUENTIAL),
        ("GPTQ_KEY_CALIBRATION_SAMPLES", GPTQ_KEY_CALIBRATION_SAMPLES),
        ("GPTQ_KEY_CALIBRATION_LENGTH", GPTQ_KEY_CALIBRATION_LENGTH),
        ("GPTQ_KEY_CALIBRATION_PACKING", GPTQ_KEY_CALIBRATION_PACKING),
        ("GPTQ_KEY_CALIBRATION_FORMAT", GPTQ_KEY_CALIBRATION_FORMAT),
        ("GPTQ_KEY_FORMAT", GPTQ_KEY_FORMAT),
        ("GPTQ_KEY_MAX_SHARD_SIZE", GPTQ_KEY_MAX_SHARD_SIZE),
        ("GPTQ_KEY_MEMORY_LIMIT", GPTQ_KEY_MEMORY_LIMIT),
        ("GPTQ_KEY_LM_HEAD", GPTQ_KEY_LM_HEAD),
        ("GPTQ_KEY_DYNAMIC", GPTQ_KEY_DYNAMIC),
        ("GPTQ_KEY_REPORT", GPTQ_KEY_REPORT),
        ("GPTQ_KEY_OVERWRITE", GPTQ_KEY_OVERWRITE),
        ("GPTQ_KEY_RESUME", GPTQ_KEY_RESUME),
        ("GPTQ_KEY_DTYPE", GPTQ_KEY_DTYPE),
        ("GPTQ_KEY_GGUF_TYPE", GPTQ_KEY_GGUF_TYPE),
    ]
}
