//! The loop that a Rust program writes: bench MODEL TOKENS, as bench.c
use gptq::{Model, Options, Session};
use std::time::Instant;

fn generate(session: &mut Session, tokens: i64) -> gptq::Result<usize> {
    session.reset()?;
    let mut bytes = 0;
    for chunk in session.generate_with("Once upon a time", &Options::new().ignore_eos(true).max_tokens(tokens))? {
        bytes += chunk?.text.len();
    }
    Ok(bytes)
}

fn main() -> gptq::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let tokens: i64 = arguments[2].parse().unwrap();
    let mut session = Model::load_with(&arguments[1], &Options::new().threads(1))?.session()?;
    generate(&mut session, tokens)?;
    let start = Instant::now();
    assert!(generate(&mut session, tokens)? > 0);
    let seconds = start.elapsed().as_secs_f64();
    let inside = session.stat("prefill_seconds")? + session.stat("decode_seconds")?;
    println!("{:.2} {:.3}", tokens as f64 / seconds, 100.0 * (1.0 - inside / seconds));
    Ok(())
}
