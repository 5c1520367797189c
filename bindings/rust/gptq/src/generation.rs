//! The iterator over a generation.
use crate::{Result, Session};
use std::iter::FusedIterator;

/// A piece of generated text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Chunk {
    /// Never cut inside a character: empty while one is incomplete.
    pub text: String,
    /// The token that the text came with; none for a chunk that only completes held-back text.
    pub token: Option<i32>,
}

/// Why a generation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FinishReason {
    /// An end-of-text token.
    Stop,
    /// As many tokens as `max_tokens` allows.
    Length,
    /// The context is full.
    Context,
    /// A [`Canceller`](crate::Canceller).
    Cancelled,
    /// One that this version of the crate does not know, by its name in the C interface.
    Other(String),
}

impl FinishReason {
    pub(crate) fn from_name(name: String) -> Option<Self> {
        match name.as_str() {
            "" => None,
            "stop" => Some(FinishReason::Stop),
            "length" => Some(FinishReason::Length),
            "context" => Some(FinishReason::Context),
            "cancelled" => Some(FinishReason::Cancelled),
            _ => Some(FinishReason::Other(name)),
        }
    }
}

/// Generates a chunk each time it is asked for one; made by [`Session::generate`].
///
/// Each step blocks for one token. After the end, or after an error (`Cancelled`, `OutOfMemory`, `Device`), there are no more
/// chunks. The history keeps what was generated, without the end-of-text token; dropping the iterator early just stops
/// there, and [`Session::resume`] goes on.
#[derive(Debug)]
#[must_use = "a generation writes only what it is asked for"]
pub struct Generation<'session> {
    session: &'session mut Session,
    over: bool,
}

impl<'session> Generation<'session> {
    pub(crate) fn new(session: &'session mut Session) -> Self {
        Generation { session, over: false }
    }

    /// The session, to look at meanwhile: its logits, figures, cancellers.
    pub fn session(&self) -> &Session {
        self.session
    }

    /// The session, to take a step; none after the end.
    pub(crate) fn pending(&mut self) -> Option<&mut Session> {
        (!self.over).then_some(&mut *self.session)
    }

    /// What a step has come to, as an item; all but a chunk ends the iterator.
    pub(crate) fn settle(&mut self, step: Result<Option<Chunk>>) -> Option<Result<Chunk>> {
        let item = step.transpose();
        if !matches!(item, Some(Ok(_))) {
            self.end();
        }
        item
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.over, true) {
            self.session.end_operation();
        }
    }
}

impl Iterator for Generation<'_> {
    type Item = Result<Chunk>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.pending()?.step();
        self.settle(step)
    }
}

impl FusedIterator for Generation<'_> {}

impl Drop for Generation<'_> {
    fn drop(&mut self) {
        self.end();
    }
}
