// A conversation with a model.
using System;
using System.Collections.Generic;
using System.Text;
using System.Threading;
using System.Threading.Tasks;

namespace Gptq
{
    /// <summary>Which logits a prefill keeps for <see cref="Session.GetLogits"/>.</summary>
    public enum LogitsKind
    {
        /// <summary>None.</summary>
        None = GptqApi.GPTQ_LOGITS_NONE,
        /// <summary>Those after the last token.</summary>
        Last = GptqApi.GPTQ_LOGITS_LAST,
        /// <summary>Those after each token of the call: tokens x vocabulary floats; append in pieces to bound the
        /// memory.</summary>
        All = GptqApi.GPTQ_LOGITS_ALL,
    }

    /// <summary>A conversation: token history, key/value cache (memory grows with use) and sampler. It belongs to one thread
    /// at a time; a second one that enters, be it for a figure, gets <see cref="ErrorCode.Busy"/>. Only
    /// <see cref="Cancel"/>, <see cref="ClearCancel"/> and <see cref="Dispose"/> may be called by any thread at any
    /// time.</summary>
    public sealed class Session : IDisposable
    {
        private readonly Handle handle;
        private readonly int vocabulary;
        private int generation;  // number of the last that began; touched by who is inside alone

        internal Session(Handle handle, int vocabulary)
        {
            this.handle = handle;
            this.vocabulary = vocabulary;
        }

        /// <summary>Adds text to the history, to be processed by the next generation or prefill. Text that starts a history
        /// gets the tokenizer's special tokens; special tokens written in it stay text: a chat's own markers go through
        /// <see cref="Model.Tokenize"/> with <see cref="TokenizeFlags.ParseSpecial"/>. Appending ends a generation that is
        /// under way.</summary>
        /// <exception cref="GptqException">ContextFull when it does not fit; the history is then as before.</exception>
        public void Append(string text)
        {
            byte[] bytes = Utf8.Bytes(text);
            using (var use = handle.EnterAlone())
                GptqException.Check(GptqApi.gptq_session_append_text(use.Pointer, bytes, Utf8.Count(bytes)));
        }

        /// <summary>Adds ids as they are.</summary>
        /// <exception cref="GptqException">InvalidArgument for an id outside the vocabulary, ContextFull when they do not
        /// fit; the history is then as before.</exception>
        public void Append(int[] ids)
        {
            using (var use = handle.EnterAlone())
                GptqException.Check(GptqApi.gptq_session_append_tokens(use.Pointer, ids, Utf8.Count(ids)));
        }

        /// <summary>Processes the appended tokens now, without generating; ends a generation that is under way. Blocks until
        /// it is done.</summary>
        /// <exception cref="GptqException">OutOfMemory, Device: the cache is then as before, and the tokens are still
        /// pending; BadState when nothing is pending.</exception>
        /// <exception cref="OperationCanceledException">Cancelled; the tokens are still pending.</exception>
        public void Prefill(LogitsKind logits = LogitsKind.None,
                            CancellationToken cancellationToken = default(CancellationToken))
        {
            cancellationToken.ThrowIfCancellationRequested();
            using (var use = handle.EnterAlone())
            using (var scope = new CancelScope(this, cancellationToken))
                scope.Check(GptqApi.gptq_session_prefill(use.Pointer, (int)logits));
        }

        /// <summary>Generates, chunk by chunk as they are pulled. The work is done by the thread that pulls: the prompt with
        /// the first chunk, then one token each. Each enumeration is a generation of its own, where the history ends;
        /// leaving it early just stops pulling. Another generation, or an append, ends one that is under way.</summary>
        /// <param name="prompt">Appended first; null to go on from what was appended.</param>
        /// <param name="options">Scope "generation"; null for the defaults. To stay open until the first chunk.</param>
        /// <param name="cancellationToken">Ends it within 100 ms, in the prompt too; the session stays usable.</param>
        /// <exception cref="GptqException">When pulling. ContextFull when the prompt does not fit, BadState when the history
        /// is empty, OutOfMemory, Device; the history is then as before the chunk. A prompt whose processing failed or was
        /// cancelled stays appended: go on without it, or reset.</exception>
        /// <exception cref="OperationCanceledException">When pulling, after a cancel. A token that was cancelled before the
        /// first chunk was pulled leaves all as it was.</exception>
        public IEnumerable<Chunk> Generate(string prompt = null, Options options = null,
                                           CancellationToken cancellationToken = default(CancellationToken))
        {
            using (var generation = new Generation(this, prompt, options, cancellationToken))
                while (generation.MoveNext()) yield return generation.Current;
        }

        /// <summary>Begins a generation and gives it to pull by hand, alone or with others:
        /// <see cref="Generation.NextAll"/>. The prompt is processed here. Otherwise as <see cref="Generate"/>, errors
        /// too.</summary>
        public Generation Begin(string prompt = null, Options options = null,
                                CancellationToken cancellationToken = default(CancellationToken))
        {
            var begun = new Generation(this, prompt, options, cancellationToken);
            begun.Begin();
            return begun;
        }

        /// <summary>The same, with the prompt processed on a thread of the pool.</summary>
        public async Task<Generation> BeginAsync(string prompt = null, Options options = null,
                                                 CancellationToken cancellationToken = default(CancellationToken))
        {
            return await Task.Run(() => Begin(prompt, options, cancellationToken)).ConfigureAwait(false);
        }

