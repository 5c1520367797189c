//! Declarations of libgptq's whole C interface, made from `gptq.h`. The crate [`gptq`](https://docs.rs/gptq) is the one
//! to use from Rust; this one is for what it leaves out, such as callbacks.
//!
//! Rules that hold for every function:
//!
//! - A function that can fail returns a [`gptq_status`]: 0 on success, negative on failure, positive for a success that
//!   says more ([`GPTQ_DONE`]). [`gptq_last_error_message`] then says what, where, what was found and what was wanted, on
//!   the thread of the call.
//! - Outputs come last, and are set to null or 0 when the function fails. A null argument where a handle, a text or an
//!   output is needed gives [`GPTQ_ERROR_INVALID_ARGUMENT`].
//! - Text is UTF-8, given as pointer and length in bytes; a negative length means NUL-terminated.
//! - A handle from `_create`, `_load` or `**out` is the caller's, and goes back through its `_free`. Freeing null does
//!   nothing. Handles may be freed in any order: what depends on another keeps it alive. A returned `*const c_char` is
//!   borrowed; each function says how long it is good.
//! - A function that takes a `*const` handle may be called on it by several threads at once. One that takes a `*mut`
//!   handle needs the handle for itself meanwhile; a session or quantizer that is entered twice returns
//!   [`GPTQ_ERROR_BUSY`].
//! - The library never prints, never ends the process, installs no signal handler and changes no locale.
//!
//! The build script finds the library through pkg-config, or in the folder that `GPTQ_LIB_DIR` names.
#![allow(non_camel_case_types)]

#[rustfmt::skip]
mod sys;
pub use sys::*;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::ffi::CStr;
    use std::ptr::null_mut;

    #[test]
    fn every_function_is_in_the_library() {
        let functions = sys::functions();
        let addresses: HashSet<_> = functions.iter().map(|(_, address)| *address).collect();
        assert!(functions.iter().all(|(name, address)| !address.is_null() && name.starts_with("gptq_")));
        assert_eq!(addresses.len(), functions.len());
    }

    #[test]
    fn the_library_gives_statuses_the_same_names() {
        for (name, status) in sys::errors() {
            // SAFETY: the returned text is static.
            let theirs = unsafe { CStr::from_ptr(gptq_status_name(status)) };
            assert_eq!(theirs.to_str(), Ok(name));
        }
    }

    #[test]
    fn the_library_has_the_same_options() {
        let described: HashSet<String> = (0..unsafe { gptq_option_count() })
            .map(|index| unsafe {
                let mut buffer = null_mut();
                assert_eq!(gptq_option_describe(index, &mut buffer), GPTQ_OK);
                let size = gptq_buffer_size(buffer) as usize;
                let bytes = std::slice::from_raw_parts(gptq_buffer_data(buffer).cast::<u8>(), size).to_vec();
                gptq_buffer_free(buffer);
                let json = String::from_utf8(bytes).unwrap();
                json.strip_prefix(r#"{"name":""#).and_then(|rest| rest.split('"').next()).unwrap().to_owned()
            })
            .collect();
        let declared = sys::keys().into_iter().map(|(_, key)| key.to_str().unwrap().to_owned()).collect();
        assert_eq!(described, declared);
    }

    #[test]
    fn the_library_is_of_the_declared_version() {
        let version = GPTQ_VERSION_MAJOR * 1_000_000 + GPTQ_VERSION_MINOR * 1_000 + GPTQ_VERSION_PATCH;
        assert_eq!(unsafe { gptq_version() }, version);
    }
}
