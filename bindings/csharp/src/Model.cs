// A model: weights and tokenizer.
using System;

namespace Gptq
{
    /// <summary>How text becomes ids; may be combined.</summary>
    [Flags]
    public enum TokenizeFlags
    {
        /// <summary>The text alone.</summary>
        None = 0,
        /// <summary>Add what the tokenizer puts around a text, such as a beginning-of-text token.</summary>
        AddSpecial = GptqApi.GPTQ_TOKENIZE_ADD_SPECIAL,
        /// <summary>Let the text "&lt;|eot_id|&gt;" become that token: not for text that users write.</summary>
        ParseSpecial = GptqApi.GPTQ_TOKENIZE_PARSE_SPECIAL,
    }

    /// <summary>How ids become text.</summary>
    [Flags]
    public enum DetokenizeFlags
    {
        /// <summary>Special tokens are written out.</summary>
        None = 0,
        /// <summary>Leave special tokens out of the text.</summary>
        SkipSpecial = GptqApi.GPTQ_DETOKENIZE_SKIP_SPECIAL,
    }

    /// <summary>A model: immutable, to be used by any number of threads and sessions at once. Sessions keep what they need
    /// of it: it may be closed before them.</summary>
    public sealed class Model : IDisposable
    {
        private readonly Handle handle;

        private Model(Handle handle)
        {
            this.handle = handle;
        }

        /// <summary>Loads a folder: config.json, tokenizer files and safetensors weights (F32, F16, BF16, or GPTQ v1 and
        /// v2). Everything is checked before it is used. Blocks until it is done.</summary>
        /// <param name="path">The folder.</param>
        /// <param name="options">Scope "model"; null for the defaults.</param>
        /// <exception cref="GptqException">NotFound, Io, Corrupt, Unsupported (an architecture or option not known here),
        /// OutOfMemory.</exception>
        public static Model Load(string path, Options options = null)
        {
            IntPtr model;
            using (var settings = Options.Enter(options))
                GptqException.Check(GptqApi.gptq_model_load(path, settings.Pointer, out model));
            return new Model(new Handle("model", model, GptqApi.gptq_model_free));
        }

        /// <summary>Writes a quantized model folder in another format. The output appears when all of it is on disk.
        /// Blocks until it is done.</summary>
        /// <param name="path">The folder.</param>
        /// <param name="output">The folder to make.</param>
        /// <param name="options">Scope "convert": Format must be set, to "gptq", "gptq_v2", "compressed_tensors" or
        /// "dense".</param>
        /// <exception cref="GptqException">As Load; InvalidArgument without a format, Unsupported for what the format can't
        /// hold (the message names the module), Io when the output exists or can't be made.</exception>
        public static void Convert(string path, string output, Options options)
        {
            using (var settings = Options.Enter(options))
                GptqException.Check(GptqApi.gptq_model_convert(path, output, settings.Pointer));
        }

        /// <summary>A conversation with this model.</summary>
        /// <param name="options">Scope "session"; null for the defaults.</param>
        public Session CreateSession(Options options = null)
        {
            IntPtr session;
            using (var use = handle.Enter())
            using (var settings = Options.Enter(options))
                GptqException.Check(GptqApi.gptq_session_create(use.Pointer, settings.Pointer, out session));
            return new Session(new Handle("session", session, GptqApi.gptq_session_free), (int)GetInt("vocab_size"));
        }

        /// <summary>Text to ids. A lone surrogate counts as U+FFFD.</summary>
        public int[] Tokenize(string text, TokenizeFlags flags = TokenizeFlags.None)
        {
            IntPtr ids;
            byte[] bytes = Utf8.Bytes(text);
            using (var use = handle.Enter())
                GptqException.Check(GptqApi.gptq_model_tokenize(use.Pointer, bytes, Utf8.Count(bytes),
                                                                (int)flags, out ids));
            return NativeBuffer.Ids(ids);
        }

        /// <summary>Ids to text.</summary>
        /// <exception cref="GptqException">InvalidArgument for an id that no token has.</exception>
        public string Detokenize(int[] ids, DetokenizeFlags flags = DetokenizeFlags.None)
        {
            IntPtr text;
            using (var use = handle.Enter())
                GptqException.Check(GptqApi.gptq_model_detokenize(use.Pointer, ids, Utf8.Count(ids),
                                                                  (int)flags, out text));
            return NativeBuffer.Text(text);
        }

