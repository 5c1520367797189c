/* gptq.h - quantize language models with GPTQ and run them, in any process, without Python.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * A Hugging Face model folder goes in; a GPTQ folder that transformers, GPTQModel and vLLM load comes out; text
 * streams from either. This header is the whole interface and its manual.
 *
 *   gptq_model *m; gptq_session *s; gptq_options *o; gptq_status st;
 *   gptq_options_create(&o);
 *   gptq_options_set_float(o, GPTQ_KEY_TEMPERATURE, 0.7);
 *   if (gptq_model_load("qwen-gptq", NULL, &m) || gptq_session_create(m, NULL, &s)) {
 *     fprintf(stderr, "%s\n", gptq_last_error_message());
 *     return 1;
 *   }
 *   gptq_session_append_text(s, "Hello", -1);
 *   for (st = gptq_session_begin(s, o); !st && !(st = gptq_session_step(s));) fputs(gptq_session_text(s), stdout);
 *   if (st < 0) fprintf(stderr, "%s\n", gptq_session_error_message(s));
 *   gptq_session_free(s); gptq_model_free(m); gptq_options_free(o);
 *
 * Rules that hold for every function:
 * - Errors. A function that can fail returns a gptq_status: 0 on success, negative on failure, positive for a
 *   success that says more (GPTQ_DONE). gptq_last_error_message() then says what, where, what was found and what
 *   was wanted. Treat a negative number that you do not know as a failure.
 * - Outputs come last, and are set to NULL or 0 when the function fails. A NULL argument where a handle, a text or
 *   an output is needed gives GPTQ_ERROR_INVALID_ARGUMENT.
 * - Text is UTF-8, given as pointer and length in bytes; a negative length means NUL-terminated.
 * - Ownership. A handle from `_create`, `_load` or `**out` is the caller's, and goes back through its `_free`.
 *   Freeing NULL does nothing. Handles may be freed in any order: what depends on another keeps it alive.
 *   A returned `const char *` is borrowed; each function says how long it is good.
 * - Threads. A function that takes a `const` handle may be called on it by several threads at once. One that takes
 *   a non-const handle needs the handle for itself meanwhile; a session or quantizer that is entered twice returns
 *   GPTQ_ERROR_BUSY.
 * - The library never prints, never ends the process, installs no signal handler, changes no locale, and lets no
 *   exception out. There is nothing to initialize and nothing to shut down.
 */
#ifndef GPTQ_H
#define GPTQ_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifdef SWIG
#define GPTQ_API
#elif defined(__GNUC__)
#define GPTQ_API __attribute__((visibility("default")))
#else
#define GPTQ_API
#endif

/* ---- Version ---------------------------------------------------------------------------------------------- */

#define GPTQ_VERSION_MAJOR 0 /* of this header; gptq_version() tells that of the library */
#define GPTQ_VERSION_MINOR 1 /* may add functions, keys and statuses */
#define GPTQ_VERSION_PATCH 0 /* changes no interface */

/* ---- Types ------------------------------------------------------------------------------------------------ */

/** 0, a positive GPTQ_DONE, or a negative GPTQ_ERROR_*. The numbers never change. */
typedef int32_t gptq_status;

#define GPTQ_OK 0                       /* done as asked */
#define GPTQ_DONE 1                     /* nothing more to do: the end of a generation or of a job */
#define GPTQ_ERROR_CANCELLED (-1)       /* a cancel function or a progress callback asked for it */
#define GPTQ_ERROR_INVALID_ARGUMENT (-2) /* NULL, an unknown key, a value out of its bounds */
#define GPTQ_ERROR_NOT_FOUND (-3)       /* a file, tensor or key that is not there */
#define GPTQ_ERROR_IO (-4)              /* the system refused: permission, full disk, output exists */
#define GPTQ_ERROR_CORRUPT (-5)         /* a file contradicts its format or itself */
#define GPTQ_ERROR_UNSUPPORTED (-6)     /* valid, but not known here, or above a limit */
#define GPTQ_ERROR_OUT_OF_MEMORY (-7)   /* the machine has no more, or the process may have no more */
#define GPTQ_ERROR_DEVICE (-8)          /* a fault of the GPU or its driver */
#define GPTQ_ERROR_CONTEXT_FULL (-9)    /* more tokens than the session's context holds */
#define GPTQ_ERROR_BUSY (-10)           /* another thread is inside this handle; another job makes this output */
#define GPTQ_ERROR_BAD_STATE (-11)      /* out of order: a step before begin, for example */
#define GPTQ_ERROR_CALLBACK (-12)       /* a callback misbehaved */
#define GPTQ_ERROR_INTERNAL (-99)       /* a fault of this library: please report it */

typedef struct gptq_options gptq_options;     /* settings by key */
typedef struct gptq_buffer gptq_buffer;       /* bytes that the library hands out */
typedef struct gptq_model gptq_model;         /* weights and tokenizer; immutable, shared by threads */
typedef struct gptq_session gptq_session;     /* one conversation: cache, sampler, text */
typedef struct gptq_quantizer gptq_quantizer; /* one quantization job */

/** Called now and then during long calls, on the calling thread.
 *  @param done, total  units of work; total is 0 while unknown
 *  @param stage        what is being done: "load", "calibrate", "layer 3/32", and with what was done last in it,
 *                      "layer 3/32: mlp.up_proj, loss 0.0123" (per token); good during the call
 *  @return 0 to go on; anything else cancels (GPTQ_ERROR_CANCELLED) */
typedef int32_t (*gptq_progress_fn)(void *user_data, int64_t done, int64_t total, const char *stage);

/** A piece of the library's work, number `index`. */
typedef void (*gptq_task_fn)(void *context, int64_t index);
/** Runs work on threads of the host (gptq_options_set_executor()): calls task(context, i) once for each i from 0 to
 *  count - 1, on any threads and in any order, and returns when all calls have returned. Tasks take up to some 10 ms, wait
 *  for nothing and call nothing back. A model calls it once at a time; several models, and jobs, side by side. Nothing may
 *  be thrown through it. */
typedef void (*gptq_executor_fn)(void *user_data, int64_t count, gptq_task_fn task, void *context);

/** Messages of the library; it needs none to be read: what fails says so by its status.
 *  @param level  1 error, 2 warning, 3 information, 4 debugging
 *  @param text   NUL-terminated, `len` bytes; good during the call. May be called from any thread. */
