//! What the tests share: the sample model, and a folder of one's own.
#![allow(dead_code)]
use gptq::{Generation, Model, Options, Result, Session};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs, process};

pub const PROMPT: &str = "Once upon a time";

pub fn model_path() -> PathBuf {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../samples/model");
    env::var_os("GPTQ_TEST_MODEL").map_or(sample, PathBuf::from)
}

pub fn load() -> Model {
    Model::load(model_path()).unwrap()
}

pub fn at_most(tokens: i64) -> Options {
    Options::new().max_tokens(tokens)
}

pub fn text(generation: Generation<'_>) -> Result<String> {
    generation.map(|chunk| Ok(chunk?.text)).collect()
}

/// A session for long prompts, and such a prompt: seconds of work.
pub fn long_work(model: &Model) -> (Session, Vec<i32>) {
    let length = model.get_int("context_limit").unwrap().min(16384);
    let session = model.session_with(&Options::new().context_length(length)).unwrap();
    let ids = model.tokenize(PROMPT).unwrap();
    (session, ids.into_iter().cycle().take(length as usize - 1).collect())
}

pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}

/// A folder that goes with the value.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("gptq-{name}-{}", process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    /// Names of all that is in it, hidden ones included.
    /// What is there but the finished layers that wait for the next run of the same job.
    pub fn finished(&self) -> Vec<String> {
        self.entries().into_iter().filter(|name| name != ".out.unfinished").collect()
    }

    pub fn entries(&self) -> Vec<String> {
        fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
