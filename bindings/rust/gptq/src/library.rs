//! What the library says of itself.
use crate::buffer::Buffer;
use crate::error::{c_string, check, text_of, Result};
use gptq_sys as sys;

/// Version of the library at run time, such as "0.1.0".
pub fn version() -> String {
    text_of(unsafe { sys::gptq_version_string() })
}

/// Version, compiler and the instruction set in use, as one line of text for bug reports.
pub fn build_info() -> String {
    text_of(unsafe { sys::gptq_build_info() })
}

/// Whether the library at run time has the feature: "cpu", "quantize", "cuda".
pub fn has_feature(name: &str) -> bool {
    c_string("feature", name).map_or(false, |name| unsafe { sys::gptq_has_feature(name.as_ptr()) } == 1)
}

/// Whether models can compute on `device`, a value of [`crate::Options::device`]; the error says what is missing: the
/// plugin, the driver or the device.
pub fn check_device(device: &str) -> Result<()> {
    let device = c_string("device", device)?;
    check(unsafe { sys::gptq_device_check(device.as_ptr()) }).map(drop)
}

/// All options, each as a JSON object: name, type ("int", "float", "string"), scope, default ("" of a string that has
/// none), min and max with exclusive_min and exclusive_max where the bound itself is out, or values (an array; empty:
/// any), since, help.
///
/// ```
/// let options = gptq::describe_options()?;
/// assert!(options.iter().any(|json| json.contains(r#""name":"temperature""#)));
/// # Ok::<(), gptq::Error>(())
/// ```
pub fn describe_options() -> Result<Vec<String>> {
    let count = unsafe { sys::gptq_option_count() };
    (0..count).map(|i| Ok(Buffer::filled_by(|out| unsafe { sys::gptq_option_describe(i, out) })?.text())).collect()
}