typedef void (*gptq_log_fn)(void *user_data, int32_t level, const char *text, int64_t len);

/* ---- Library ---------------------------------------------------------------------------------------------- */

/** major * 1000000 + minor * 1000 + patch of the library at run time.  @since 0.1  @threadsafe any */
GPTQ_API int32_t gptq_version(void);
/** "0.1.0"; static.  @since 0.1  @threadsafe any */
GPTQ_API const char *gptq_version_string(void);
/** 1 if the library at run time has the feature: "cpu", "quantize", "cuda".  @since 0.1  @threadsafe any */
GPTQ_API int32_t gptq_has_feature(const char *name);
/** Whether there is a device to compute with: GPTQ_OK, or the error that a model would not load with, and a message that
 *  says what is missing.
 *  @param device  a value of GPTQ_KEY_DEVICE; of a list, all are looked at
 *  @return GPTQ_ERROR_NOT_FOUND or GPTQ_ERROR_UNSUPPORTED where the plugin of the library for such devices is not there or
 *          of another build; GPTQ_ERROR_DEVICE for a driver that is missing, too old or has no device;
 *          GPTQ_ERROR_INVALID_ARGUMENT for another name, or a number beyond the last
 *  @since 0.1  @threadsafe any */
GPTQ_API gptq_status gptq_device_check(const char *device);
/** Version, compiler and the instruction set in use, as one line of text for bug reports; static.
 *  @since 0.1  @threadsafe any */
GPTQ_API const char *gptq_build_info(void);
/** "GPTQ_ERROR_CORRUPT" and so on; static, never NULL.  @since 0.1  @threadsafe any */
GPTQ_API const char *gptq_status_name(gptq_status status);

/** Status of the last call on this thread that failed; GPTQ_OK if none has.  @since 0.1  @threadsafe any */
GPTQ_API gptq_status gptq_last_error_code(void);
/** Its text, good until the next failing call on this thread; "" if none. A message about bad input names file,
 *  tensor or key, what was found and what was wanted, and ends in the kind of fault in brackets: TRUNC, FORMAT,
 *  LIMIT, RANGE, MISMATCH, DUP, PATH, UNSUPPORTED, NUMERIC, IO, EXISTS or CHANGED.
 *  @since 0.1  @threadsafe any */
GPTQ_API const char *gptq_last_error_message(void);
/** Forgets both.  @since 0.1  @threadsafe any */
GPTQ_API void gptq_clear_error(void);

/** Sends messages to `callback`; NULL, the state at the start, drops them. One for the whole process. A call of the
 *  callback before that has begun on another thread may still be running when this returns.
 *  @since 0.1  @threadsafe any */
GPTQ_API void gptq_set_log_callback(gptq_log_fn callback, void *user_data);
/** Least urgent level to send, 1 to 4; 2 at the start.  @since 0.1  @threadsafe any */
GPTQ_API void gptq_set_log_level(int32_t level);

/* ---- Options ---------------------------------------------------------------------------------------------- */
/* One object may hold settings of every scope: each function takes those that it knows and leaves the rest. It
   copies them: the object may be changed or freed as soon as the function returns.                            */

/* Scope "model": gptq_model_load(), gptq_quantizer_create() */
#define GPTQ_KEY_DEVICE "device"             /* string: "cpu" (default), "cuda" or "cuda:N": the NVIDIA GPU number 0
      or N, by the plugin libgptq-cuda.so. It is looked for in the folder "gptq" beside the library, or beside the program
      where libgptq.a is part of it, or in the folder that GPTQ_PLUGIN_PATH of the environment names; it is opened when
      first asked for and stays until the process ends. A child made by fork() can't go on with a GPU that its parent has
      used. gptq_device_check() says why a device can't be used. Several, "cuda:0,cuda:1" or "cuda:0,cpu", for
      gptq_model_load(), 64 at most: the layers lie one behind the other on them, as GPTQ_KEY_LAYER_SPLIT says, so that a
      model can be larger than the memory of one. A token goes through one device after the other, and each keeps the keys
      and values of its layers; the options below go to each. One that is listed twice is one device. A quantizer takes one
      device */
#define GPTQ_KEY_LAYER_SPLIT "layer_split"   /* string, of gptq_model_load(): how many layers each of several devices
      gets, "20,12", 0 for none; they add up to the model's. "" (default): devices that can tell what memory they have
      free hold as much as they have room for, in proportion to it; what they don't hold goes to the first that can't, the
      CPU: "cuda:0,cpu" has the first layers on the GPU, "cpu,cuda:0" the last. Room is planned for the keys and values of
      "context_length" positions if that is among these options, else of at most 4096. Without a GPU all get as many. A GPU
      that gets none is warned of; of one that is listed twice the room counts where it comes first. More devices than
      layers need numbers. The embedding is on the first device that has layers, the output head on the last; one that is
      tied to it is on both */
#define GPTQ_KEY_THREADS "threads" /* int >= 0: 0 (default) takes all CPUs the process may use. Sessions of a model
      share them: one call at a time has all of them, calls beside it run on the threads that make them */
#define GPTQ_KEY_COMPUTE "compute" /* string: "exact" for fp32 throughout, or "fast" (default). On CPUs "fast" rounds the
      inputs of quantized weights to 8 bits, at most 128 inputs of a group to a scale, and keeps keys and values in fp16
      (beyond 65504: its largest number); with AMX or AVX-512 BF16 both sides of products of many tokens with other weights,
      of more than 512 outputs, are rounded to bf16 (2^-7 of each term). A quantizer rounds likewise in sums over calibration
      inputs, and, where most weights get at most 4 bits, in products with weights; with AMX its other products are within
      2^-15 of each term. On GPUs "fast" is all that there is: bf16 activations, sums in fp32 */
#define GPTQ_KEY_HEAD_BITS "head_bits" /* int 0 (default), 4 or 8, of gptq_model_load() alone: an unquantized output head is
      rounded to nearest, in groups of 128 inputs, as it is loaded. 8 costs next to nothing, 4 may cost more than quantizing
      the rest to 4 bits has. Where embedding and head are one tensor, the embedding stays beside it as it is: more memory,
      but fewer bytes that are read for each token */
#define GPTQ_KEY_LOAD_WEIGHTS "load_weights" /* int 0 or 1 (default): 0 reads tokenizer and configuration alone,
                                                for gptq_model_tokenize() and the like, also of architectures
                                                that are not known here; it can't make sessions */
