//! A conversation with a model, and the handle that cancels it.
use crate::buffer::Buffer;
use crate::error::{c_string, check, text_of, Error, Result};
use crate::generation::{Chunk, FinishReason, Generation};
use crate::Options;
use gptq_sys as sys;
use std::ptr::null_mut;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One conversation with a model: token history, key/value cache (memory grows with use) and sampler.
///
/// ```
/// use gptq::{FinishReason, Model, Options};
///
/// # let path = "../../../samples/model";
/// let mut session = Model::load(path)?.session()?;
/// let options = Options::new().max_tokens(8);
/// let first: String = session.generate_with("The dog", &options)?.map(|c| Ok(c?.text)).collect::<gptq::Result<_>>()?;
/// let more: String = session.resume(&options)?.map(|c| Ok(c?.text)).collect::<gptq::Result<_>>()?;
/// println!("The dog{first}{more}");
/// assert_eq!(session.finish_reason(), Some(FinishReason::Length));
/// # Ok::<(), gptq::Error>(())
/// ```
#[derive(Debug)]
pub struct Session {
    raw: *mut sys::gptq_session,
    vocab_size: usize,
    gate: Arc<Mutex<Gate>>,
}

// SAFETY: C ties a session to no thread. What needs it alone takes `&mut`; what takes it `const`, which C allows from
// several threads at once, takes `&`.
unsafe impl Send for Session {}
unsafe impl Sync for Session {}

/// What a session shares with its cancellers.
#[derive(Debug)]
struct Gate {
    raw: *mut sys::gptq_session, // null when the session is gone
    operation: u64,              // how many have ended
    cancelled: bool,             // this one, by a canceller
}

// SAFETY: only gptq_session_cancel() and gptq_session_clear_cancel() are called through it, which C allows from any thread.
unsafe impl Send for Gate {}

fn lock(gate: &Mutex<Gate>) -> MutexGuard<'_, Gate> {
    gate.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends one operation of a session from any thread: see [`Session::canceller`].
#[derive(Clone, Debug)]
pub struct Canceller {
    gate: Arc<Mutex<Gate>>,
    operation: u64,
}

impl Canceller {
    /// Ends the operation within 50 ms, prompt processing included; it then gives
    /// [`ErrorCode::Cancelled`](crate::ErrorCode::Cancelled), and the session stays usable. Before the operation has begun it
    /// ends as soon as it does; after it is over, or after the session is gone, nothing happens.
    pub fn cancel(&self) {
        let mut gate = lock(&self.gate);
        if gate.operation == self.operation && !gate.raw.is_null() {
            gate.cancelled = true;
            unsafe { sys::gptq_session_cancel(gate.raw) };
        }
    }
}

/// Which logits [`Session::prefill`] keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepLogits {
    /// None.
    None,
    /// Those after the last token: one row.
    Last,
    /// Those after each token of the call. Rows x vocabulary floats: append in pieces to bound the memory.
    All,
}

impl Session {
    pub(crate) fn new(raw: *mut sys::gptq_session, vocab_size: usize) -> Self {
        let gate = Gate { raw, operation: 0, cancelled: false };
        Session { raw, vocab_size, gate: Arc::new(Mutex::new(gate)) }
    }

    /// Adds text to the history; it is processed by the next generation or prefill. Text that starts a history gets the
    /// tokenizer's special tokens; special tokens written in it stay text: a chat's own markers go through
    /// [`Model::tokenize_with`](crate::Model::tokenize_with) and [`Session::append_tokens`].
    ///
    /// Errors: [`ErrorCode::ContextFull`](crate::ErrorCode::ContextFull) when it does not fit; the history is then as before.
    pub fn append(&mut self, text: &str) -> Result<()> {
        let (data, size) = (text.as_ptr().cast(), text.len() as i64);
        check(unsafe { sys::gptq_session_append_text(self.raw, data, size) }).map(drop)
    }

    /// Adds ids as they are.
    ///
    /// Errors: `InvalidArgument` for an id outside the vocabulary, `ContextFull` when they do not fit; the history is then
    /// as before.
    pub fn append_tokens(&mut self, ids: &[i32]) -> Result<()> {
        check(unsafe { sys::gptq_session_append_tokens(self.raw, ids.as_ptr(), ids.len() as i64) }).map(drop)
    }

    /// Processes the appended tokens now, without generating. Blocks.
    ///
    /// Errors: `Cancelled`, `OutOfMemory`, `Device`: the tokens are then still pending; `BadState` when nothing is pending.
    pub fn prefill(&mut self, logits: KeepLogits) -> Result<()> {
        let logits = match logits {
            KeepLogits::None => sys::GPTQ_LOGITS_NONE,
            KeepLogits::Last => sys::GPTQ_LOGITS_LAST,
            KeepLogits::All => sys::GPTQ_LOGITS_ALL,
        };
        let result = check(unsafe { sys::gptq_session_prefill(self.raw, logits) });
        self.end_operation();
        result.map(drop)
    }

