//! A loaded model folder: facts about it, its tokenizer, and sessions.
use crate::buffer::Buffer;
use crate::error::{c_string, check, text_of, Error, ErrorCode, Result};
use crate::{Options, Session};
use gptq_sys as sys;
use std::ffi::CString;
use std::ops::BitOr;
use std::path::Path;
use std::ptr::{null, null_mut};

/// Weights and tokenizer of a folder: immutable, shared by threads and sessions.
///
/// A clone is one more hold on the same model. The memory goes back with the last hold, sessions included.
///
/// ```
/// # let path = "../../../samples/model";
/// let model = gptq::Model::load(path)?;
/// let ids = model.tokenize("Once upon a time 🙂")?;
/// assert_eq!(model.detokenize(&ids)?, "Once upon a time 🙂");
/// assert_eq!(model.get_int("n_layer")?, 4);
/// # Ok::<(), gptq::Error>(())
/// ```
#[derive(Debug)]
pub struct Model {
    raw: *mut sys::gptq_model,
}

// SAFETY: all functions take the model `const`: C allows them from several threads at once.
unsafe impl Send for Model {}
unsafe impl Sync for Model {}

/// How [`Model::tokenize_with`] reads a text; combined with `|`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokenize(i32);

impl Tokenize {
    /// The text alone, special tokens in it as text: the default.
    pub const PLAIN: Self = Tokenize(0);
    /// Adds what the tokenizer puts around a text, such as a beginning-of-text token.
    pub const ADD_SPECIAL: Self = Tokenize(sys::GPTQ_TOKENIZE_ADD_SPECIAL);
    /// Lets the text `<|eot_id|>` become that token: not for text that users write.
    pub const PARSE_SPECIAL: Self = Tokenize(sys::GPTQ_TOKENIZE_PARSE_SPECIAL);
}

impl BitOr for Tokenize {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Tokenize(self.0 | other.0)
    }
}

/// What [`Model::detokenize_with`] writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Detokenize(i32);

impl Detokenize {
    /// All tokens, special ones by their spelling: the default.
    pub const ALL: Self = Detokenize(0);
    /// Leaves special tokens out of the text.
    pub const SKIP_SPECIAL: Self = Detokenize(sys::GPTQ_DETOKENIZE_SKIP_SPECIAL);
}

