// Lets a CancellationToken cancel one call on a session. Between the calls of a generation nothing is registered: one that
// was dropped midway can neither be kept by its token nor cancel what the session does next.
using System;
using System.Threading;

namespace Gptq
{
    internal sealed class CancelScope : IDisposable
    {
        private readonly Session session;
        private readonly CancellationToken token;
        private readonly CancellationTokenRegistration registration;
        private volatile bool fired;

        public CancelScope(Session session, CancellationToken token)
        {
            this.session = session;
            this.token = token;
            if (token.CanBeCanceled) registration = token.Register(Fire);
        }

        private void Fire()
        {
            fired = true;
            session.Cancel();
        }

        // Throws for a failed status, with the token where it was what cancelled.
        public void Check(int status)
        {
            if (status < 0) throw Failure(status, GptqApi.gptq_last_error_message());
        }

        // What that throws.
        public Exception Failure(int status, string message)
        {
            if (status == GptqApi.GPTQ_ERROR_CANCELLED && fired) return new OperationCanceledException(message, token);
            return GptqException.Of(status, message);
        }

        // Disposing of the registration waits for a Fire that has begun: after it, a cancel that came too late for the call
        // can be taken back, so that it does not end the next one; the token itself does, if it is the same generation's.
        public void Dispose()
        {
            registration.Dispose();
            if (fired) session.ClearCancel();
        }
    }
}