#define GPTQ_KEY_MMAP "mmap"                 /* int 0 or 1 (default): 16-bit and 32-bit weights stay in the mapped
                                                file, which must not shrink meanwhile; 0 copies them */

/* Scope "session": gptq_session_create() */
#define GPTQ_KEY_CONTEXT_LENGTH "context_length" /* int >= 0: most tokens; 0 (default) takes the model's.
      gptq_model_load() on several devices plans their room with it */
#define GPTQ_KEY_KV_CACHE "kv_cache"         /* string: how keys and values are kept. "auto" (default): in fp32 where compute is
      "exact", in fp16 where it is "fast", in bf16 on GPUs. "int8": rounded to 8 bits, with a scale in fp32 for the key and
      one for the value of each position and head, largest magnitude / 127: little more than half of fp16's memory
      (docs/performance.md has what it costs). A key or value with a number that is not finite counts as NaN. Of sessions, not of models; on CPUs alone:
      gptq_session_create() returns GPTQ_ERROR_UNSUPPORTED where a model has layers elsewhere, and so does gptq_model_load(),
      before it reads weights, where it is among its options, too */

/* Scope "generation": gptq_session_begin() */
#define GPTQ_KEY_MAX_TOKENS "max_tokens"     /* int >= 0: most new tokens; 0 (default) until the end of the context */
#define GPTQ_KEY_TEMPERATURE "temperature"   /* float >= 0: 0 (default) takes the most likely token */
#define GPTQ_KEY_TOP_K "top_k"               /* int >= 0: keep the k most likely tokens; 0 (default) all */
#define GPTQ_KEY_TOP_P "top_p"               /* float in (0, 1]: keep the fewest tokens of this total; 1 (default) all */
#define GPTQ_KEY_MIN_P "min_p"               /* float in [0, 1]: drop tokens below this part of the best; 0 (default) */
#define GPTQ_KEY_REPETITION_PENALTY "repetition_penalty" /* float > 0: as CTRL, arXiv 1909.05858; 1 (default) none */
#define GPTQ_KEY_SEED "seed"                 /* int >= 0, default 0: equal seeds give equal text, so set another one
                                                for another text; also "quantizer" */
#define GPTQ_KEY_IGNORE_EOS "ignore_eos"     /* int 0 (default) or 1: go on after an end-of-text token */
#define GPTQ_KEY_STOP "stop" /* string, JSON: texts that end a generation where they come up in what it writes, as in
      ["\nUser:", "\n\n"], at most 64, of 1 to 4,096 bytes each; [] or "" (default) for none. gptq_options_add_string()
      adds one without JSON. Chunks hold what comes before the text that is complete first, and before the longest of
      several; what may be the beginning of one is held back until more has come, or comes with the last chunk (after a
      cancel, if the generation goes on). A text that is
      the name of a special token of the model, such as "<|im_end|>", ends it where that token comes.
      gptq_session_begin() returns GPTQ_ERROR_UNSUPPORTED where the model has no tokenizer */

/* Scope "quantizer": gptq_quantizer_create() */
#define GPTQ_KEY_BITS "bits"                 /* int: 2, 3, 4 (default) or 8 */
#define GPTQ_KEY_GROUP_SIZE "group_size"     /* int: -1 (one group) or >= 1 inputs share a scale; default 128.
                                                vLLM's fast kernels take -1, 32, 64 and 128 */
#define GPTQ_KEY_SYM "sym"                   /* int 0 or 1 (default): zero points fixed in the middle */
#define GPTQ_KEY_ORDER "order"               /* string: "none", "act" (by falling activation) or "gar" (default: the
                                                same inside groups and among them, at no cost when running) */
#define GPTQ_KEY_STATIC_GROUPS "static_groups" /* int 0 (default) or 1: ranges from the weights as they were */
#define GPTQ_KEY_DAMP_PERCENT "damp_percent" /* float in (0, 1), default 0.05: of the mean diagonal of the Hessian */
#define GPTQ_KEY_DAMP_AUTO_INCREMENT "damp_auto_increment" /* float in [0, 1), default 0.01: added until it factors */
#define GPTQ_KEY_RANGE "range" /* string: how the scale of a group is found: "hessian" (default: the range of least loss
      under the Hessian), "mse" (of least |error| to the power of mse_norm) or "minmax" (that of all its weights) */
#define GPTQ_KEY_MSE_NORM "mse_norm"         /* float in (0, 16], default 2.4: for range = "mse" */
#define GPTQ_KEY_TARGET "target" /* string: what the weights are to reproduce: "exact" (default: outputs of the
      unquantized model, arXiv 2504.09629), "gptaq" (likewise, column by column, arXiv 2504.02692) or "sequential" (the
      outputs that they would have on the inputs they get); the first two run the unquantized model, too */
#define GPTQ_KEY_TARGET_ALPHA "target_alpha" /* float in [0, 1], default 0.75: of the way; "exact" and "gptaq" */
#define GPTQ_KEY_RESIDUAL_ALPHA "residual_alpha" /* float in [0, 1], default 0.5: of the error of earlier layers, which
      the Linears that add to the residual stream make up for; "exact" only */
#define GPTQ_KEY_SWEEPS "sweeps"             /* int >= 0, default 4: rounds of coordinate descent on the codes afterwards */
#define GPTQ_KEY_REFIT "refit"               /* int, 0 to sweeps; default 2, or sweeps where that is less: so many of the
                                                 last sweeps fit the scales, too */
#define GPTQ_KEY_COMPAT "compat"             /* string: "none" (default) or "gptqmodel": known faults of that package, and
                                                 its defaults for the keys from "range" on, for comparison */
#define GPTQ_KEY_TRUE_SEQUENTIAL "true_sequential" /* int 0 or 1 (default): modules of a layer see the quantized
                                                      ones before them */
#define GPTQ_KEY_CALIBRATION_SAMPLES "calibration_samples" /* int >= 1, default 128: most sequences from texts and files */
#define GPTQ_KEY_CALIBRATION_LENGTH "calibration_length"   /* int >= 0 tokens each; 0 (default) takes 2,048 or the
                                                              model's context, whichever is less */
#define GPTQ_KEY_CALIBRATION_PACKING "calibration_packing" /* int 1 (default): calibration texts follow one another, with
      the end-of-text token between them, and are cut as one; 0: each is cut on its own, and what is left of it stays as
      a shorter sequence if it has 10 tokens */
