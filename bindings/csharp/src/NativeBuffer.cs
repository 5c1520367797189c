// What the library hands out in a gptq_buffer, copied to .NET; the buffer is freed.
using System;
using System.Runtime.InteropServices;

namespace Gptq
{
    internal static class NativeBuffer
    {
        public static string Text(IntPtr buffer)
        {
            return Taken(buffer, Utf8.Read);
        }

        public static int[] Ids(IntPtr buffer)
        {
            return Taken(buffer, (data, size) =>
            {
                var ids = new int[size / sizeof(int)];
                if (ids.Length > 0) Marshal.Copy(data, ids, 0, ids.Length);
                return ids;
            });
        }

        // Floats [rows][width].
        public static float[][] Rows(IntPtr buffer, int width)
        {
            return Taken(buffer, (data, size) =>
            {
                long stride = (long)width * sizeof(float);
                var rows = new float[size / stride][];
                for (int i = 0; i < rows.Length; ++i)
                {
                    rows[i] = new float[width];
                    Marshal.Copy(new IntPtr(data.ToInt64() + i * stride), rows[i], 0, width);
                }
                return rows;
            });
        }

        private static T Taken<T>(IntPtr buffer, Func<IntPtr, long, T> copy)
        {
            using (var owner = new Handle("buffer", buffer, GptqApi.gptq_buffer_free))
            using (var use = owner.Enter())
                return copy(GptqApi.gptq_buffer_data(use.Pointer), GptqApi.gptq_buffer_size(use.Pointer));
        }
    }
}
