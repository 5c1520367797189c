// One generation of a session: pulled by the calling thread, or step by step on the pool, alone or together with others.
using System;
using System.Collections.Generic;
using System.Threading;
using System.Threading.Tasks;

namespace Gptq
{
    /// <summary>A generation that is pulled by hand, alone or with those of other sessions; made by
    /// <see cref="Session.Begin"/>. It belongs to one thread at a time. Another generation of its session, or an append, ends
    /// it.</summary>
    public sealed class Generation : IDisposable
    {
        private readonly Session session;
        private readonly string prompt;
        private readonly Options options;
        private readonly CancellationToken token;
        private int number;  // 0 before it has begun
        private volatile bool ended;
        private Chunk current = Chunk.None;

        internal Generation(Session session, string prompt, Options options, CancellationToken token)
        {
            this.session = session;
            this.prompt = prompt;
            this.options = options;
            this.token = token;
        }

        /// <summary>What was pulled last; text "" and token -1 before the first chunk and after the end.</summary>
        public Chunk Current
        {
            get { return current; }
        }

        /// <summary>Whether there is no more.</summary>
        public bool Ended
        {
            get { return ended; }
        }

        /// <summary>Why it has ended before its end: a <see cref="GptqException"/>, or an
        /// <see cref="OperationCanceledException"/> with the token where that was what cancelled it. Null while it goes on,
        /// and where it has ended by itself.</summary>
        public Exception Error { get; private set; }

        /// <summary>Pulls the next chunk; false at the end.</summary>
        /// <exception cref="GptqException">OutOfMemory, Device, BadState once it is over otherwise, Busy; it has then
        /// ended.</exception>
        /// <exception cref="OperationCanceledException">After a cancel.</exception>
        public bool MoveNext()
        {
            if (ended) return false;
            try
            {
                if (number == 0) Begin();
                Chunk chunk;
                bool more = session.Step(number, token, out chunk);
                return Take(more, chunk);
            }
            catch (Exception error)
            {
                Fail(error);
                throw;
            }
        }

        /// <summary>Pulls the next chunk of several generations of one model, each of a session of its own, for
        /// <see cref="Current"/> of each. Their tokens go through the model together: its weights are read once for all of
        /// them, so that eight generations get several times the tokens of one in the same time. Any generations at each call,
        /// at any place in their text; those that have ended cost nothing.</summary>
        /// <remarks>Each gets the chunk that it would get alone, but for the rounding of sums in another order. One that ends
        /// or fails does so alone, be it by its token, because its session is closed, or because another thread is inside it;
        /// <see cref="Error"/> tells.</remarks>
        /// <returns>Whether one of them at least has a chunk.</returns>
        /// <exception cref="GptqException">InvalidArgument for a null, two of one session that have not ended, or
        /// generations of several models, which the message counts without those that have ended; OutOfMemory. None has taken
        /// a step then.</exception>
        public static bool NextAll(IEnumerable<Generation> generations)
        {
            return JointStep.Run(JointStep.Listed(generations));
        }

        /// <summary>The same on a thread of the pool. The list may change as soon as this returns, the generations may not be
        /// used before the end of the task.</summary>
        public static Task<bool> NextAllAsync(IEnumerable<Generation> generations)
        {
            List<Generation> listed = JointStep.Listed(generations);
            return Task.Run(() => JointStep.Run(listed));
        }

        /// <summary>Pulls no further; the session stays where it is.</summary>
        public void Dispose()
        {
            ended = true;
            current = Chunk.None;
        }

        internal Session Session
        {
            get { return session; }
        }

        internal int Number
        {
            get { return number; }
        }

        internal CancellationToken Token
        {
            get { return token; }
        }

        internal void Begin()
        {
            token.ThrowIfCancellationRequested();
            if (prompt != null) session.Append(prompt);
            number = session.Start(options, token);
        }

        // What a step has come to; gives whether there is more.
        internal bool Take(bool more, Chunk chunk)
        {
            current = chunk;
            if (!more) ended = true;
            return more;
        }

        internal void Fail(Exception error)
        {
            Error = error;
            Take(false, Chunk.None);
        }
    }

    internal sealed class AsyncChunks : IAsyncEnumerable<Chunk>
    {
        private readonly Session session;
        private readonly string prompt;
        private readonly Options options;
        private readonly CancellationToken token;

        public AsyncChunks(Session session, string prompt, Options options, CancellationToken token)
        {
            this.session = session;
            this.prompt = prompt;
            this.options = options;
            this.token = token;
        }

        public IAsyncEnumerator<Chunk> GetAsyncEnumerator(CancellationToken cancellationToken)
        {
            if (!cancellationToken.CanBeCanceled || cancellationToken == token) return new Enumerator(this, token, null);
            if (!token.CanBeCanceled) return new Enumerator(this, cancellationToken, null);
            var either = CancellationTokenSource.CreateLinkedTokenSource(token, cancellationToken);
            return new Enumerator(this, either.Token, either);
        }

        private sealed class Enumerator : IAsyncEnumerator<Chunk>
        {
            private readonly Generation generation;
            private readonly Func<bool> moveNext;
            private readonly CancellationTokenSource linked;

            public Enumerator(AsyncChunks chunks, CancellationToken token, CancellationTokenSource linked)
            {
                generation = new Generation(chunks.session, chunks.prompt, chunks.options, token);
                moveNext = generation.MoveNext;
                this.linked = linked;
            }

            public Chunk Current
            {
                get { return generation.Current; }
            }

            public ValueTask<bool> MoveNextAsync()
            {
                return new ValueTask<bool>(Task.Run(moveNext));
            }

            public ValueTask DisposeAsync()
            {
                generation.Dispose();
                if (linked != null) linked.Dispose();
                return default(ValueTask);
            }
        }
    }
}
