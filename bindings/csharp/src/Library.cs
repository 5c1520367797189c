// The library itself: its version and what it can do.
namespace Gptq
{
    /// <summary>The native library that is in use. All members may be used by any thread.</summary>
    public static class Library
    {
        /// <summary>Its version, such as "0.1.0".</summary>
        public static string Version
        {
            get { return GptqApi.gptq_version_string(); }
        }

        /// <summary>The same as one number: major * 1000000 + minor * 1000 + patch.</summary>
        public static int VersionNumber
        {
            get { return GptqApi.gptq_version(); }
        }

        /// <summary>Version, compiler and the instruction set in use, as one line for bug reports.</summary>
        public static string BuildInfo
        {
            get { return GptqApi.gptq_build_info(); }
        }

        /// <summary>Whether it has the feature: "cpu", "quantize", "cuda".</summary>
        public static bool HasFeature(string name)
        {
            return GptqApi.gptq_has_feature(name) == 1;
        }

        /// <summary>Throws saying what is missing, plugin, driver or device, unless models can compute on the device, a value
        /// of <see cref="Options.Device"/>.</summary>
        public static void CheckDevice(string device)
        {
            GptqException.Check(GptqApi.gptq_device_check(device));
        }
    }
}
