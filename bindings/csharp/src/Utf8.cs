// Text between .NET and C: UTF-8 bytes both ways, with U+0000 inside where a length goes along.
using System;
using System.Runtime.InteropServices;
using System.Text;

namespace Gptq
{
    internal static class Utf8
    {
        // The bytes and a NUL, for an argument that C reads to its NUL: the text must have none of its own.
        public static byte[] Terminated(string text)
        {
            if (text == null) return null;
            int nul = text.IndexOf('\0');
            if (nul >= 0)
                throw new GptqException(ErrorCode.InvalidArgument,
                    "U+0000 at character " + nul + " of \"" + text.Replace("\0", "\\0") + "\"; a path, key or value has none");
            var bytes = new byte[Encoding.UTF8.GetByteCount(text) + 1];
            Encoding.UTF8.GetBytes(text, 0, text.Length, bytes, 0);
            return bytes;
        }

        // The bytes alone, for an argument whose length is the next one.
        public static byte[] Bytes(string text)
        {
            return text == null ? null : Encoding.UTF8.GetBytes(text);
        }

        // The length that goes with an array; for null one that the library refuses, with the name of the argument.
        public static long Count(Array array)
        {
            return array == null ? -1 : array.Length;
        }

        public static string Read(IntPtr text)
        {
            if (text == IntPtr.Zero) return null;
            int size = 0;
            while (Marshal.ReadByte(text, size) != 0) ++size;
            return Read(text, size);
        }

        public static string Read(IntPtr text, long size)
        {
            if (text == IntPtr.Zero) return null;
            if (size == 0) return "";
            var bytes = new byte[checked((int)size)];
            Marshal.Copy(text, bytes, 0, bytes.Length);
            return Encoding.UTF8.GetString(bytes);
        }
    }
}
