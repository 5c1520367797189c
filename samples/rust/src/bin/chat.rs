//! Continues what you write, line after line, and streams the text: chat MODEL
//!
//!     cargo run --release --bin chat -- ../model
use gptq::{ErrorCode, Model, Options};
use std::error::Error;
use std::io::{self, BufRead, Write};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: chat MODEL")?;
    let mut session = Model::load(path)?.session()?;
    let options = Options::new().max_tokens(200).temperature(0.7);

    print!("> ");
    io::stdout().flush()?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        match session.append(&line) {
            Err(error) if error.code() == ErrorCode::ContextFull => {
                println!("(that was all I can remember; let us start anew)");
                session.reset()?;
                session.append(&line)?;
            }
            result => result?,
        }
        for chunk in session.resume(&options)? {
            print!("{}", chunk?.text);
            io::stdout().flush()?;
        }
        print!("\n> ");
        io::stdout().flush()?;
    }
    println!();
    Ok(())
}
