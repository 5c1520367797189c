//! The next chunk of several generations at once.
use crate::{Chunk, Generation, Result, Session};
use std::borrow::BorrowMut;

/// The next item of several generations of one model, in their order: what [`next`](Iterator::next) of each would give, but
/// their tokens go through the model together. Its weights are read once for all of them, so that eight generations get
/// several times the tokens of one in the same time.
///
/// Any generations at each call, at any place in their text; those that have ended give none and cost nothing. One that ends
/// or fails does so alone, and a [`Canceller`](crate::Canceller) ends that of its session alone. The text is that of a
/// generation alone but for the rounding of sums in another order.
///
/// Errors: `InvalidArgument` for generations of several models, counted without those that have ended, or `OutOfMemory`:
/// none has then taken a step, and all may go on.
///
/// ```
/// use gptq::{next_all, Model, Options};
///
/// # let path = "../../../samples/model";
/// let model = Model::load(path)?;
/// let mut sessions = [model.session()?, model.session()?];
/// let mut stories = Vec::new();
/// for (session, prompt) in sessions.iter_mut().zip(["Once upon a time", "The dog"]) {
///     stories.push(session.generate_with(prompt, &Options::new().max_tokens(20))?);
/// }
/// let mut texts = vec![String::new(); stories.len()];
/// loop {
///     let items = next_all(&mut stories)?;
///     if items.iter().all(Option::is_none) {
///         break;
///     }
///     for (text, item) in texts.iter_mut().zip(items) {
///         match item {
///             Some(Ok(chunk)) => *text += &chunk.text,
///             Some(Err(error)) => eprintln!("{error}"),
///             None => {}
///         }
///     }
/// }
/// println!("{texts:?}");
/// # Ok::<(), gptq::Error>(())
/// ```
pub fn next_all<'session, G>(generations: &mut [G]) -> Result<Vec<Option<Result<Chunk>>>>
where
    G: BorrowMut<Generation<'session>>,
{
    let mut generations: Vec<&mut Generation<'session>> = generations.iter_mut().map(BorrowMut::borrow_mut).collect();
    let mut sessions: Vec<&mut Session> = generations.iter_mut().filter_map(|one| one.pending()).collect();
    let mut steps = Session::step_all(&mut sessions)?.into_iter();
    let item = |generation: &mut Generation<'session>| {
        generation.pending()?;
        generation.settle(steps.next()?)
    };
    Ok(generations.into_iter().map(item).collect())
}