    /// Appends the prompt, processes it, and gives the iterator over the text that follows: greedy, to the end of the text
    /// or of the context. Blocks until the prompt is processed.
    ///
    /// Errors: as [`Session::append`] and [`Session::resume`].
    pub fn generate(&mut self, prompt: &str) -> Result<Generation<'_>> {
        self.generate_with(prompt, &Options::new())
    }

    /// As [`Session::generate`], with options of scope "generation".
    pub fn generate_with(&mut self, prompt: &str, options: &Options) -> Result<Generation<'_>> {
        options.raw()?;
        self.append(prompt)?;
        self.resume(options)
    }

    /// Generates from where the history ends, with options of scope "generation" and a fresh sampler, after processing what
    /// was appended.
    ///
    /// Errors: `Cancelled`, `OutOfMemory`, `Device`: what was appended is then still pending; `BadState` when the history is
    /// empty.
    pub fn resume(&mut self, options: &Options) -> Result<Generation<'_>> {
        let options = options.raw()?;
        match check(unsafe { sys::gptq_session_begin(self.raw, options) }) {
            Ok(_) => Ok(Generation::new(self)),
            Err(error) => {
                self.end_operation();
                Err(error)
            }
        }
    }

    /// A handle that cancels, from any thread, the operation that is under way or, if none is, the next one. An operation is
    /// a prefill, or a generation from its prompt to the end of its iterator. A canceller that fires late does nothing:
    /// take a new one for each operation.
    ///
    /// ```
    /// use std::{thread, time::Duration};
    /// # let path = "../../../samples/model";
    /// let mut session = gptq::Model::load(path)?.session()?;
    /// let canceller = session.canceller();
    /// let watch = thread::spawn(move || {
    ///     thread::sleep(Duration::from_millis(10));
    ///     canceller.cancel();
    /// });
    /// let story: Result<String, gptq::Error> = session
    ///     .generate("Once upon a time")
    ///     .and_then(|chunks| chunks.map(|chunk| Ok(chunk?.text)).collect());
    /// match story {
    ///     Ok(text) => println!("{text}"),
    ///     Err(error) if error.is_cancelled() => println!("... enough."),
    ///     Err(error) => return Err(error),
    /// }
    /// # watch.join().unwrap();
    /// # Ok::<(), gptq::Error>(())
    /// ```
    pub fn canceller(&self) -> Canceller {
        Canceller { gate: Arc::clone(&self.gate), operation: lock(&self.gate).operation }
    }

    /// Logits kept by the last prefill or generated token, before sampling settings: rows of vocabulary size. One row after
    /// a generation has begun.
    ///
    /// Errors: `BadState` when none were kept.
    pub fn logits(&self) -> Result<Vec<Vec<f32>>> {
        let buffer = Buffer::filled_by(|out| unsafe { sys::gptq_session_logits(self.raw, out) })?;
        Ok(buffer.floats().chunks_exact(self.vocab_size).map(<[f32]>::to_vec).collect())
    }

    /// Why the last generation ended; none while it has not.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        FinishReason::from_name(text_of(unsafe { sys::gptq_session_finish_reason(self.raw) }))
    }

    /// Number of tokens in the history, pending ones included.
    pub fn token_count(&self) -> usize {
        unsafe { sys::gptq_session_token_count(self.raw) as usize }
    }

    /// A figure since creation or reset: "prefill_tokens", "prefill_seconds", "prefill_tokens_per_second", "decode_tokens",
    /// "decode_seconds", "decode_tokens_per_second", "cache_bytes". The first token of a generation comes from the prompt's
    /// logits: it counts among the tokens, but not in the seconds and the rate.
    ///
    /// Errors: `NotFound` for another key.
    pub fn stat(&self, key: &str) -> Result<f64> {
        let key = c_string("key", key)?;
        let mut value = 0.0;
        check(unsafe { sys::gptq_session_get_stat(self.raw, key.as_ptr(), &mut value) })?;
        Ok(value)
    }

    /// Back to an empty history; the memory of the cache is given back.
    pub fn reset(&mut self) -> Result<()> {
        check(unsafe { sys::gptq_session_reset(self.raw) }).map(drop)
    }

    /// One more chunk; none at the end.
    pub(crate) fn step(&mut self) -> Result<Option<Chunk>> {
        let status = check(unsafe { sys::gptq_session_step(self.raw) })?;
        Ok(self.chunk_after(status))
    }

    /// One more chunk of each, in order; an error where none has taken a step.
    pub(crate) fn step_all(sessions: &mut [&mut Session]) -> Result<Vec<Result<Option<Chunk>>>> {
        let raw: Vec<_> = sessions.iter().map(|session| session.raw).collect();
        let mut statuses = vec![sys::GPTQ_OK; raw.len()];
        // SAFETY: as many of both, and each session is alone here.
        check(unsafe { sys::gptq_session_step_all(raw.as_ptr(), raw.len() as i64, statuses.as_mut_ptr()) })?;
        let result = |(session, status): (&mut &mut Session, i32)| {
            if status < 0 {
                let message = text_of(unsafe { sys::gptq_session_error_message(session.raw) });
                return Err(Error::new(status.into(), message));
            }
            Ok(session.chunk_after(status))
        };
        Ok(sessions.iter_mut().zip(statuses).map(result).collect())
    }

    /// What a step that has not failed has left.
    fn chunk_after(&mut self, status: sys::gptq_status) -> Option<Chunk> {
        if status == sys::GPTQ_DONE {
            return None;
        }
        // SAFETY: text of that size, good until the next call on the session.
        let (text, token) = unsafe {
            let size = sys::gptq_session_text_size(self.raw) as usize;
            let text = std::slice::from_raw_parts(sys::gptq_session_text(self.raw).cast::<u8>(), size);
            (String::from_utf8_lossy(text).into_owned(), sys::gptq_session_token(self.raw))
        };
        Some(Chunk { text, token: (token >= 0).then_some(token) })
    }

    /// From here on, cancellers of the operation do nothing. A cancel that came too late for it is forgotten.
    pub(crate) fn end_operation(&mut self) {
        let mut gate = lock(&self.gate);
        gate.operation += 1;
        if std::mem::take(&mut gate.cancelled) {
            unsafe { sys::gptq_session_clear_cancel(self.raw) };
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        lock(&self.gate).raw = null_mut();
        unsafe { sys::gptq_session_free(self.raw) }
    }
}