        /// <summary>The text that the model's chat template makes of a chat, which is JSON: an array of messages as OpenAI
        /// has them, or an object with "messages", and any of "tools", "add_generation_prompt", "chat_template" (one by
        /// name, or a template itself) and further variables.</summary>
        /// <exception cref="GptqException">InvalidArgument where the template refuses the messages, NotFound where the
        /// folder has no template, Corrupt for ill-formed JSON.</exception>
        public string ApplyChatTemplate(string chat)
        {
            IntPtr text;
            byte[] bytes = Utf8.Bytes(chat);
            using (var use = handle.Enter())
                GptqException.Check(GptqApi.gptq_model_apply_chat_template(use.Pointer, bytes, Utf8.Count(bytes),
                                                                           out text));
            return NativeBuffer.Text(text);
        }

        /// <summary>The same as ids, for <see cref="Session.Append(int[])"/>. Special tokens that the messages spell out
        /// stay text, unless flags say <see cref="TokenizeFlags.ParseSpecial"/>.</summary>
        public int[] TokenizeChat(string chat, TokenizeFlags flags = TokenizeFlags.None)
        {
            IntPtr ids;
            byte[] bytes = Utf8.Bytes(chat);
            using (var use = handle.Enter())
                GptqException.Check(GptqApi.gptq_model_tokenize_chat(use.Pointer, bytes, Utf8.Count(bytes),
                                                                     (int)flags, out ids));
            return NativeBuffer.Ids(ids);
        }

        /// <summary>How the makers of the model mean it to be sampled: JSON for <see cref="Options.SetJson"/>.</summary>
        public string SamplingDefaults()
        {
            IntPtr json;
            using (var use = handle.Enter())
                GptqException.Check(GptqApi.gptq_model_sampling_defaults(use.Pointer, out json));
            return NativeBuffer.Text(json);
        }

        /// <summary>The token's own spelling, as in the vocabulary.</summary>
        /// <exception cref="GptqException">NotFound for an id without a token.</exception>
        public string TokenText(int id)
        {
            IntPtr text;
            using (var use = handle.Enter())
                GptqException.Check(GptqApi.gptq_model_token_text(use.Pointer, id, out text));
            return NativeBuffer.Text(text);
        }

        /// <summary>The id of "bos", "eos", or of a token by its own spelling; null if there is none.</summary>
        public int? SpecialToken(string name)
        {
            int id;
            using (var use = handle.Enter())
            {
                int status = GptqApi.gptq_model_special_token(use.Pointer, name, out id);
                if (status == GptqApi.GPTQ_ERROR_NOT_FOUND) return null;
                GptqException.Check(status);
            }
            return id;
        }

        /// <summary>Whether generation ends at this id.</summary>
        public bool IsEndOfGeneration(int id)
        {
            using (var use = handle.Enter()) return GptqApi.gptq_model_is_end_of_generation(use.Pointer, id) == 1;
        }

        /// <summary>A number about the model: "n_layer", "hidden_size", "vocab_size", "context_length", "context_limit"
        /// (most that a session may be given), "n_head", "n_kv_head", "head_dim", "parameters", "quantized" (0 or 1),
        /// "bits" (0 if not quantized), "group_size" (-1: one group), "sym", "desc_act", "weight_bytes",
        /// "weight_bytes_per_token", "bos_token_id", "eos_token_id" (-1 if none), "threads".</summary>
        /// <exception cref="GptqException">NotFound for another key; the message names the nearest.</exception>
        public long GetInt(string key)
        {
            long value;
            using (var use = handle.Enter()) GptqException.Check(GptqApi.gptq_model_get_int(use.Pointer, key, out value));
            return value;
        }

        /// <summary>A text about the model: "family", "architecture", "path", "device", "layer_split" ("20,12"),
        /// "dtype", "quantization" ("gptq 4-bit g128 sym", or "").</summary>
        /// <exception cref="GptqException">NotFound for another key; the message names the nearest.</exception>
        public string GetString(string key)
        {
            IntPtr text;
            using (var use = handle.Enter())
            {
                GptqException.Check(GptqApi.gptq_model_get_string(use.Pointer, key, out text));
                return Utf8.Read(text);
            }
        }

        /// <summary>All of these as one JSON object.</summary>
        public string Metadata()
        {
            IntPtr json;
            using (var use = handle.Enter())
                GptqException.Check(GptqApi.gptq_model_metadata_json(use.Pointer, out json));
            return NativeBuffer.Text(json);
        }

        /// <summary>Closes the model; its sessions live on. A call that runs on another thread goes on, and the memory goes
        /// when it has ended.</summary>
        public void Dispose()
        {
            handle.Dispose();
        }
    }
}
