// What fails, as an exception: the number and the text that the library gives.
using System;

namespace Gptq
{
    /// <summary>What kind of failure it was. The numbers are those of gptq.h and never change; treat one that has no
    /// name here as a failure like the others.</summary>
    public enum ErrorCode
    {
        /// <summary>Ended by a cancel. It surfaces as <see cref="OperationCanceledException"/>.</summary>
        Cancelled = GptqApi.GPTQ_ERROR_CANCELLED,
        /// <summary>A null, an unknown key, a value out of its bounds.</summary>
        InvalidArgument = GptqApi.GPTQ_ERROR_INVALID_ARGUMENT,
        /// <summary>A file, tensor or key that is not there.</summary>
        NotFound = GptqApi.GPTQ_ERROR_NOT_FOUND,
        /// <summary>The system refused: permission, full disk, output exists.</summary>
        Io = GptqApi.GPTQ_ERROR_IO,
        /// <summary>A file contradicts its format or itself.</summary>
        Corrupt = GptqApi.GPTQ_ERROR_CORRUPT,
        /// <summary>Valid, but not known here, or above a limit.</summary>
        Unsupported = GptqApi.GPTQ_ERROR_UNSUPPORTED,
        /// <summary>The memory does not suffice.</summary>
        OutOfMemory = GptqApi.GPTQ_ERROR_OUT_OF_MEMORY,
        /// <summary>A fault of the GPU or its driver.</summary>
        Device = GptqApi.GPTQ_ERROR_DEVICE,
        /// <summary>More tokens than the session's context holds.</summary>
        ContextFull = GptqApi.GPTQ_ERROR_CONTEXT_FULL,
        /// <summary>Another thread is inside this object.</summary>
        Busy = GptqApi.GPTQ_ERROR_BUSY,
        /// <summary>Out of order: use of a closed object, for example.</summary>
        BadState = GptqApi.GPTQ_ERROR_BAD_STATE,
        /// <summary>A callback misbehaved.</summary>
        Callback = GptqApi.GPTQ_ERROR_CALLBACK,
        /// <summary>A fault of the library: please report it.</summary>
        Internal = GptqApi.GPTQ_ERROR_INTERNAL,
    }

    /// <summary>A call of the library that failed. The message says what, where, what was found and what was wanted; about
    /// bad input it ends in the kind of fault in brackets, such as [FORMAT] or [MISMATCH].</summary>
    public sealed class GptqException : Exception
    {
        /// <summary>What kind of failure it was.</summary>
        public ErrorCode Code { get; }

        /// <summary>An error of this kind and text.</summary>
        public GptqException(ErrorCode code, string message) : base(message)
        {
            Code = code;
        }

        // Throws for a failed status. To be called on the thread of the call, at once: the text is the thread's own.
        internal static void Check(int status)
        {
            if (status < 0) throw Of(status, GptqApi.gptq_last_error_message());
        }

        // What a failed status is thrown as.
        internal static Exception Of(int status, string message)
        {
            if (status == GptqApi.GPTQ_ERROR_CANCELLED) return new OperationCanceledException(message);
            return new GptqException((ErrorCode)status, message);
        }
    }
}
