//! Generation: the same text as from C, in pieces that are whole characters, from several threads at once.
mod common;
use common::{at_most, load, text, PROMPT};
use gptq::{Chunk, ErrorCode, FinishReason, KeepLogits, Options, Result};
use std::thread;

#[test]
fn the_text_is_that_of_the_c_sample() {
    let path = match std::env::var_os("GPTQ_TEST_EXPECTED") {
        Some(path) => path,
        None => return eprintln!("skip: GPTQ_TEST_EXPECTED names no file with the text of the C sample"),
    };
    let expected = std::fs::read_to_string(path).unwrap();
    let mut session = load().session().unwrap();
    let found = text(session.generate_with(PROMPT, &at_most(200)).unwrap()).unwrap();
    assert!(found.len() > 100);
    assert_eq!(Some(found.as_str()), expected.strip_suffix('\n'));
}

#[test]
fn chunks_join_to_the_text_of_their_tokens() {
    let model = load();
    let mut session = model.session().unwrap();
    let chunks: Vec<Chunk> = session.generate_with(PROMPT, &at_most(50)).unwrap().collect::<Result<_>>().unwrap();
    let ids: Vec<i32> = chunks.iter().filter_map(|chunk| chunk.token).collect();
    let joined: String = chunks.iter().map(|chunk| chunk.text.as_str()).collect();
    assert_eq!(ids.len(), 50);
    assert_eq!(joined, model.detokenize(&ids).unwrap());
    assert_eq!(session.finish_reason(), Some(FinishReason::Length));
}

#[test]
fn a_text_stops_it() {
    let model = load();
    let whole = text(model.session().unwrap().generate_with(PROMPT, &at_most(40)).unwrap()).unwrap();
    let stop: String = whole.chars().skip(60).take(5).collect();
    let options = at_most(40).stop(["no such text", &stop]);
    let mut session = model.session().unwrap();
    assert_eq!(text(session.generate_with(PROMPT, &options).unwrap()).unwrap(), whole.split(&stop).next().unwrap());
    assert_eq!(session.finish_reason(), Some(FinishReason::Stop));
    let none: [&str; 0] = [];
    assert_eq!(Options::new().stop(none).to_json().unwrap(), r#"{"stop":"[]"}"#);
    for refused in [
        Options::new().stop(["a", ""]),
        Options::new().set_list("bits", ["a"]),
        Options::new().set_list("device", none),
    ] {
        assert_eq!(refused.to_json().unwrap_err().code(), ErrorCode::InvalidArgument);
    }
}

#[test]
fn characters_of_many_tokens_are_never_cut() {
    let model = load();
    let mut session = model.session().unwrap();
    // a hot sampler over single-byte tokens writes characters in pieces, and broken ones
    let options = at_most(300).temperature(50.0).seed(3).ignore_eos(true);
    session.append("🙂🦀🙂🦀🙂").unwrap();
    let chunks: Vec<Chunk> = session.resume(&options).unwrap().collect::<Result<_>>().unwrap();
    assert!(chunks.iter().any(|chunk| chunk.text.is_empty()), "no chunk waited for the rest of a character");
    assert!(chunks.iter().any(|chunk| !chunk.text.is_empty()));
}

#[test]
fn a_generation_can_be_left_and_resumed() {
    let model = load();
    let mut whole = model.session().unwrap();
    let expected = text(whole.generate_with(PROMPT, &at_most(20)).unwrap()).unwrap();

    let mut session = model.session().unwrap();
    let mut found = String::new();
    for chunk in session.generate(PROMPT).unwrap().take(8) {
        found += &chunk.unwrap().text;
    }
    assert_eq!(session.finish_reason(), None);
    found += &text(session.resume(&at_most(12)).unwrap()).unwrap();
    assert_eq!(found, expected);
    assert_eq!(session.token_count(), whole.token_count());

    session.reset().unwrap();
    assert_eq!(session.token_count(), 0);
    assert_eq!(text(session.generate_with(PROMPT, &at_most(20)).unwrap()).unwrap(), expected);
}

#[test]
fn an_ended_generation_stays_ended() {
    let mut session = load().session().unwrap();
    let mut generation = session.generate_with(PROMPT, &at_most(2)).unwrap();
    assert_eq!(generation.by_ref().count(), 2);
    assert!(generation.next().is_none());
    assert!(generation.next().is_none());
}

#[test]
fn the_context_ends_a_generation_and_refuses_more() {
    let model = load();
    let mut session = model.session_with(&Options::new().context_length(16)).unwrap();
    text(session.generate_with(PROMPT, &Options::new().ignore_eos(true)).unwrap()).unwrap();
    assert_eq!(session.finish_reason(), Some(FinishReason::Context));
    assert_eq!(session.token_count(), 16);
    assert_eq!(session.append("more").unwrap_err().code(), ErrorCode::ContextFull);
    assert_eq!(session.token_count(), 16);
}

#[test]
fn logits_come_as_rows() {
    let model = load();
    let vocab = model.get_int("vocab_size").unwrap() as usize;
    let ids = model.tokenize(PROMPT).unwrap();
    let mut session = model.session().unwrap();
    session.append_tokens(&ids).unwrap();
    assert_eq!(session.logits().unwrap_err().code(), ErrorCode::BadState);
    session.prefill(KeepLogits::All).unwrap();
    let all = session.logits().unwrap();
    assert_eq!(all.len(), ids.len());
    assert!(all.iter().all(|row| row.len() == vocab && row.iter().all(|logit| logit.is_finite())));

    let mut generation = session.resume(&at_most(1)).unwrap();
    let last = generation.session().logits().unwrap();
    assert_eq!(last.len(), 1);
    let best = |row: &[f32]| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
    let greedy = generation.next().unwrap().unwrap().token.unwrap();
    assert_eq!(best(&last[0]), greedy as usize);
    assert_eq!(best(all.last().unwrap()), greedy as usize);
}

#[test]
fn figures_count_the_tokens() {
    let model = load();
    let mut session = model.session().unwrap();
    let prompt = model.tokenize(PROMPT).unwrap();
    session.append_tokens(&prompt).unwrap();
    text(session.resume(&at_most(5)).unwrap()).unwrap();
    assert_eq!(session.stat("prefill_tokens").unwrap(), prompt.len() as f64);
    assert_eq!(session.stat("decode_tokens").unwrap(), 5.0);
    assert_eq!(session.token_count(), prompt.len() + 5);
}

#[test]
fn four_threads_on_one_model_write_the_same() {
    let model = load();
    let write =
        |model: gptq::Model| text(model.session().unwrap().generate_with(PROMPT, &at_most(60)).unwrap()).unwrap();
    let expected = write(model.clone());
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let model = model.clone();
            thread::spawn(move || write(model))
        })
        .collect();
    drop(model);
    for thread in threads {
        assert_eq!(thread.join().unwrap(), expected);
    }
}

#[test]
fn a_session_moves_between_threads() {
    let mut session = load().session().unwrap();
    let first = text(session.generate_with(PROMPT, &at_most(3)).unwrap()).unwrap();
    let more = thread::spawn(move || text(session.resume(&at_most(3)).unwrap()).unwrap()).join().unwrap();
    let whole = text(load().session().unwrap().generate_with(PROMPT, &at_most(6)).unwrap()).unwrap();
    assert_eq!(first + &more, whole);
}