        /// <summary>The same for <c>await foreach</c>: the work is done on threads of the pool. Another token may be given
        /// with WithCancellation: either of them cancels.</summary>
        public IAsyncEnumerable<Chunk> GenerateAsync(string prompt = null, Options options = null,
                                                     CancellationToken cancellationToken = default(CancellationToken))
        {
            return new AsyncChunks(this, prompt, options, cancellationToken);
        }

        /// <summary>The whole text of a generation; errors as <see cref="Generate"/>.</summary>
        public string Complete(string prompt = null, Options options = null,
                               CancellationToken cancellationToken = default(CancellationToken))
        {
            var text = new StringBuilder();
            foreach (Chunk chunk in Generate(prompt, options, cancellationToken)) text.Append(chunk.Text);
            return text.ToString();
        }

        /// <summary>The whole text of a generation, made on a thread of the pool; errors as <see cref="Generate"/>.</summary>
        public async Task<string> CompleteAsync(string prompt = null, Options options = null,
                                                CancellationToken cancellationToken = default(CancellationToken))
        {
            return await Task.Run(() => Complete(prompt, options, cancellationToken)).ConfigureAwait(false);
        }

        /// <summary>Why the last generation ended: "stop" (an end-of-text token), "length" (max_tokens), "context" (the
        /// context is full), "cancelled"; "" while it has not.</summary>
        public string FinishReason
        {
            get { using (var use = handle.EnterAlone()) return GptqApi.gptq_session_finish_reason(use.Pointer); }
        }

        /// <summary>Number of tokens in the history, pending ones included.</summary>
        public long TokenCount
        {
            get { using (var use = handle.EnterAlone()) return GptqApi.gptq_session_token_count(use.Pointer); }
        }

        /// <summary>Logits [rows][vocabulary] kept by the last prefill or chunk, before sampling settings; one row in a
        /// generation.</summary>
        /// <exception cref="GptqException">BadState when none were kept.</exception>
        public float[][] GetLogits()
        {
            IntPtr rows;
            using (var use = handle.EnterAlone()) GptqException.Check(GptqApi.gptq_session_logits(use.Pointer, out rows));
            return NativeBuffer.Rows(rows, vocabulary);
        }

        /// <summary>A figure since creation or reset: "prefill_tokens", "prefill_seconds", "prefill_tokens_per_second",
        /// "decode_tokens", "decode_seconds", "decode_tokens_per_second", "cache_bytes". The first token of a generation
        /// comes from the prompt's logits: it counts among the tokens, but not in the seconds and the rate.</summary>
        /// <exception cref="GptqException">NotFound for another key.</exception>
        public double GetStat(string key)
        {
            double value;
            using (var use = handle.EnterAlone())
                GptqException.Check(GptqApi.gptq_session_get_stat(use.Pointer, key, out value));
            return value;
        }

        /// <summary>Ends the call that is running on this session, prompt processing included; if none is, the next one.
        /// From any thread; on a closed session it does nothing. The session stays usable.</summary>
        public void Cancel()
        {
            Handle.Use use;
            if (!handle.TryEnter(out use)) return;
            using (use) GptqApi.gptq_session_cancel(use.Pointer);
        }

        /// <summary>Forgets a <see cref="Cancel"/> that came too late for the call it was meant for, so that the next call
        /// runs. A CancellationToken needs none of this.</summary>
        public void ClearCancel()
        {
            Handle.Use use;
            if (!handle.TryEnter(out use)) return;
            using (use) GptqApi.gptq_session_clear_cancel(use.Pointer);
        }

        /// <summary>Back to an empty history; the memory of the cache is given back.</summary>
        public void Reset()
        {
            using (var use = handle.EnterAlone()) GptqException.Check(GptqApi.gptq_session_reset(use.Pointer));
        }

        /// <summary>Closes the session; what runs on another thread is cancelled, and the memory goes when it has
        /// ended.</summary>
        public void Dispose()
        {
            Handle.Use use;
            if (!handle.TryEnter(out use)) return;
            handle.Dispose();  // nobody enters any more
            using (use) GptqApi.gptq_session_cancel(use.Pointer);
        }

        // Gives the number of the generation, 1 or above.
        internal int Start(Options options, CancellationToken token)
        {
            using (var use = handle.EnterAlone())
            using (var settings = Options.Enter(options))
            using (var scope = new CancelScope(this, token))
            {
                scope.Check(GptqApi.gptq_session_begin(use.Pointer, settings.Pointer));
                return ++generation;
            }
        }

        // False at the end of the generation.
        internal bool Step(int number, CancellationToken token, out Chunk chunk)
        {
            using (var use = EnterStep(number))
            using (var scope = new CancelScope(this, token))
            {
                int status = GptqApi.gptq_session_step(use.Pointer);
                scope.Check(status);
                return TakeChunk(status, use.Pointer, out chunk);
            }
        }

        // For a step of that generation, if it is the last that has begun.
        internal Handle.AloneUse EnterStep(int number)
        {
            Handle.AloneUse use = handle.EnterAlone();
            if (number == generation) return use;
            use.Dispose();
            throw new GptqException(ErrorCode.BadState, "this generation is over: its session has begun another");
        }

        // What a step that has not failed has left in a session; false at the end.
        internal static bool TakeChunk(int status, IntPtr session, out Chunk chunk)
        {
            bool more = status != GptqApi.GPTQ_DONE;
            chunk = more ? new Chunk(GptqApi.gptq_session_text(session), GptqApi.gptq_session_token(session)) : Chunk.None;
            return more;
        }
    }
}