#define GPTQ_KEY_CALIBRATION_FORMAT "calibration_format" /* string: what gptq_quantizer_add_calibration_text() takes:
      "text" (default), one text a call; "jsonl", lines of JSON; "json", an array: of values each, which are a text (a
      string, {"text": ...}, or {"messages": ...}, to which the chat template is applied) or a sequence of tokens (an
      array, or {"input_ids": [...]}), which is not cut */
#define GPTQ_KEY_FORMAT "format"             /* string: "gptq" (default for symmetric), "gptq_v2" (default for
                                                asymmetric) or "compressed_tensors" (its "pack-quantized", of vLLM's
                                                quantizer: no GPT-2, no order "act" unless the groups are static).
                                                Also "convert", without default, where "dense" and "gguf" are, too */
#define GPTQ_KEY_MAX_SHARD_SIZE "max_shard_size" /* int >= 1, default 4294967296 (4 GB): bytes of tensors that a file
                                                    of the output holds; more go into several files with an index
                                                    (one tensor is never cut). At most 500 files; also "convert" */
#define GPTQ_KEY_MEMORY_LIMIT "memory_limit" /* int >= 0, bytes that the process is to take at most, by an estimate (the
      report's "planned"): hidden states go to files where they must; else the first step fails. 0 (default): none */
#define GPTQ_KEY_LM_HEAD "lm_head" /* int 0 (default) or 1: quantize the output head, too, unless "dynamic" says
      otherwise to 8 bits in groups of 32, symmetric. An error where the head is the embedding itself (tied) */
#define GPTQ_KEY_DYNAMIC "dynamic"           /* string, JSON: other settings for the modules whose names match, such as
      {".*\\.down_proj": {"bits": 8, "group_size": 32}, "-:.*\\.layers\\.0\\.": {}}. Keys are regular expressions
      (PCRE2) that match from the start of the name on; with "-:" before it modules stay as they are, with "+:" or
      nothing they get the settings "bits", "group_size", "sym", "desc_act", "act_group_aware", "static_groups",
      "damp_percent" and "mse". Those with "-:" are tried first, then the others in their order; the first that
      matches decides; patterns that take very many steps are refused. Written to the output as GPTQModel does; what
      matches nothing is a warning in the report */
#define GPTQ_KEY_REPORT "report" /* int 0 or 1 (default): put what gptq_quantizer_report_json() gives into the output,
      as quantize_report.json, and as a page for people with plots that needs no network, quantize_report.html */
#define GPTQ_KEY_OVERWRITE "overwrite" /* int 0 (default) or 1: replace an existing output folder, when the new one is
      complete; an empty one is no obstacle to either; also "convert" */
#define GPTQ_KEY_RESUME "resume" /* string: "auto" (default) goes on with what an unfinished run of the same job left
      beside the output, and leaves its own finished layers to the next; "restart" drops that with the first step;
      "never" does, too, and leaves nothing */

/* Scope "convert": gptq_model_convert(), besides "format", "max_shard_size" and "overwrite" above */
#define GPTQ_KEY_DTYPE "dtype"               /* string: "bf16" (default), "f16" or "f32": type of "dense" weights */
#define GPTQ_KEY_GGUF_TYPE "gguf_type"       /* string: "auto" (default; for each what holds it best), "q4_0", "q4_1",
      "q8_0" or "f16": type of the layers' matrices, and of a quantized head, in "gguf" */

/** An empty set: every key has its default.  @since 0.1  @owner caller, gptq_options_free()  @threadsafe any */
GPTQ_API gptq_status gptq_options_create(gptq_options **out);
/** @since 0.1 */
GPTQ_API void gptq_options_free(gptq_options *options);
/** Sets an integer key. A key of type float takes it too.
 *  @return GPTQ_ERROR_INVALID_ARGUMENT for an unknown key (the message names the nearest), one of another type, or a
 *          value out of its bounds; the options are then as before
 *  @since 0.1  @threadsafe exclusive */
GPTQ_API gptq_status gptq_options_set_int(gptq_options *options, const char *key, int64_t value);
/** Sets a floating-point key; errors as gptq_options_set_int().  @since 0.1  @threadsafe exclusive */
GPTQ_API gptq_status gptq_options_set_float(gptq_options *options, const char *key, double value);
/** Sets a text key; the NUL-terminated value is copied; errors as gptq_options_set_int().
 *  @since 0.1  @threadsafe exclusive */
GPTQ_API gptq_status gptq_options_set_string(gptq_options *options, const char *key, const char *value);
/** Adds a text to a key that is a list of them, such as "stop", which gptq_options_set_string() takes as a JSON array; the
 *  NUL-terminated UTF-8 is copied; errors as gptq_options_set_int(), also for a key that is no list.
 *  @since 0.1  @threadsafe exclusive */
GPTQ_API gptq_status gptq_options_add_string(gptq_options *options, const char *key, const char *value);
/** Sets several keys from a JSON object such as {"bits": 4, "order": "act", "sym": true}, in which true and false are
 *  1 and 0, "dynamic" may be the object itself and "stop" the array; all of them, or none on an error.
 *  @return errors as gptq_options_set_int(), also for a text that is no JSON object
 *  @since 0.1  @threadsafe exclusive */
GPTQ_API gptq_status gptq_options_set_json(gptq_options *options, const char *json, int64_t len);
/** The keys that were set, as a JSON object.  @since 0.1  @owner caller, gptq_buffer_free() */
GPTQ_API gptq_status gptq_options_get_json(const gptq_options *options, gptq_buffer **out_json);
/** Reports the progress of calls that are given these options; NULL for none.
 *  `user_data` must outlive every handle made with them.  @since 0.1  @threadsafe exclusive */
GPTQ_API gptq_status gptq_options_set_progress(gptq_options *options, gptq_progress_fn callback, void *user_data);
/** Models and quantization jobs that are made with these options compute on threads of the host, and start none of their
 *  own; GPTQ_KEY_THREADS says into how many tasks work is cut. Results are the same. NULL for the library's own threads.
 *  `user_data` must outlive every handle made with them.  @since 0.1  @threadsafe exclusive */
GPTQ_API gptq_status gptq_options_set_executor(gptq_options *options, gptq_executor_fn executor, void *user_data);
/** Back to the empty set.  @since 0.1  @threadsafe exclusive */
GPTQ_API gptq_status gptq_options_reset(gptq_options *options);

