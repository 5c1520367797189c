//! The tokenizer, with characters of four bytes and NUL.
mod common;
use common::load;
use gptq::{Detokenize, ErrorCode, Tokenize};

#[test]
fn every_text_comes_back() {
    let model = load();
    for text in ["", "Hello", "🙂", "a🦀b🙂", "नमस्ते 你好 Ω", "one\0two\0", "\u{10FFFF}\u{FFFD}", "👩‍👩‍👧‍👦"]
    {
        let ids = model.tokenize(text).unwrap();
        assert_eq!(model.detokenize(&ids).unwrap(), text);
    }
}

#[test]
fn a_nul_is_part_of_a_prompt() {
    let model = load();
    let ids = model.tokenize("one\0two").unwrap();
    let count = |text: &str| {
        let mut session = model.session().unwrap();
        session.append(text).unwrap();
        session.token_count()
    };
    assert_eq!(count("one\0two") - count(""), ids.len());
    assert!(ids.len() > model.tokenize("one").unwrap().len());
}

#[test]
fn flags_reach_the_tokenizer() {
    let model = load();
    let bos = model.special_token("bos").unwrap().unwrap();
    let spelling = model.token_text(bos).unwrap();
    assert_eq!(model.special_token(&spelling).unwrap(), Some(bos));
    assert_eq!(model.tokenize_with(&spelling, Tokenize::PARSE_SPECIAL).unwrap(), [bos]);
    assert!(model.tokenize(&spelling).unwrap().len() > 1);
    let both = model.tokenize_with(&spelling, Tokenize::PARSE_SPECIAL | Tokenize::ADD_SPECIAL).unwrap();
    assert!(both.ends_with(&[bos]));
    assert_eq!(model.detokenize(&[bos]).unwrap(), spelling);
    assert_eq!(model.detokenize_with(&[bos], Detokenize::SKIP_SPECIAL).unwrap(), "");
}

#[test]
fn a_chat_becomes_text_and_tokens() {
    let model = load();
    let bos = model.token_text(model.special_token("bos").unwrap().unwrap()).unwrap();
    let chat = format!(
        r#"{{"messages": [{{"role": "user", "content": "é {bos}"}}], "bos_token": "{bos}",
            "chat_template": "{{{{ bos_token }}}}{{% for m in messages %}}[{{{{ m.role }}}}] {{{{ m.content }}}}{{% endfor %}}"}}"#
    );
    let text = model.apply_chat_template(&chat).unwrap();
    assert_eq!(text, format!("{bos}[user] é {bos}"));
    let (ids, all) =
        (model.tokenize_chat(&chat).unwrap(), model.tokenize_with(&text, Tokenize::PARSE_SPECIAL).unwrap());
    assert_eq!(ids[0], all[0]);
    assert!(ids.len() > all.len()); // what the message spells out is no token
    assert_eq!(model.tokenize_chat_with(&chat, Tokenize::PARSE_SPECIAL).unwrap(), all);
    assert_eq!(model.apply_chat_template("[]").unwrap_err().code(), ErrorCode::NotFound);
    assert!(model.sampling_defaults().unwrap().starts_with('{'));
}

#[test]
fn tokens_are_told_apart() {
    let model = load();
    let eos = model.special_token("eos").unwrap().unwrap();
    assert!(model.is_end_of_generation(eos));
    assert!(!model.is_end_of_generation(model.tokenize("a").unwrap()[0]));
    assert_eq!(model.special_token("<none of this name>").unwrap(), None);
    assert_eq!(model.token_text(i32::MAX).unwrap_err().code(), ErrorCode::NotFound);
    assert_eq!(model.detokenize(&[-1]).unwrap_err().code(), ErrorCode::InvalidArgument);
}
