//! One error type for all of the crate, and the way from a status of the C interface to it.
use gptq_sys as sys;
use std::ffi::{CStr, CString};
use std::fmt;
use std::os::raw::c_char;

/// A result whose error is an [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $status:ident,)*) => {
        /// What kind of failure it was. The library may learn new ones: treat those that you do not know as a failure.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
            /// A number that this version of the crate has no name for.
            Other(i32),
        }

        impl ErrorCode {
            /// The number in the C interface, `GPTQ_ERROR_*`; it never changes.
            pub fn status(self) -> i32 {
                match self {
                    $(ErrorCode::$name => sys::$status,)*
                    ErrorCode::Other(status) => status,
                }
            }
        }

        impl From<i32> for ErrorCode {
            fn from(status: i32) -> Self {
                match status {
                    $(sys::$status => ErrorCode::$name,)*
                    other => ErrorCode::Other(other),
                }
            }
        }
    };
}

error_codes! {
    /// A [`Canceller`](crate::Canceller) or [`Monitor`](crate::Monitor) asked for it.
    Cancelled = GPTQ_ERROR_CANCELLED,
    /// An unknown key, a value out of its bounds, a NUL where none may be.
    InvalidArgument = GPTQ_ERROR_INVALID_ARGUMENT,
    /// A file, tensor or key that is not there.
    NotFound = GPTQ_ERROR_NOT_FOUND,
    /// The system refused: permission, full disk, output exists.
    Io = GPTQ_ERROR_IO,
    /// A file contradicts its format or itself.
    Corrupt = GPTQ_ERROR_CORRUPT,
    /// Valid, but not known here, or above a limit.
    Unsupported = GPTQ_ERROR_UNSUPPORTED,
    /// An allocation failed; the process can go on.
    OutOfMemory = GPTQ_ERROR_OUT_OF_MEMORY,
    /// A fault of the GPU or its driver.
    Device = GPTQ_ERROR_DEVICE,
    /// More tokens than the session's context holds.
    ContextFull = GPTQ_ERROR_CONTEXT_FULL,
    /// Another thread is inside the handle. Ownership rules it out in safe Rust.
    Busy = GPTQ_ERROR_BUSY,
    /// Out of order: generating from an empty history, for example.
    BadState = GPTQ_ERROR_BAD_STATE,
    /// A callback misbehaved.
    Callback = GPTQ_ERROR_CALLBACK,
    /// A fault of the library: please report it.
    Internal = GPTQ_ERROR_INTERNAL,
}

impl fmt::Display for ErrorCode {
    /// The name in the C interface, such as `GPTQ_ERROR_CORRUPT`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text_of(unsafe { sys::gptq_status_name(self.status()) }))
    }
}

/// A failure: what kind, and a message for people.
///
/// A message about bad input names file, tensor or key, what was found and what was wanted, and ends in the kind of fault
/// in brackets: TRUNC, FORMAT, LIMIT, RANGE, MISMATCH, DUP, PATH, UNSUPPORTED, NUMERIC, IO, EXISTS or CHANGED.
///
/// ```
/// use gptq::{ErrorCode, Model};
///
/// let error = Model::load("/no/such/folder").unwrap_err();
/// assert_eq!(error.code(), ErrorCode::NotFound);
/// assert!(error.message().contains("/no/such/folder"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    code: ErrorCode,
    message: String,
}

impl Error {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Error { code, message: message.into() }
    }

    /// What kind of failure it was.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// What failed, where, what was found and what was wanted.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether a cancel was the reason.
    pub fn is_cancelled(&self) -> bool {
        self.code == ErrorCode::Cancelled
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// A status that the C interface has just returned on this thread: 0 or positive, or else the error with its text.
pub(crate) fn check(status: sys::gptq_status) -> Result<sys::gptq_status> {
    if status >= 0 {
        return Ok(status);
    }
    Err(Error::new(status.into(), text_of(unsafe { sys::gptq_last_error_message() })))
}

/// A copy of a text that the C interface lends.
pub(crate) fn text_of(text: *const c_char) -> String {
    // SAFETY: such functions return a NUL-terminated text, never null.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// For an argument that C takes NUL-terminated; `what` names it in the message.
pub(crate) fn c_string(what: &str, text: impl Into<Vec<u8>>) -> Result<CString> {
    CString::new(text).map_err(|error| {
        let message = format!("{what}: a NUL at byte {}, wanted a text without", error.nul_position());
        Error::new(ErrorCode::InvalidArgument, message)
    })
}
