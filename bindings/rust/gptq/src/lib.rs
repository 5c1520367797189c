//! Quantize language models with GPTQ and run them, in your process and without Python.
//!
//! A Hugging Face model folder goes in; a GPTQ folder that transformers, GPTQModel and vLLM load comes out; text streams
//! from either. This crate is the Rust face of the C library [libgptq](https://github.com/libgptq/libgptq).
//!
//! ```
//! use gptq::{Model, Options};
//!
//! # let path = "../../../samples/model";
//! let model = Model::load(path)?;
//! let mut session = model.session()?;
//! for chunk in session.generate_with("Once upon a time", &Options::new().max_tokens(20))? {
//!     print!("{}", chunk?.text);
//! }
//! # Ok::<(), gptq::Error>(())
//! ```
//!
//! What holds everywhere:
//!
//! - **Errors** are one type, [`Error`]: a code to match on, and a message that names the file, tensor or key, what was
//!   found and what was wanted.
//! - **Options** are set by name on an [`Options`], which may hold settings of every scope: each function takes those
//!   that it knows. `f()` uses the defaults, `f_with(.., &options)` those options.
//! - **Threads**: a [`Model`] may be used by any number of threads and cloned at no cost; a [`Session`] or [`Quantizer`]
//!   moves freely between threads and does one thing at a time.
//! - **Cancel**: a [`Canceller`] ends the prompt processing or generation of its session from any thread, a [`Monitor`]
//!   the job of its quantizer.
//! - **Several at once**: [`next_all`] pulls several generations, whose tokens go through the model together.
//! - **Release**: dropping a value frees it at once. Any order will do: a session keeps what it needs of its model.
//! - The library never prints, never ends the process, installs no signal handler and changes no locale.
#![deny(missing_docs, unsafe_op_in_unsafe_fn)]

mod buffer;
mod error;
mod generation;
mod library;
mod model;
mod next_all;
#[rustfmt::skip]
mod option_setters;
mod options;
mod quantizer;
mod session;

pub use error::{Error, ErrorCode, Result};
pub use generation::{Chunk, FinishReason, Generation};
pub use library::{build_info, check_device, describe_options, has_feature, version};
pub use model::{Detokenize, Model, Tokenize};
pub use next_all::next_all;
pub use options::{OptionValue, Options};
pub use quantizer::{Monitor, Progress, Quantizer, Steps};
pub use session::{Canceller, KeepLogits, Session};

/// The example of README.md compiles; tests/bindings/rust.sh runs it.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}

/// The compiler names an iterator that nobody asks.
///
/// ```
/// #![deny(unused_must_use)]
/// pub fn worked(job: &mut gptq::Quantizer) -> usize { job.steps().count() }
/// ```
/// ```compile_fail
/// #![deny(unused_must_use)]
/// pub fn forgotten(job: &mut gptq::Quantizer) { job.steps(); }
/// ```
/// ```compile_fail
/// #![deny(unused_must_use)]
/// pub fn forgotten(talk: &mut gptq::Session) -> gptq::Result<()> { talk.generate("Hello")?; Ok(()) }
/// ```
#[cfg(doctest)]
mod unused_iterators {}
