//! Quantization: progress, the result, and cancelling.
mod common;
use common::{at_most, load, model_path, text, timed, Scratch, PROMPT};
use gptq::{ErrorCode, Model, Options, Progress, Quantizer};
use std::thread;
use std::time::{Duration, Instant};

fn small() -> Options {
    Options::new().calibration_samples(4).calibration_length(64)
}

#[test]
fn a_quantized_model_is_made_step_by_step_and_runs() {
    let scratch = Scratch::new("steps");
    let output = scratch.0.join("out");
    let mut quantizer = Quantizer::create_with(model_path(), &output, &small().bits(4)).unwrap();
    assert_eq!(quantizer.progress().unwrap().fraction, 0.0);
    let steps: Vec<Progress> = quantizer.steps().collect::<gptq::Result<_>>().unwrap();
    assert!(steps.len() > 4, "{steps:?}");
    assert!(steps.windows(2).all(|pair| pair[0].fraction <= pair[1].fraction && pair[0].seconds <= pair[1].seconds));
    let last = steps.last().unwrap();
    assert_eq!((last.fraction, last.layer, last.layers), (1.0, 4, 4));
    assert!(quantizer.report().unwrap().contains(r#""modules":[{"#));
    drop(quantizer);
    assert_eq!(scratch.entries(), ["out"]);

    let model = Model::load(&output).unwrap();
    assert_eq!(model.get_int("bits").unwrap(), 4);
    let mut session = model.session().unwrap();
    assert!(!text(session.generate_with(PROMPT, &at_most(20)).unwrap()).unwrap().is_empty());
}

#[test]
fn a_quantized_model_is_converted() {
    let scratch = Scratch::new("convert");
    let (quantized, dense) = (scratch.0.join("quantized"), scratch.0.join("dense"));
    Quantizer::create_with(model_path(), &quantized, &small()).unwrap().run().unwrap();
    assert_eq!(Model::convert(&quantized, &dense, &Options::new()).unwrap_err().code(), ErrorCode::InvalidArgument);
    let options = Options::new().format("dense");
    Model::convert(&quantized, &dense, &options).unwrap();
    assert_eq!(Model::load(&dense).unwrap().get_int("quantized").unwrap(), 0);
    assert_eq!(Model::convert(&quantized, &dense, &options).unwrap_err().code(), ErrorCode::Io);
}

#[test]
fn calibration_is_given_as_text_or_tokens() {
    let scratch = Scratch::new("calibration");
    let ids = load().tokenize("Once upon a time there was a king.").unwrap();
    let mut quantizer = Quantizer::create_with(model_path(), scratch.0.join("out"), &small()).unwrap();
    quantizer.add_calibration_text("Once upon a time there was a queen. ").unwrap();
    quantizer.add_calibration_tokens(&ids).unwrap();
    assert_eq!(quantizer.add_calibration_tokens(&[]).unwrap_err().code(), ErrorCode::InvalidArgument);
    quantizer.run().unwrap();
    assert!(quantizer.report().unwrap().contains(r#""sequences":2"#), "{}", quantizer.report().unwrap());
    assert_eq!(quantizer.add_calibration_text("late").unwrap_err().code(), ErrorCode::BadState);
    let taken = Quantizer::create(model_path(), scratch.0.join("out")).unwrap_err();
    assert_eq!(taken.code(), ErrorCode::Io);
}

#[test]
fn a_job_is_watched_and_cancelled_from_another_thread() {
    let scratch = Scratch::new("cancel");
    let options = Options::new().calibration_samples(512).calibration_length(256);
    let mut quantizer = Quantizer::create_with(model_path(), scratch.0.join("out"), &options).unwrap();
    let monitor = quantizer.monitor();
    let watch = thread::spawn(move || {
        while monitor.progress().unwrap().seconds < 0.2 {
            thread::sleep(Duration::from_millis(5));
        }
        monitor.cancel();
        (Instant::now(), monitor)
    });
    let error = quantizer.run().unwrap_err();
    let end = Instant::now();
    let (cancelled, monitor) = watch.join().unwrap();
    assert!(error.is_cancelled());
    assert!(end - cancelled.min(end) < Duration::from_secs(1));
    assert_eq!(quantizer.steps().next().unwrap().unwrap_err().code(), ErrorCode::BadState);

    drop(quantizer);
    assert_eq!(scratch.finished(), [""; 0]);
    assert_eq!(monitor.progress().unwrap_err().code(), ErrorCode::BadState);
    monitor.cancel();
}

#[test]
fn a_cancel_before_the_first_step_is_not_lost() {
    let scratch = Scratch::new("early");
    let mut quantizer = Quantizer::create_with(model_path(), scratch.0.join("out"), &small()).unwrap();
    quantizer.monitor().cancel();
    let (error, time) = timed(|| quantizer.steps().find_map(Result::err).unwrap());
    assert!(error.is_cancelled());
    assert!(time < Duration::from_secs(2));
}

#[test]
fn a_job_that_is_left_leaves_no_output() {
    let scratch = Scratch::new("left");
    let mut quantizer = Quantizer::create_with(model_path(), scratch.0.join("out"), &small()).unwrap();
    assert_eq!(quantizer.steps().take(2).filter(Result::is_ok).count(), 2);
    drop(quantizer);
    assert_eq!(scratch.finished(), [""; 0]);
}
