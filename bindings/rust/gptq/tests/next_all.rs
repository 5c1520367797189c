//! Several generations at once: each writes what it would write alone, and ends or fails alone.
mod common;
use common::{at_most, model_path, text, PROMPT};
use gptq::{next_all, Chunk, ErrorCode, FinishReason, Generation, Model, Options, Result, Session};
use std::thread;
use std::time::Duration;

const PROMPTS: [&str; 4] = [PROMPT, "The dog", "One day, Tom and his friend Lily went to the park", "A"];

/// Sums are rounded in another order when sessions go together: in fp32 that changes no token.
fn load() -> Model {
    Model::load_with(model_path(), &Options::new().compute("exact")).unwrap()
}

fn sessions(model: &Model) -> Vec<Session> {
    PROMPTS.iter().map(|_| model.session().unwrap()).collect()
}

/// Past the end of the text.
fn exactly(tokens: i64) -> Options {
    at_most(tokens).ignore_eos(true)
}

/// A generation of each session, from the prompts, of exactly `most` tokens.
fn begin<'a>(sessions: &'a mut [Session], most: impl Fn(usize) -> i64) -> Vec<Generation<'a>> {
    let begun = sessions.iter_mut().zip(PROMPTS).enumerate();
    begun.map(|(i, (session, prompt))| session.generate_with(prompt, &exactly(most(i))).unwrap()).collect()
}

fn alone(model: &Model, which: usize, most: i64) -> String {
    text(model.session().unwrap().generate_with(PROMPTS[which], &exactly(most)).unwrap()).unwrap()
}