/** Number of keys known.  @since 0.1  @threadsafe any */
GPTQ_API int64_t gptq_option_count(void);
/** Key number `index` as a JSON object: name, type ("int", "float", "string"), scope, default ("" of a string that has
 *  none), min and max with exclusive_min and exclusive_max where the bound itself is out, or values (an array;
 *  empty: any), items ("string") of a string that is a list, since, help.
 *  @since 0.1  @owner caller, gptq_buffer_free()  @threadsafe any */
GPTQ_API gptq_status gptq_option_describe(int64_t index, gptq_buffer **out_json);

/* ---- Buffer ----------------------------------------------------------------------------------------------- */

/** The bytes: text (a NUL follows it), int32_t ids or floats, as the function that made it says; aligned for any of
 *  them. Good until the buffer is freed.  @since 0.1 */
GPTQ_API const void *gptq_buffer_data(const gptq_buffer *buffer);
/** Size in bytes, without the NUL after a text; 0 for NULL.  @since 0.1 */
GPTQ_API int64_t gptq_buffer_size(const gptq_buffer *buffer);
/** @since 0.1 */
GPTQ_API void gptq_buffer_free(gptq_buffer *buffer);

/* ---- Model ------------------------------------------------------------------------------------------------ */

/** Loads a folder: config.json, tokenizer files and safetensors weights: F32, F16, BF16, or quantized as GPTQ v1 and
 *  v2, AWQ (GEMM, GEMV), Marlin or compressed-tensors ("pack-quantized").
 *  Everything is checked before it is used: each tensor must be one that the architecture has, of its shape.
 *  @param[in]  path     the folder; with load_weights 0 also a GGUF file, of which nothing but the tokenizer is read
 *  @param[in]  options  scope "model", and a progress callback; NULL for the defaults
 *  @param[out] out      the model: immutable, to be used by any number of threads and sessions
 *  @return GPTQ_OK; GPTQ_ERROR_NOT_FOUND, _IO, _CORRUPT, _UNSUPPORTED (an architecture or option not known here),
 *          _OUT_OF_MEMORY, _CANCELLED
 *  @since 0.1  @blocks yes  @owner caller, gptq_model_free()  @threadsafe any */
GPTQ_API gptq_status gptq_model_load(const char *path, const gptq_options *options, gptq_model **out);
/** Writes a quantized model in another format: from GPTQ v1 and v2, AWQ, Marlin and compressed-tensors to "gptq",
 *  "gptq_v2" or "compressed_tensors" with the same codes, to "dense" 16-bit or 32-bit weights of the values that they
 *  stand for, or to "gguf", a file for llama.cpp. Memory holds one module at a time. The output appears by one rename
 *  when all of it is on disk; until then, and after a failure or a cancel, there is none, or the old one.
 *  @param[in] model_path   the folder, for "dense" and "gguf" quantized or not; or, for "dense", a GGUF file
 *  @param[in] output_path  the folder to make, for "gguf" the file; its parent must exist
 *  @param[in] options      scope "convert", and a progress callback, which may cancel; "format" must be set
 *  @return GPTQ_OK; as gptq_model_load(); GPTQ_ERROR_INVALID_ARGUMENT without a format, and for a weight beyond "gguf_type";
 *          _UNSUPPORTED for a model that is not quantized, unless for "dense" or "gguf", and for what the format can't
 *          hold: zero points of 0 beside codes at the top in "gptq", inputs in activation order and groups that do not
 *          divide the inputs in "compressed_tensors" (the message names the module; nothing is written then), in "gguf"
 *          what llama.cpp has not; _CORRUPT for a value too large for "dtype" = "f16"; _IO
 *  @since 0.1  @blocks yes  @threadsafe any */
GPTQ_API gptq_status gptq_model_convert(const char *model_path, const char *output_path,
                                        const gptq_options *options);
/** Drops the caller's hold; sessions keep the model alive until they go.  @since 0.1  @threadsafe any */
GPTQ_API void gptq_model_free(gptq_model *model);
/** One more hold, to be given back with gptq_model_free().  @since 0.1  @threadsafe any */
GPTQ_API gptq_status gptq_model_retain(const gptq_model *model);

/** A number about the model: "n_layer", "hidden_size", "vocab_size", "context_length", "context_limit" (most that a
 *  session may be given: rotary positions can go beyond context_length, learned ones not), "n_head", "n_kv_head",
 *  "head_dim", "parameters" (of embedding, head and Linears, without norms, biases and positions), "quantized"
 *  (0 or 1), "bits" (of the quantized modules, 0 if none), "group_size" (-1: one group; 0 if none), "sym", "desc_act",
 *  "weight_bytes" (held or mapped, on all devices), "weight_bytes_per_token" (read to decode one token), "bos_token_id",
 *  "eos_token_id" (the first; -1 if none), "threads". "parameters" and the bytes are 0 where load_weights is 0.
 *  @return GPTQ_ERROR_NOT_FOUND for another key (the message names the nearest)  @since 0.1 */
GPTQ_API gptq_status gptq_model_get_int(const gptq_model *model, const char *key, int64_t *out);
/** A text about the model, good as long as the model: "family", "architecture", "path", "device" (several with " + "
 *  between, each by its name: "cuda:0 (...) + cpu (...)"), "layer_split" (the layers of each, "20,12"; "" where
 *  load_weights is 0), "dtype", "quantization" ("gptq 4-bit g128 sym", with "awq", "marlin" or "compressed-tensors" for
 *  others; or "").
 *  @return GPTQ_ERROR_NOT_FOUND for another key; *out is then NULL  @since 0.1 */
GPTQ_API gptq_status gptq_model_get_string(const gptq_model *model, const char *key, const char **out);
/** All of the above as one JSON object; of a folder without config.json, what is known without it.
 *  @since 0.1  @owner caller, gptq_buffer_free() */
GPTQ_API gptq_status gptq_model_metadata_json(const gptq_model *model, gptq_buffer **out_json);

/* ---- Tokenizer -------------------------------------------------------------------------------------------- */

#define GPTQ_TOKENIZE_ADD_SPECIAL 1   /* add what the tokenizer puts around a text, such as a beginning-of-text token */
#define GPTQ_TOKENIZE_PARSE_SPECIAL 2 /* let the text "<|eot_id|>" become that token: not for text that users write */
#define GPTQ_DETOKENIZE_SKIP_SPECIAL 1 /* leave special tokens out of the text */

