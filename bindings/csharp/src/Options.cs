// Settings by key; the properties by name are in generated/OptionSetters.cs.
using System;
using System.Collections.Generic;
using System.Threading;

namespace Gptq
{
    /// <summary>Settings for models, sessions, generations and quantizations: <c>new Options { Temperature = 0.7 }</c>.
    /// One object may hold settings of every scope: each call takes those that it knows, and copies them, so the object
    /// may be changed or closed as soon as the call returns. What is not set has its default. Any number of threads may use
    /// it; a change waits for the calls that it was given to.</summary>
    /// <remarks>Every property and <c>Set</c> throws <see cref="GptqException"/> with
    /// <see cref="ErrorCode.InvalidArgument"/> for an unknown key (the message names the nearest), a value of another type
    /// or out of its bounds; the options are then as before.</remarks>
    public sealed partial class Options : IDisposable
    {
        private readonly Handle handle;
        private readonly ReaderWriterLockSlim gate = new ReaderWriterLockSlim();  // for reading: calls that it was given to

        /// <summary>An empty set: every key has its default.</summary>
        public Options()
        {
            IntPtr options;
            GptqException.Check(GptqApi.gptq_options_create(out options));
            handle = new Handle("set of options", options, GptqApi.gptq_options_free);
        }

        /// <summary>A set from a JSON object such as <c>{"bits": 4, "order": "act", "sym": true}</c>.</summary>
        public static Options FromJson(string json)
        {
            var options = new Options();
            options.SetJson(json);
            return options;
        }

        /// <summary>Sets an integer key. A key of type float takes it too.</summary>
        public void Set(string key, long value)
        {
            Change(options => GptqApi.gptq_options_set_int(options, key, value));
        }

        /// <summary>Sets a floating-point key.</summary>
        public void Set(string key, double value)
        {
            Change(options => GptqApi.gptq_options_set_float(options, key, value));
        }

        /// <summary>Sets an integer key to 1 or 0.</summary>
        public void Set(string key, bool value)
        {
            Set(key, value ? 1L : 0L);
        }

        /// <summary>Sets a text key.</summary>
        public void Set(string key, string value)
        {
            Change(options => GptqApi.gptq_options_set_string(options, key, value));
        }

        /// <summary>Sets a key that is a list of texts, such as "stop"; what it was set to before is no more.</summary>
        public void SetList(string key, IEnumerable<string> values)
        {
            if (values == null) Set(key, (string)null);  // which is refused
            using (var list = FromJson("{\"" + key + "\": []}"))
            {
                foreach (string value in values)
                    list.Change(options => GptqApi.gptq_options_add_string(options, key, value));
                SetJson(list.ToJson());
            }
        }

        /// <summary>Sets several keys from a JSON object; all of them, or none on an error.</summary>
        public void SetJson(string json)
        {
            byte[] text = Utf8.Bytes(json);
            Change(options => GptqApi.gptq_options_set_json(options, text, Utf8.Count(text)));
        }

        /// <summary>The keys that were set, as a JSON object.</summary>
        public string ToJson()
        {
            IntPtr json;
            using (var use = Enter(this)) GptqException.Check(GptqApi.gptq_options_get_json(use.Pointer, out json));
            return NativeBuffer.Text(json);
        }

        /// <summary>Back to the empty set.</summary>
        public void Reset()
        {
            Change(GptqApi.gptq_options_reset);
        }

        /// <summary>Every key there is, each as a JSON object: name, type ("int", "float", "string"), scope, default, min
        /// and max with exclusive_min and exclusive_max where the bound itself is out, or values, since, help.</summary>
        public static string[] Describe()
        {
            var keys = new string[GptqApi.gptq_option_count()];
            for (int i = 0; i < keys.Length; ++i)
            {
                IntPtr json;
                GptqException.Check(GptqApi.gptq_option_describe(i, out json));
                keys[i] = NativeBuffer.Text(json);
            }
            return keys;
        }

        /// <summary>Frees the set; what was made with it stays.</summary>
        public void Dispose()
        {
            handle.Dispose();
        }

        private void Change(Func<IntPtr, int> call)
        {
            gate.EnterWriteLock();
            try
            {
                using (var use = handle.Enter()) GptqException.Check(call(use.Pointer));
            }
            finally
            {
                gate.ExitWriteLock();
            }
        }

        // To be read until the end of the use; NULL for null: the defaults.
        internal static ReadUse Enter(Options options)
        {
            if (options == null) return default(ReadUse);
            options.gate.EnterReadLock();
            try
            {
                return new ReadUse(options.gate, options.handle.Enter());
            }
            catch
            {
                options.gate.ExitReadLock();
                throw;
            }
        }

        internal struct ReadUse : IDisposable
        {
            private readonly ReaderWriterLockSlim gate;
            private readonly Handle.Use use;

            public IntPtr Pointer
            {
                get { return use.Pointer; }
            }

            public ReadUse(ReaderWriterLockSlim gate, Handle.Use use)
            {
                this.gate = gate;
                this.use = use;
            }

            public void Dispose()
            {
                use.Dispose();
                if (gate != null) gate.ExitReadLock();
            }
        }
    }
}
