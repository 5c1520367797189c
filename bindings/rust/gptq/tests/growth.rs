//! Memory of the process over thousands of values made and dropped. Alone in its process, so one test.
mod common;
use common::{at_most, load, text, PROMPT};
use gptq::Options;

/// Resident bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn nothing_grows() {
    let model = load();
    let round = |i: i64| {
        let options = Options::new().seed(i).temperature(0.5).set("no such option", 1);
        assert!(options.to_json().is_err());
        let mut session = model.clone().session_with(&Options::new().context_length(64)).unwrap();
        let canceller = session.canceller();
        if i % 20 == 0 {
            text(session.generate_with(PROMPT, &at_most(2)).unwrap()).unwrap();
            assert!(session.stat("speed").is_err());
            drop(load());
        }
        drop(session);
        canceller.cancel();
    };
    (0..200).for_each(round);
    // a leak grows every time, what malloc keeps does not
    let growth = || {
        let before = resident();
        (0..2000).for_each(round);
        resident().saturating_sub(before)
    };
    let grown: Vec<usize> = (0..3).map(|_| growth()).take_while(|grown| *grown >= 8 << 20).collect();
    assert!(grown.len() < 3, "bytes more after 2,000 rounds each: {grown:?}");
}
