//! Settings by name, built up in a chain.
use crate::buffer::Buffer;
use crate::error::{c_string, check, Error, Result};
use gptq_sys as sys;
use std::fmt;
use std::ptr::null_mut;

/// Settings by name. What is not set has its default.
///
/// One value may hold settings of every scope: each function takes those that it knows, leaves the rest, and keeps a
/// copy. There is a method for each option; [`Options::set`] takes the name instead.
///
/// A setting that is refused (an unknown name, another type, a value out of its bounds) leaves the options as they were.
/// Its error is kept, the first of several, and returned by the function that the options are given to.
///
/// ```
/// use gptq::{ErrorCode, Options};
///
/// let options = Options::new().temperature(0.7).top_p(0.9).seed(7).set("max_tokens", 100);
/// assert_eq!(options.to_json()?, r#"{"max_tokens":100,"seed":7,"temperature":0.7,"top_p":0.9}"#);
///
/// let error = Options::new().temperature(-1.0).to_json().unwrap_err();
/// assert_eq!(error.code(), ErrorCode::InvalidArgument);
/// # Ok::<(), gptq::Error>(())
/// ```
pub struct Options {
    raw: *mut sys::gptq_options, // null only where `error` is set
    error: Option<Error>,
}

// SAFETY: methods that change the options need them by value or `&mut`; C allows the others from several threads.
unsafe impl Send for Options {}
unsafe impl Sync for Options {}

/// What an option is set to; made from `i32`, `u32`, `i64`, `f32`, `f64`, `bool`, `&str` and `&String`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum OptionValue<'a> {
    /// For options of type "int" and "float"; true and false are 1 and 0.
    Int(i64),
    /// For options of type "float".
    Float(f64),
    /// For options of type "string".
    Text(&'a str),
}

impl From<i32> for OptionValue<'_> {
    fn from(value: i32) -> Self {
        OptionValue::Int(value.into())
    }
}

impl From<u32> for OptionValue<'_> {
    fn from(value: u32) -> Self {
        OptionValue::Int(value.into())
    }
}

impl From<i64> for OptionValue<'_> {
    fn from(value: i64) -> Self {
        OptionValue::Int(value)
    }
}

impl From<bool> for OptionValue<'_> {
    fn from(value: bool) -> Self {
        OptionValue::Int(value.into())
    }
}

impl From<f32> for OptionValue<'_> {
    fn from(value: f32) -> Self {
        OptionValue::Float(value.into())
    }
}

impl From<f64> for OptionValue<'_> {
    fn from(value: f64) -> Self {
        OptionValue::Float(value)
    }
}

impl<'a> From<&'a str> for OptionValue<'a> {
    fn from(value: &'a str) -> Self {
        OptionValue::Text(value)
    }
}

impl<'a> From<&'a String> for OptionValue<'a> {
    fn from(value: &'a String) -> Self {
        OptionValue::Text(value)
    }
}

impl Options {
    /// An empty set: every option has its default.
    pub fn new() -> Self {
        let mut raw = null_mut();
        let error = check(unsafe { sys::gptq_options_create(&mut raw) }).err();
        Options { raw, error }
    }

    /// From a JSON object such as `{"bits": 4, "order": "act", "sym": true}`.
    pub fn from_json(json: &str) -> Result<Self> {
        let mut options = Options::new();
        options.try_set_json(json)?;
        Ok(options)
    }

    fn try_set_json(&mut self, json: &str) -> Result<()> {
        let raw = self.raw()?;
        check(unsafe { sys::gptq_options_set_json(raw, json.as_ptr().cast(), json.len() as i64) }).map(drop)
    }

    /// Those that were set, as a JSON object.
    pub fn to_json(&self) -> Result<String> {
        let raw = self.raw()?;
        Ok(Buffer::filled_by(|out| unsafe { sys::gptq_options_get_json(raw, out) })?.text())
    }

    /// Sets an option by its name.
    #[must_use]
    pub fn set<'a>(mut self, key: &str, value: impl Into<OptionValue<'a>>) -> Self {
        if self.error.is_none() {
            self.error = self.try_set(key, value.into()).err();
        }
        self
    }

    /// Sets an option that is a list of texts, such as `stop`, by its name; what it was set to before is no more.
    #[must_use]
    pub fn set_list<T: AsRef<str>>(self, key: &str, values: impl IntoIterator<Item = T>) -> Self {
        let mut options = self;
        if options.error.is_none() {
            options.error = options.try_set_json(&format!(r#"{{"{key}": []}}"#)).err();
        }
        for value in values {
            if options.error.is_none() {
                options.error = options.try_add(key, value.as_ref()).err();
            }
        }
        options
    }

    fn try_add(&mut self, key: &str, value: &str) -> Result<()> {
        let (name, text) = (c_string("option name", key)?, c_string(key, value)?);
        // SAFETY: as in try_set()
        check(unsafe { sys::gptq_options_add_string(self.raw, name.as_ptr(), text.as_ptr()) }).map(drop)
    }

    fn try_set(&mut self, key: &str, value: OptionValue<'_>) -> Result<()> {
        let name = c_string("option name", key)?;
        let text = match value {
            OptionValue::Text(text) => c_string(key, text)?,
            _ => Default::default(),
        };
        // SAFETY: `raw` is not null where there is no error, and `&mut` makes it ours alone.
        check(unsafe {
            match value {
                OptionValue::Int(value) => sys::gptq_options_set_int(self.raw, name.as_ptr(), value),
                OptionValue::Float(value) => sys::gptq_options_set_float(self.raw, name.as_ptr(), value),
                OptionValue::Text(_) => sys::gptq_options_set_string(self.raw, name.as_ptr(), text.as_ptr()),
            }
        })
        .map(drop)
    }

    /// For a call; or the error of a setting before.
    pub(crate) fn raw(&self) -> Result<*mut sys::gptq_options> {
        self.error.clone().map_or(Ok(self.raw), Err)
    }
}

impl Default for Options {
    fn default() -> Self {
        Options::new()
    }
}

impl Clone for Options {
    fn clone(&self) -> Self {
        self.to_json()
            .and_then(|json| Options::from_json(&json))
            .unwrap_or_else(|error| Options { raw: null_mut(), error: Some(error) })
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        unsafe { sys::gptq_options_free(self.raw) }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_json() {
            Ok(json) => write!(f, "Options({json})"),
            Err(error) => write!(f, "Options({error:?})"),
        }
    }
}