/** Text to ids.
 *  @param[in]  flags    GPTQ_TOKENIZE_*, combined with |
 *  @param[out] out_ids  int32_t ids; gptq_buffer_size() / 4 of them
 *  @note invalid UTF-8 counts as U+FFFD   @since 0.1  @owner caller, gptq_buffer_free() */
GPTQ_API gptq_status gptq_model_tokenize(const gptq_model *model, const char *text, int64_t len, int32_t flags,
                                         gptq_buffer **out_ids);
/** Ids to text, always valid UTF-8.
 *  @param[in] flags  GPTQ_DETOKENIZE_*
 *  @return GPTQ_ERROR_INVALID_ARGUMENT for an id that no token has   @since 0.1  @owner caller, gptq_buffer_free() */
GPTQ_API gptq_status gptq_model_detokenize(const gptq_model *model, const int32_t *ids, int64_t count, int32_t flags,
                                           gptq_buffer **out_text);
/** The token's own spelling, as in the vocabulary.
 *  @return GPTQ_ERROR_NOT_FOUND for an id without a token   @since 0.1  @owner caller, gptq_buffer_free() */
GPTQ_API gptq_status gptq_model_token_text(const gptq_model *model, int32_t id, gptq_buffer **out_text);
/** The id of "bos", "eos", or of a token by its own spelling.
 *  @return GPTQ_ERROR_NOT_FOUND if there is none; *out_id is then -1   @since 0.1 */
GPTQ_API gptq_status gptq_model_special_token(const gptq_model *model, const char *name, int32_t *out_id);
/** 1 if generation ends at this id, else 0: the "eos_token_id" of generation_config.json, else of config.json, and the
 *  special token that the chat template writes after an answer, where there is one.  @since 0.1 */
GPTQ_API int32_t gptq_model_is_end_of_generation(const gptq_model *model, int32_t id);

/* ---- Chat ------------------------------------------------------------------------------------------------- */

/** The text that the model's chat template makes of messages. The template is a program in the language Jinja from the
 *  folder (chat_template.jinja, or "chat_template" in tokenizer_config.json), which runs as in transformers, within
 *  limits on steps, depth and memory.
 *  @param[in] json  the chat: an array of messages as OpenAI has them, [{"role": "user", "content": "Hi"}, ...]; or an
 *                   object with "messages", and any of "tools", "add_generation_prompt" (true: end in what begins the
 *                   assistant's answer; default false), "chat_template" (one of the folder's by name, or a template
 *                   itself) and further variables of the template, which win over the tokenizer's "bos_token" and so on
 *  @return GPTQ_ERROR_CORRUPT for ill-formed JSON or a text that is no template; _INVALID_ARGUMENT where the template
 *          refuses these messages, with its line and message; _NOT_FOUND where the folder has no template (of this
 *          name); _UNSUPPORTED for what no chat template does, and above a limit
 *  @since 0.1  @owner caller, gptq_buffer_free() */
GPTQ_API gptq_status gptq_model_apply_chat_template(const gptq_model *model, const char *json, int64_t len,
                                                    gptq_buffer **out_text);
/** The same as ids, for gptq_session_append_tokens(). Special tokens come from the template alone: what messages, tools
 *  and documents spell out stays text, unless flags say otherwise. No beginning-of-text token is added to the template's.
 *  @param[in]  flags    0 or GPTQ_TOKENIZE_PARSE_SPECIAL
 *  @param[out] out_ids  int32_t ids; gptq_buffer_size() / 4 of them   @since 0.1  @owner caller, gptq_buffer_free() */
GPTQ_API gptq_status gptq_model_tokenize_chat(const gptq_model *model, const char *json, int64_t len, int32_t flags,
                                              gptq_buffer **out_ids);
/** How the makers of the model mean it to be sampled, from generation_config.json, as JSON for gptq_options_set_json():
 *  {"temperature": 0.6, "top_k": 50, "top_p": 0.9}; {} where it does not say. gptq_session_begin() does not look at it.
 *  @since 0.1  @owner caller, gptq_buffer_free() */
GPTQ_API gptq_status gptq_model_sampling_defaults(const gptq_model *model, gptq_buffer **out_json);

/* ---- Session ---------------------------------------------------------------------------------------------- */

/** A conversation with a model: token history, key/value cache (memory grows with use) and sampler.
 *  @param[in] options  scope "session"; NULL for the defaults
 *  @since 0.1  @owner caller, gptq_session_free()  @threadsafe any */
GPTQ_API gptq_status gptq_session_create(const gptq_model *model, const gptq_options *options, gptq_session **out);
/** @since 0.1 */
GPTQ_API void gptq_session_free(gptq_session *session);
/** Back to an empty history; the memory of the cache is given back.  @since 0.1  @threadsafe exclusive */
GPTQ_API gptq_status gptq_session_reset(gptq_session *session);

/** Adds text to the history; it is processed by the next begin or prefill. Text that starts a history gets the
 *  tokenizer's special tokens (GPTQ_TOKENIZE_ADD_SPECIAL); special tokens written in it stay text: a chat's own
 *  markers go through gptq_model_tokenize() with GPTQ_TOKENIZE_PARSE_SPECIAL and gptq_session_append_tokens().
 *  Appending ends a generation that is under way.
 *  @return GPTQ_ERROR_CONTEXT_FULL when it does not fit; the history is then as before
 *  @since 0.1  @threadsafe exclusive */
GPTQ_API gptq_status gptq_session_append_text(gptq_session *session, const char *text, int64_t len);
/** Adds ids as they are.
 *  @return GPTQ_ERROR_INVALID_ARGUMENT for an id outside the vocabulary, _CONTEXT_FULL when they do not fit; the
 *          history is then as before   @since 0.1  @threadsafe exclusive */
GPTQ_API gptq_status gptq_session_append_tokens(gptq_session *session, const int32_t *ids, int64_t count);

#define GPTQ_LOGITS_NONE 0 /* keep none */
#define GPTQ_LOGITS_LAST 1 /* those after the last token */
#define GPTQ_LOGITS_ALL 2  /* those after each token */

/** Processes the appended tokens now, without generating, and ends a generation that is under way.
 *  @param[in] logits  which to keep for gptq_session_logits(): none, those after the last token, or after each token
 *                     of this call (tokens x vocabulary floats: append in pieces to bound the memory)
 *  @return GPTQ_OK; GPTQ_ERROR_CANCELLED, _OUT_OF_MEMORY, _DEVICE: the cache is then as before this call, and the
 *          tokens are still pending; _BAD_STATE when nothing is pending
 *  @since 0.1  @blocks yes  @threadsafe exclusive */
