// One generation of a session: pulled by the calling thread, or step by step on the pool.
using System;
using System.Collections.Generic;
using System.Threading;
using System.Threading.Tasks;

namespace Gptq
{
    internal sealed class Generation : IDisposable
    {
        private readonly Session session;
        private readonly string prompt;
        private readonly Options options;
        private readonly CancellationToken token;
        private int number;  // 0 before it has begun
        private bool ended;
        private Chunk current;

        public Generation(Session session, string prompt, Options options, CancellationToken token)
        {
            this.session = session;
            this.prompt = prompt;
            this.options = options;
            this.token = token;
        }

        public Chunk Current
        {
            get { return current; }
        }

        public bool MoveNext()
        {
            if (ended) return false;
            try
            {
                if (number == 0) Begin();
                if (session.Step(number, token, out current)) return true;
            }
            catch
            {
                ended = true;
                throw;
            }
            ended = true;
            return false;
        }

        private void Begin()
        {
            token.ThrowIfCancellationRequested();
            if (prompt != null) session.Append(prompt);
            number = session.Begin(options, token);
        }

        public void Dispose()
        {
            ended = true;
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
