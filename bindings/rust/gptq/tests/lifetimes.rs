//! Values dropped in every order. Small enough to run under valgrind.
mod common;
use common::{at_most, load, model_path, text, Scratch, PROMPT};
use gptq::{next_all, Model, Options, Quantizer, Session};

/// All orders of the numbers below `count`.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![vec![]];
    }
    let insert = |order: Vec<usize>| {
        (0..count).map(move |at| [&order[..at], &[count - 1], &order[at..]].concat()).collect::<Vec<_>>()
    };
    orders(count - 1).into_iter().flat_map(insert).collect()
}

#[test]
fn any_order_of_drops_will_do() {
    let scratch = Scratch::new("orders");
    let mut seen = 0;
    for order in orders(4) {
        let loaded = load();
        let opened = loaded.session().unwrap();
        let chosen = Options::new().bits(3);
        let job = Quantizer::create_with(model_path(), scratch.0.join("out"), &chosen).unwrap();
        let (mut model, mut session, mut options, mut quantizer) =
            (Some(loaded), Some(opened), Some(chosen), Some(job));
        for (dropped, which) in order.into_iter().enumerate() {
            match which {
                0 => drop(model.take()),
                1 => drop(session.take()),
                2 => drop(options.take()),
                _ => drop(quantizer.take()),
            }
            // what is left works
            if let Some(model) = &model {
                assert_eq!(model.get_int("n_layer").unwrap(), 4);
            }
            if let (Some(session), 1) = (&mut session, dropped) {
                assert!(session.generate("Once").unwrap().next().unwrap().is_ok());
            }
            if let Some(quantizer) = &quantizer {
                assert_eq!(quantizer.progress().unwrap().layers, 4);
            }
        }
        seen += 1;
    }
    assert_eq!(seen, 24);
}

#[test]
fn clones_and_handles_outlive_what_they_came_from() {
    let model = load();
    let clone = model.clone();
    drop(model);
    let mut session = clone.session().unwrap();
    drop(clone);
    let generation = session.generate_with(PROMPT, &at_most(5)).unwrap();
    assert!(!text(generation).unwrap().is_empty());
    let left = session.resume(&at_most(5)).unwrap().next();
    assert!(left.unwrap().is_ok());
    let canceller = session.canceller();
    drop(session);
    canceller.cancel();
    assert!(Model::load("/no/such/model").is_err());
    assert!(Options::new().bits(1).to_json().is_err());
}

#[test]
fn who_stays_goes_on_without_the_others() {
    let model = load();
    let mut sessions: Vec<Session> = (0..3).map(|_| model.session().unwrap()).collect();
    drop(model);
    for session in &mut sessions {
        session.append(PROMPT).unwrap();
    }
    while !sessions.is_empty() {
        let mut generations: Vec<_> = sessions.iter_mut().map(|s| s.resume(&at_most(2)).unwrap()).collect();
        generations[0].session().canceller().cancel();
        assert!(next_all(&mut generations).unwrap()[0].as_ref().unwrap().is_err());
        let items = next_all(&mut generations).unwrap();
        assert!(items[0].is_none() && items[1..].iter().all(Option::is_some));
        drop(generations);
        sessions.remove(0); // the one in whose memory the others went along
    }
}

#[test]
fn a_job_runs_to_its_end() {
    let scratch = Scratch::new("job");
    // valgrind is slow: nothing that takes long
    let options = Options::new().calibration_samples(1).calibration_length(16).sweeps(0).target("sequential");
    let mut quantizer = Quantizer::create_with(model_path(), scratch.0.join("out"), &options).unwrap();
    let monitor = quantizer.monitor();
    quantizer.run().unwrap();
    assert!(quantizer.report().unwrap().contains("modules"));
    drop(quantizer);
    monitor.cancel();
    assert!(monitor.progress().is_err());
}
