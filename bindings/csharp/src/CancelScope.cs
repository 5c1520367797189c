// Lets a CancellationToken cancel what a session runs, for as long as the scope is open.
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
            registration = token.Register(Fire);
        }

        private void Fire()
        {
            fired = true;
            session.Cancel();
        }

        // Throws for a failed status, with the token where it was what cancelled.
        public void Check(int status)
        {
            if (status == GptqApi.GPTQ_ERROR_CANCELLED && fired)
                throw new OperationCanceledException(GptqApi.gptq_last_error_message(), token);
            GptqException.Check(status);
        }

        // Disposing of the registration waits for a Fire that has begun: after it, a cancel that came too late for the last
        // call can be taken back, so that it does not end the next one.
        public void Dispose()
        {
            registration.Dispose();
            if (fired) session.ClearCancel();
            fired = false;
        }
    }
}
