//! Quantizes a model folder to 4 bits: quantize MODEL OUT [CALIBRATION.txt]
//!
//!     cargo run --release --bin quantize -- ../model /tmp/quantized ../stories.txt
use gptq::{Options, Progress, Quantizer};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let usage = "usage: quantize MODEL OUT [CALIBRATION.txt]";
    let (model, output) = (arguments.next().ok_or(usage)?, arguments.next().ok_or(usage)?);

    let options = Options::new().bits(4).calibration_samples(32).calibration_length(256);
    let mut quantizer = Quantizer::create_with(model, output, &options)?;
    if let Some(path) = arguments.next() {
        quantizer.add_calibration_text(&String::from_utf8_lossy(&std::fs::read(path)?))?;
        // else the model writes its own
    }
    for progress in quantizer.steps() {
        show(&progress?);
    }
    eprintln!();
    Ok(())
}

fn show(progress: &Progress) {
    let done = (30.0 * progress.fraction) as usize;
    let left = progress.seconds_left.map_or(String::new(), |seconds| format!("{seconds:.0} s left"));
    eprint!(
        "\r[{:<30}] {:3.0} %  layer {}/{}  {left:<12}",
        "#".repeat(done),
        100.0 * progress.fraction,
        progress.layer,
        progress.layers
    );
}
