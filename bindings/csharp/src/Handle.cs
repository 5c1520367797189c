// Owns one handle of the library. Who calls with it holds a Use: closing meanwhile waits for the last one out.
using System;
using System.Runtime.InteropServices;

namespace Gptq
{
    internal sealed class Handle : SafeHandle
    {
        private readonly string kind;
        private readonly Action<IntPtr> free;

        // kind names the object in the message about its use after closing: "session".
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
    }
}