GPTQ_API gptq_status gptq_session_prefill(gptq_session *session, int32_t logits);

/** Starts a generation: processes the appended tokens, if there are any, and sets up the sampler. After a generation
 *  it starts the next one where the history ends, with a fresh sampler.
 *  @param[in] options  scope "generation", and a progress callback for the prompt; NULL for the defaults
 *  @return as gptq_session_prefill(); GPTQ_ERROR_BAD_STATE when the history is empty, GPTQ_ERROR_UNSUPPORTED with texts
 *          to stop at where the model has no tokenizer
 *  @since 0.1  @blocks yes  @threadsafe exclusive */
GPTQ_API gptq_status gptq_session_begin(gptq_session *session, const gptq_options *options);
/** Advances generation by one chunk: a token, and the text that it completes.
 *  @param[in] session  after gptq_session_begin(). Exclusive: one thread at a time; only gptq_session_cancel() may
 *                      overlap
 *  @return GPTQ_OK        a chunk is ready: gptq_session_text(), gptq_session_token()
 *          GPTQ_DONE      finished, and so until the next begin; see gptq_session_finish_reason(). The history
 *                         keeps what was generated, without the end-of-text token, but with all tokens up to the
 *                         one that completed a text of "stop", in gptq_session_token() as well. To leave them out,
 *                         gptq_session_reset(), and append what is to stay
 *          GPTQ_ERROR_CANCELLED, _OUT_OF_MEMORY, _DEVICE, _BUSY: the history is as before this call;
 *          _BAD_STATE without a begin
 *  @note a chunk is valid UTF-8, and empty while a character is incomplete or may be part of a text of "stop"
 *  @since 0.1  @blocks yes  @threadsafe exclusive */
GPTQ_API gptq_status gptq_session_step(gptq_session *session);
/** Advances the generations of several sessions of one model by one chunk each, as gptq_session_step() of each would, but
 *  their tokens go through the model together: weights are read once for all of them, so that eight sessions get several
 *  times the tokens of one (docs/performance.md says how many). Any sessions at each call, wherever in their texts: one
 *  that has ended may leave, another one that has begun may come. Prompts are for gptq_session_begin(), which may run on
 *  another thread meanwhile, or come in pieces by gptq_session_prefill() between steps.
 *  With compute "exact", text is that of a session alone but for the last bits of sums; with "fast", and on GPUs, many
 *  sessions together are rounded as the tokens of a prompt are, so that a text may depend on how many there were.
 *  @param[in]  sessions  `count` of them, none twice. The pass takes working memory of one of them, which keeps it
 *  @param[out] statuses  of each what gptq_session_step() would return: GPTQ_OK, GPTQ_DONE or its own failure, whose text
 *                        gptq_session_error_message() has. One that has failed may stay: the next call tries again.
 *                        gptq_session_cancel() of one ends its step alone; the call returns when the others' is done
 *  @return GPTQ_OK        one session at least has a chunk
 *          GPTQ_DONE      none has: each is finished or has failed, as its status says; also for a count of 0
 *          GPTQ_ERROR_BUSY where another thread is inside one, _INVALID_ARGUMENT for NULL, one twice, or several models,
 *          _OUT_OF_MEMORY: none has taken a step, and all of `statuses` are this
 *  @since 0.1  @blocks yes  @threadsafe exclusive, for each of the sessions */
GPTQ_API gptq_status gptq_session_step_all(gptq_session *const *sessions, int64_t count, gptq_status *statuses);
/** Ends the call that is running on this session, prefill included, within 50 ms, or when other sessions have taken their
 *  step (gptq_session_step_all()); if none is, the next one. The session stays usable. Sets a flag and no more: a signal handler may call it.  @since 0.1  @threadsafe any */
GPTQ_API gptq_status gptq_session_cancel(const gptq_session *session);
/** Forgets a cancel that came too late for the call it was meant for, so that the next call runs.
 *  @since 0.1  @threadsafe any */
GPTQ_API gptq_status gptq_session_clear_cancel(const gptq_session *session);
/** Text of the last failure on this session; "" if none. Good until the next call on it. Unlike
 *  gptq_last_error_message() it may be read on another thread, once the call has returned.  @since 0.1 */
GPTQ_API const char *gptq_session_error_message(const gptq_session *session);

/** Text of the last chunk: NUL-terminated valid UTF-8, good until the next call on this session; "" if none.
 *  A chunk that holds U+0000 has it inside: ask gptq_session_text_size().  @since 0.1 */
GPTQ_API const char *gptq_session_text(const gptq_session *session);
/** Its size in bytes.  @since 0.1 */
GPTQ_API int64_t gptq_session_text_size(const gptq_session *session);
/** Id of the last chunk's token; -1 if there is none (a chunk that only completes held-back text).  @since 0.1 */
GPTQ_API int32_t gptq_session_token(const gptq_session *session);
/** Why the last generation ended: "stop" (an end-of-text token, or a text of the option "stop"), "length" (max_tokens),
 *  "context" (the context is full), "cancelled"; "" while it has not. Static.  @since 0.1 */
GPTQ_API const char *gptq_session_finish_reason(const gptq_session *session);
/** Logits kept by the last prefill or step, before sampling settings.
 *  @param[out] out  floats [rows][vocab_size]; one row after begin or step
 *  @return GPTQ_ERROR_BAD_STATE when none were kept   @since 0.1  @owner caller, gptq_buffer_free() */
GPTQ_API gptq_status gptq_session_logits(const gptq_session *session, gptq_buffer **out);
/** Number of tokens in the history, pending ones included.  @since 0.1 */
GPTQ_API int64_t gptq_session_token_count(const gptq_session *session);
/** A figure since creation or reset: "prefill_tokens", "prefill_seconds", "prefill_tokens_per_second",
 *  "decode_tokens", "decode_seconds", "decode_tokens_per_second", "cache_bytes". The first token of a generation comes
 *  from the prompt's logits: it counts among the tokens, but not in the seconds and the rate. A step with other sessions
 *  counts its whole time for each.
 *  @return GPTQ_ERROR_NOT_FOUND for another key   @since 0.1 */
GPTQ_API gptq_status gptq_session_get_stat(const gptq_session *session, const char *key, double *out);

/* ---- Quantizer -------------------------------------------------------------------------------------------- */