fn step(generations: &mut [Generation<'_>]) -> Vec<Option<Result<Chunk>>> {
    next_all(generations).unwrap()
}

#[test]
fn each_writes_what_it_writes_alone_and_ends_alone() {
    let model = load();
    let most = |i: usize| 10 * (i as i64 + 1);
    let mut sessions = sessions(&model);
    let mut generations = begin(&mut sessions, most);
    let mut texts = vec![String::new(); PROMPTS.len()];
    for round in 0.. {
        let items = step(&mut generations);
        assert_eq!(items.len(), PROMPTS.len());
        for (i, item) in items.iter().enumerate() {
            assert_eq!(item.is_some(), round < most(i), "generation {i} in round {round}");
            texts[i] += item.as_ref().map_or("", |item| &item.as_ref().unwrap().text);
        }
        if items.iter().all(Option::is_none) {
            break;
        }
    }
    drop(generations);
    for (i, text) in texts.iter().enumerate() {
        assert_eq!(text, &alone(&model, i, most(i)));
        assert_eq!(sessions[i].finish_reason(), Some(FinishReason::Length));
        assert_eq!(sessions[i].stat("decode_tokens").unwrap(), most(i) as f64);
    }
}

#[test]
fn some_of_them_by_reference_and_alone_in_between() {
    let model = load();
    let (mut one, mut two, mut three) = (model.session().unwrap(), model.session().unwrap(), model.session().unwrap());
    let mut a = one.generate_with(PROMPTS[0], &at_most(9)).unwrap();
    let mut b = two.generate_with(PROMPTS[1], &at_most(9)).unwrap();
    let mut found = [String::new(), String::new(), String::new()];
    for _ in 0..3 {
        for (i, item) in next_all(&mut [&mut a, &mut b]).unwrap().into_iter().enumerate() {
            found[i] += &item.unwrap().unwrap().text;
        }
        found[0] += &a.next().unwrap().unwrap().text;
    }
    // another joins, in another place
    let mut c = three.generate_with(PROMPTS[2], &at_most(6)).unwrap();
    for _ in 0..6 {
        let items = next_all(&mut [&mut c, &mut b, &mut a]).unwrap();
        for (i, item) in items.into_iter().rev().enumerate() {
            found[i] += &item.map_or(String::new(), |chunk| chunk.unwrap().text);
        }
    }
    assert!(next_all(&mut [&mut a, &mut b, &mut c]).unwrap().iter().all(Option::is_none));
    for (i, most) in [9, 9, 6].into_iter().enumerate() {
        assert_eq!(found[i], alone(&model, i, most));
    }
}

#[test]
fn a_cancel_ends_one_alone() {
    let model = load();
    for cancelled in [0, 2] {
        let mut sessions = sessions(&model);
        let mut generations = begin(&mut sessions, |_| 8);
        let mut texts = vec![String::new(); PROMPTS.len()];
        for round in 0..8 {
            if round == 3 {
                generations[cancelled].session().canceller().cancel();
            }
            for (i, item) in step(&mut generations).into_iter().enumerate() {
                match item {
                    Some(Ok(chunk)) => texts[i] += &chunk.text,
                    Some(Err(error)) => {
                        assert_eq!((i, round, error.code()), (cancelled, 3, ErrorCode::Cancelled));
                        assert_eq!(error.message(), "cancelled");
                    }
                    None => assert!(i == cancelled && round > 3),
                }
            }
        }
        assert!(step(&mut generations).iter().all(Option::is_none));
        drop(generations);
        for (i, session) in sessions.iter_mut().enumerate() {
            if i == cancelled {
                texts[i] += &text(session.resume(&at_most(5)).unwrap()).unwrap();
            }
            assert_eq!(texts[i], alone(&model, i, 8), "generation {i}");
        }
    }
}

#[test]
fn cancels_from_other_threads_end_theirs() {
    let model = load();
    let mut sessions = sessions(&model);
    let cancellers: Vec<_> = sessions.iter().map(Session::canceller).collect();
    let mut generations: Vec<_> =
        sessions.iter_mut().zip(PROMPTS).map(|(s, prompt)| s.generate_with(prompt, &exactly(0)).unwrap()).collect();
    let watch = thread::spawn(move || {
        for canceller in cancellers {
            thread::sleep(Duration::from_millis(20));
            canceller.cancel();
        }
    });
    let mut ended = Vec::new();
    while ended.len() < PROMPTS.len() {
        for (i, item) in step(&mut generations).into_iter().enumerate() {
            if let Some(Err(error)) = item {
                assert!(error.is_cancelled());
                ended.push(i);
            }
        }
    }
    watch.join().unwrap();
    assert_eq!(ended, [0, 1, 2, 3]);
}

#[test]
fn the_context_ends_one_alone() {
    let model = load();
    let mut small = model.session_with(&Options::new().context_length(16)).unwrap();
    let mut large = model.session().unwrap();
    let mut generations =
        [small.generate_with(PROMPT, &exactly(0)).unwrap(), large.generate_with(PROMPT, &at_most(30)).unwrap()];
    let rounds = (0..).take_while(|_| step(&mut generations)[1].is_some()).count();
    assert_eq!(rounds, 30);
    drop(generations);
    assert_eq!(small.finish_reason(), Some(FinishReason::Context));
    assert_eq!(small.token_count(), 16);
}

#[test]
fn of_several_models_none_takes_a_step() {
    let (one, other) = (load(), load());
    let (mut a, mut b) = (one.session().unwrap(), other.session().unwrap());
    let mut c = one.clone().session().unwrap(); // of the same model as a
    let mut begin = |most| {
        let sessions = [&mut a, &mut b, &mut c];
        let begun = sessions.into_iter().map(|session| {
            session.reset().unwrap();
            session.generate_with(PROMPT, &at_most(most)).unwrap()
        });
        let mut generations: Vec<_> = begun.collect();
        for _ in 0..2 {
            let error = next_all(&mut generations).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidArgument);
            assert!(error.message().contains("session 1 is of another model than session 0"), "{error}");
        }
        // one that has ended is no hindrance
        assert_eq!(text(generations.remove(1)).unwrap(), alone(&one, 0, most));
        let mut texts = [String::new(), String::new()];
        for _ in 0..most {
            for (text, item) in texts.iter_mut().zip(step(&mut generations)) {
                *text += &item.unwrap().unwrap().text;
            }
        }
        assert_eq!(texts[0], alone(&one, 0, most));
        assert_eq!(texts[1], texts[0]);
    };
    begin(4);
    begin(1);
}

#[test]
fn none_at_all_is_no_error() {
    assert!(next_all::<Generation<'_>>(&mut []).unwrap().is_empty());
}