impl Model {
    /// Loads a folder: config.json, tokenizer files and safetensors weights (F32, F16, BF16, or GPTQ v1 and v2).
    /// Everything is checked before it is used: each tensor must be one that the architecture has, of its shape.
    ///
    /// Blocks. Errors: [`ErrorCode::NotFound`], `Io`, `Corrupt`, `Unsupported` (an architecture or option not known here),
    /// `OutOfMemory`.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Self::load_with(path, &Options::new())
    }

    /// As [`Model::load`], with options of scope "model".
    pub fn load_with(path: impl AsRef<Path>, options: &Options) -> Result<Self> {
        let path = c_path("model path", path.as_ref())?;
        let mut raw = null_mut();
        check(unsafe { sys::gptq_model_load(path.as_ptr(), options.raw()?, &mut raw) })?;
        Ok(Model { raw })
    }

    /// Writes a quantized model folder in another format, by options of scope "convert": `format` must be set, to "gptq",
    /// "gptq_v2", "compressed_tensors" or "dense". The output appears when all of it is on disk.
    ///
    /// Blocks. Errors: as [`Model::load`]; `InvalidArgument` without a format, `Unsupported` for what the format can't
    /// hold (the message names the module), `Io` when the output exists or can't be made.
    pub fn convert(path: impl AsRef<Path>, output: impl AsRef<Path>, options: &Options) -> Result<()> {
        let path = c_path("model path", path.as_ref())?;
        let output = c_path("output path", output.as_ref())?;
        check(unsafe { sys::gptq_model_convert(path.as_ptr(), output.as_ptr(), options.raw()?) }).map(drop)
    }

    /// A session with this model: see [`Session`].
    pub fn session(&self) -> Result<Session> {
        self.session_with(&Options::new())
    }

    /// As [`Model::session`], with options of scope "session".
    pub fn session_with(&self, options: &Options) -> Result<Session> {
        let vocab_size = self.get_int("vocab_size")?.max(1) as usize;
        let mut raw = null_mut();
        check(unsafe { sys::gptq_session_create(self.raw, options.raw()?, &mut raw) })?;
        Ok(Session::new(raw, vocab_size))
    }

    /// A number about the model: "n_layer", "hidden_size", "vocab_size", "context_length", "context_limit" (most that a
    /// session may be given: rotary positions can go beyond context_length, learned ones not), "n_head", "n_kv_head",
    /// "head_dim", "parameters" (of embedding, head and Linears, without norms, biases and positions), "quantized" (0 or
    /// 1), "bits" (of the quantized modules, 0 if none), "group_size" (-1: one group; 0 if none), "sym", "desc_act",
    /// "weight_bytes" (held or mapped), "weight_bytes_per_token" (read to decode one token), "bos_token_id",
    /// "eos_token_id" (the first; -1 if none), "threads". "parameters" and the bytes are 0 where load_weights is 0.
    ///
    /// Errors: [`ErrorCode::NotFound`] for another key; the message names the nearest.
    pub fn get_int(&self, key: &str) -> Result<i64> {
        let key = c_string("key", key)?;
        let mut value = 0;
        check(unsafe { sys::gptq_model_get_int(self.raw, key.as_ptr(), &mut value) })?;
        Ok(value)
    }

    /// A text about the model: "family", "architecture", "path", "device", "layer_split" ("20,12"), "dtype",
    /// "quantization" ("gptq 4-bit g128 sym", or "").
    ///
    /// Errors: [`ErrorCode::NotFound`] for another key.
    pub fn get_string(&self, key: &str) -> Result<String> {
        let key = c_string("key", key)?;
        let mut value = null();
        check(unsafe { sys::gptq_model_get_string(self.raw, key.as_ptr(), &mut value) })?;
        Ok(text_of(value))
    }

    /// All that [`Model::get_int`] and [`Model::get_string`] know, as one JSON object.
    pub fn metadata(&self) -> Result<String> {
        Ok(Buffer::filled_by(|out| unsafe { sys::gptq_model_metadata_json(self.raw, out) })?.text())
    }

    /// Text to ids, without anything around it.
    pub fn tokenize(&self, text: &str) -> Result<Vec<i32>> {
        self.tokenize_with(text, Tokenize::PLAIN)
    }

    /// Text to ids.
    pub fn tokenize_with(&self, text: &str, how: Tokenize) -> Result<Vec<i32>> {
        let (data, size) = (text.as_ptr().cast(), text.len() as i64);
        let buffer = Buffer::filled_by(|out| unsafe { sys::gptq_model_tokenize(self.raw, data, size, how.0, out) })?;
        Ok(buffer.ids().to_vec())
    }

    /// The text that the model's chat template makes of a chat, which is JSON: an array of messages as OpenAI has them, or
    /// an object with `messages`, and any of `tools`, `add_generation_prompt`, `chat_template` (one by name, or a template
    /// itself) and further variables.
    ///
    /// Errors: [`ErrorCode::InvalidArgument`] where the template refuses the messages, [`ErrorCode::NotFound`] where the
    /// folder has no template, [`ErrorCode::Corrupt`] for ill-formed JSON.
    pub fn apply_chat_template(&self, chat: &str) -> Result<String> {
        let (data, size) = (chat.as_ptr().cast(), chat.len() as i64);
        Ok(Buffer::filled_by(|out| unsafe { sys::gptq_model_apply_chat_template(self.raw, data, size, out) })?.text())
    }

    /// The same as ids, for [`Session::append_tokens`](crate::Session::append_tokens). Special tokens that the messages
    /// spell out stay text.
    pub fn tokenize_chat(&self, chat: &str) -> Result<Vec<i32>> {
        self.tokenize_chat_with(chat, Tokenize::PLAIN)
    }

    /// The same, with [`Tokenize::PARSE_SPECIAL`] or without.
    pub fn tokenize_chat_with(&self, chat: &str, how: Tokenize) -> Result<Vec<i32>> {
        let (data, size) = (chat.as_ptr().cast(), chat.len() as i64);
        let buffer =
            Buffer::filled_by(|out| unsafe { sys::gptq_model_tokenize_chat(self.raw, data, size, how.0, out) })?;
        Ok(buffer.ids().to_vec())
    }

    /// How the makers of the model mean it to be sampled: JSON for [`Options::from_json`](crate::Options::from_json).
    pub fn sampling_defaults(&self) -> Result<String> {
        Ok(Buffer::filled_by(|out| unsafe { sys::gptq_model_sampling_defaults(self.raw, out) })?.text())
    }

    /// Ids to text.
    ///
    /// Errors: [`ErrorCode::InvalidArgument`] for an id that no token has.
    pub fn detokenize(&self, ids: &[i32]) -> Result<String> {
        self.detokenize_with(ids, Detokenize::ALL)
    }

    /// Ids to text; errors as [`Model::detokenize`].
    pub fn detokenize_with(&self, ids: &[i32], how: Detokenize) -> Result<String> {
        let (data, count) = (ids.as_ptr(), ids.len() as i64);
        let buffer = Buffer::filled_by(|out| unsafe { sys::gptq_model_detokenize(self.raw, data, count, how.0, out) })?;
        Ok(buffer.text())
    }

    /// The token's own spelling, as in the vocabulary.
    ///
    /// Errors: [`ErrorCode::NotFound`] for an id without a token.
    pub fn token_text(&self, id: i32) -> Result<String> {
        Ok(Buffer::filled_by(|out| unsafe { sys::gptq_model_token_text(self.raw, id, out) })?.text())
    }

    /// The id of "bos", "eos", or of a token by its own spelling; none if there is no such token.
    pub fn special_token(&self, name: &str) -> Result<Option<i32>> {
        let name = c_string("token name", name)?;
        let mut id = -1;
        match check(unsafe { sys::gptq_model_special_token(self.raw, name.as_ptr(), &mut id) }) {
            Ok(_) => Ok(Some(id)),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether generation ends at this id.
    pub fn is_end_of_generation(&self, id: i32) -> bool {
        unsafe { sys::gptq_model_is_end_of_generation(self.raw, id) == 1 }
    }
}

impl Clone for Model {
    fn clone(&self) -> Self {
        let status = unsafe { sys::gptq_model_retain(self.raw) };
        assert_eq!(status, sys::GPTQ_OK, "a model refused one more hold");
        Model { raw: self.raw }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        unsafe { sys::gptq_model_free(self.raw) }
    }
}

/// The path's own bytes: on Unix any but NUL may be in a name.
pub(crate) fn c_path(what: &str, path: &Path) -> Result<CString> {
    #[cfg(unix)]
    let bytes = Some(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()));
    #[cfg(not(unix))]
    let bytes = path.to_str().map(str::as_bytes);
    let refused = || Error::new(ErrorCode::InvalidArgument, format!("{what}: {path:?} is not Unicode"));
    c_string(what, bytes.ok_or_else(refused)?)
}