/** A job that quantizes a folder's Linear layers with GPTQ (arXiv 2210.17323) and writes a folder that
 *  transformers, GPTQModel and vLLM load. Weights are read one layer at a time. The output folder appears by one
 *  rename when all of it is on disk; until then, and after a failure, a cancel or a crash, there is none, or the
 *  old one where "overwrite" is 1.
 *
 *  A layer that is finished is on disk, in the hidden folder ".NAME.unfinished" beside the output. The next job with the
 *  same model, options, calibration and output goes on after it, with any number of threads on a machine with the same
 *  instruction sets, or on a GPU of the same kind with the same cuBLAS and cuSOLVER as long as they refuse nothing, and
 *  comes to the same bytes ("max_shard_size", "memory_limit", "report", "overwrite" and "resume" may differ); another
 *  job for that output is refused while the folder is there, the message naming what is different. See "resume" to
 *  start anew instead, or to leave nothing. Folder and output together take about twice the output's size.
 *  @param[in] model_path   a 16-bit or 32-bit model folder
 *  @param[in] output_path  the folder to make; its parent must exist
 *  @param[in] options      scopes "model" and "quantizer", and a progress callback; NULL for the defaults
 *  @return GPTQ_OK; as gptq_model_load(); GPTQ_ERROR_IO when the output exists (see "overwrite"), can't be made, or has
 *          the unfinished work of another job (see "resume"); GPTQ_ERROR_BUSY when another job makes it right now: all
 *          are noticed here, before any work
 *  @since 0.1  @owner caller, gptq_quantizer_free()  @threadsafe any */
GPTQ_API gptq_status gptq_quantizer_create(const char *model_path, const char *output_path,
                                           const gptq_options *options, gptq_quantizer **out);
/** An unfinished job ends; its finished layers stay for the next (see "resume").  @since 0.1 */
GPTQ_API void gptq_quantizer_free(gptq_quantizer *quantizer);

/** Calibration text, or several in JSON (calibration_format): all texts, one after another (calibration_packing), are
 *  tokenized and cut into consecutive sequences of calibration_length tokens, of which the first calibration_samples
 *  are taken, or that many at random where a seed is set; less text than one sequence is taken as it is. Nothing is
 *  padded. Sequences of tokens in JSON go first, as they are, the first calibration_samples of them or as many at
 *  random; text fills up what is left. The report counts those left out. Without any calibration the model writes its
 *  own: sequences sampled at temperature 1 from its beginning-of-text token.
 *  @return GPTQ_ERROR_CORRUPT for ill-formed UTF-8 or JSON and for tokens that the model lacks, naming byte or line;
 *          for {"messages": ...} also as gptq_model_apply_chat_template(); GPTQ_ERROR_BAD_STATE after the first step
 *  @since 0.1  @threadsafe exclusive */
GPTQ_API gptq_status gptq_quantizer_add_calibration_text(gptq_quantizer *quantizer, const char *text, int64_t len);
/** One calibration sequence, taken as it is, besides those that come as text, whatever calibration_samples is.
 *  @return GPTQ_ERROR_INVALID_ARGUMENT for an id outside the vocabulary, none, or more than the model's context;
 *          GPTQ_ERROR_BAD_STATE after the first step   @since 0.1  @threadsafe exclusive */
GPTQ_API gptq_status gptq_quantizer_add_calibration_tokens(gptq_quantizer *quantizer, const int32_t *ids,
                                                           int64_t count);

/** One unit of work: preparing the calibration, then a layer a call, then the closing of the output.
 *  @return GPTQ_OK; GPTQ_DONE when the output folder is complete; GPTQ_ERROR_CANCELLED, _IO, _CORRUPT,
 *          _OUT_OF_MEMORY, _INVALID_ARGUMENT (text of fewer than two tokens, or no calibration for a model that
 *          names no token to begin with, a memory_limit too small): the job is then over and leaves no output; further steps give
 *          _BAD_STATE. GPTQ_ERROR_IO also where the calibration is not that of the work to go on with
 *  @since 0.1  @blocks yes  @threadsafe exclusive */
GPTQ_API gptq_status gptq_quantizer_step(gptq_quantizer *quantizer);
/** Steps until the end: GPTQ_OK (not GPTQ_DONE) when the output folder is complete, else the failing step's status.
 *  @since 0.1  @blocks yes  @threadsafe exclusive */
GPTQ_API gptq_status gptq_quantizer_run(gptq_quantizer *quantizer);
/** Ends the step that is running, or the next one, and with it the job. Sets a flag and no more: a signal handler may
 *  call it.  @since 0.1  @threadsafe any */
GPTQ_API gptq_status gptq_quantizer_cancel(const gptq_quantizer *quantizer);
/** How far the job is; may be asked while another thread steps: "progress" (0 to 1), "layer" (being quantized, counted
 *  from 1; 0 before the first), "n_layer", "seconds" (since the first step), "seconds_left" (an estimate; -1 while
 *  there is none), "layers_kept" (on disk, for the next job to go on after, also when this one has failed).
 *  @return GPTQ_ERROR_NOT_FOUND for another key   @since 0.1  @threadsafe any */
GPTQ_API gptq_status gptq_quantizer_get_stat(const gptq_quantizer *quantizer, const char *key, double *out);
/** Text of the last failure of this job; "" if none. Good until the next call on it.  @since 0.1 */
GPTQ_API const char *gptq_quantizer_error_message(const gptq_quantizer *quantizer);
/** What was done so far, as JSON: {"model", "options": ..., "calibration": {"source", "documents", "too_short",
 *  "left_out", "sequences", "tokens"}, "modules": [{"name", "bits", "group_size", "weights", "bits_per_weight",
 *  "loss", "relative_error", "damp", "method", "seconds", "memory", "scales", "note"}, ...], "warnings": [text, ...],
 *  "seconds": n, "planned": {"modules", "output_bytes", "peak_memory" (an estimate), "file_bytes" (of hidden states),
 *  "memory": [{"name", "bytes"} of the parts of peak_memory, ...]}}. loss is the squared output error per token;
 *  relative_error the same over the energy of the outputs, null where it is not known; memory the most bytes that the
 *  process has held; scales their least, first tenth, median, last tenth and largest.
 *  @since 0.1  @owner caller, gptq_buffer_free() */
GPTQ_API gptq_status gptq_quantizer_report_json(const gptq_quantizer *quantizer, gptq_buffer **out_json);

#ifdef __cplusplus
}
#endif

#endif /* GPTQ_H */
