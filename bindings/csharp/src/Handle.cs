// Owns one handle of the library. Who calls with it holds a Use: closing meanwhile waits for the last one out.
// What C takes as const and the handle's own rules leave to any thread goes through Enter; the rest, getters of a session
// and a quantizer among them, through EnterAlone: they read what a call beside them would change.
using System;
using System.Runtime.InteropServices;
using System.Threading;

namespace Gptq
{
    internal sealed class Handle : SafeHandle
    {
        private readonly string kind;
        private readonly Action<IntPtr> free;
        private int taken;  // 1 while somebody is inside alone

        // kind names the object in the messages about it: "session".
        public Handle(string kind, IntPtr value, Action<IntPtr> free) : base(IntPtr.Zero, true)
        {
            this.kind = kind;
            this.free = free;
            SetHandle(value);
        }

        public override bool IsInvalid
        {
            get { return handle == IntPtr.Zero; }
        }

        protected override bool ReleaseHandle()
        {
            free(handle);
            return true;
        }

        public Use Enter()
        {
            Use use;
            if (TryEnter(out use)) return use;
            throw new GptqException(ErrorCode.BadState, "the " + kind + " is closed");
        }

        // Busy while another is inside in this way; Enter and TryEnter stay open to all.
        public AloneUse EnterAlone()
        {
            Use use = Enter();
            if (Interlocked.CompareExchange(ref taken, 1, 0) == 0) return new AloneUse(this, use);
            use.Dispose();
            throw new GptqException(ErrorCode.Busy, "the " + kind + " is in use by another thread");
        }

        public bool TryEnter(out Use use)
        {
            bool held = false;
            try
            {
                DangerousAddRef(ref held);
            }
            catch (ObjectDisposedException)
            {
            }
            use = held ? new Use(this, handle) : default(Use);
            return held;
        }

        internal struct Use : IDisposable
        {
            private readonly Handle owner;

            // NULL where nothing is held.
            public IntPtr Pointer { get; }

            public Use(Handle owner, IntPtr pointer)
            {
                this.owner = owner;
                Pointer = pointer;
            }

            public void Dispose()
            {
                if (owner != null) owner.DangerousRelease();
            }
        }

        internal struct AloneUse : IDisposable
        {
            private readonly Handle owner;
            private readonly Use use;

            public IntPtr Pointer
            {
                get { return use.Pointer; }
            }

            public AloneUse(Handle owner, Use use)
            {
                this.owner = owner;
                this.use = use;
            }

            public void Dispose()
            {
                Volatile.Write(ref owner.taken, 0);
                use.Dispose();
            }
        }
    }
}
