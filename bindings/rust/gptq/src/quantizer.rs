//! A quantization job, its steps, and the handle that watches and cancels it.
use crate::buffer::Buffer;
use crate::error::{c_string, check, Error, ErrorCode, Result};
use crate::model::c_path;
use crate::Options;
use gptq_sys as sys;
use std::iter::FusedIterator;
use std::path::Path;
use std::ptr::null_mut;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A job that quantizes a folder's Linear layers with GPTQ ([arXiv 2210.17323](https://arxiv.org/abs/2210.17323)) and writes
/// a folder that transformers, GPTQModel and vLLM load.
///
/// Weights are read one layer at a time. The output folder appears by one rename when all of it is on disk; until then, and
/// after a failure, a cancel or a crash, there is none, or the old one where "overwrite" is set. Finished layers wait
/// in a hidden folder beside it for the next run of the same job (option `resume`), also when an unfinished job is dropped.
///
/// ```
/// use gptq::{Options, Quantizer};
///
/// # let model = "../../../samples/model";
/// # let output = std::env::temp_dir().join(format!("gptq-doctest-{}", std::process::id()));
/// let options = Options::new().bits(4).calibration_samples(4).calibration_length(64);
/// let mut quantizer = Quantizer::create_with(model, &output, &options)?;
/// for progress in quantizer.steps() {
///     let progress = progress?;
///     eprintln!("{:3.0} % layer {}/{}", 100.0 * progress.fraction, progress.layer, progress.layers);
/// }
/// # assert!(output.join("model.safetensors").exists());
/// # std::fs::remove_dir_all(&output).unwrap();
/// # Ok::<(), gptq::Error>(())
/// ```
#[derive(Debug)]
pub struct Quantizer {
    raw: *mut sys::gptq_quantizer,
    watched: Arc<Mutex<Watched>>,
}

// SAFETY: C ties a job to no thread. What needs it alone takes `&mut`; what takes it `const` takes `&`.
unsafe impl Send for Quantizer {}
unsafe impl Sync for Quantizer {}

/// The job as its monitors see it: null when it is gone.
#[derive(Debug)]
struct Watched(*mut sys::gptq_quantizer);

// SAFETY: only gptq_quantizer_cancel() and gptq_quantizer_get_stat() are called through it, which C allows from any thread.
unsafe impl Send for Watched {}

fn lock(watched: &Mutex<Watched>) -> MutexGuard<'_, Watched> {
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// 0 to 1.
    pub fraction: f64,
    /// The layer being quantized, counted from 1; 0 before the first.
    pub layer: usize,
    /// How many layers there are.
    pub layers: usize,
    /// Since the first step.
    pub seconds: f64,
    /// An estimate; none while there is none.
    pub seconds_left: Option<f64>,
}

/// Watches and cancels a job from any thread: see [`Quantizer::monitor`].
#[derive(Clone, Debug)]
pub struct Monitor {
    watched: Arc<Mutex<Watched>>,
}

impl Quantizer {
    /// A job with the default options: 4 bits, groups of 128, and the model's own text as calibration.
    ///
    /// `model` is a 16-bit or 32-bit model folder, `output` the folder to make, whose parent must exist.
    ///
    /// Errors: as [`Model::load`](crate::Model::load); `Io` when the output exists (see "overwrite") or can't be made: both
    /// are noticed here, before any work.
    pub fn create(model: impl AsRef<Path>, output: impl AsRef<Path>) -> Result<Self> {
        Self::create_with(model, output, &Options::new())
    }

    /// As [`Quantizer::create`], with options of the scopes "model" and "quantizer".
    pub fn create_with(model: impl AsRef<Path>, output: impl AsRef<Path>, options: &Options) -> Result<Self> {
        let model = c_path("model path", model.as_ref())?;
        let output = c_path("output path", output.as_ref())?;
        let mut raw = null_mut();
        check(unsafe { sys::gptq_quantizer_create(model.as_ptr(), output.as_ptr(), options.raw()?, &mut raw) })?;
        Ok(Quantizer { raw, watched: Arc::new(Mutex::new(Watched(raw))) })
    }

    /// Calibration text: all texts together are tokenized and cut into consecutive sequences of calibration_length tokens,
    /// of which the first calibration_samples are taken, or that many at random where a seed is set; less text than one
    /// sequence is taken as it is. Without any calibration the model writes its own: sequences sampled at temperature 1 from
    /// its beginning-of-text token.
    ///
    /// Errors: `BadState` after the first step.
    pub fn add_calibration_text(&mut self, text: &str) -> Result<()> {
        let (data, size) = (text.as_ptr().cast(), text.len() as i64);
        check(unsafe { sys::gptq_quantizer_add_calibration_text(self.raw, data, size) }).map(drop)
    }

    /// One calibration sequence, taken as it is, besides those cut from text.
    ///
    /// Errors: `InvalidArgument` for an id outside the vocabulary, none, or more than the model's context; `BadState` after
    /// the first step.
    pub fn add_calibration_tokens(&mut self, ids: &[i32]) -> Result<()> {
        let (data, count) = (ids.as_ptr(), ids.len() as i64);
        check(unsafe { sys::gptq_quantizer_add_calibration_tokens(self.raw, data, count) }).map(drop)
    }

    /// Iterator over the units of work: preparing the calibration, then a layer each, then the closing of the output. Each
    /// item is how far the job is after one; the last comes when the output folder is complete.
    ///
    /// Blocks at each step. Errors: `Cancelled`, `Io`, `Corrupt`, `OutOfMemory`, `InvalidArgument` (text of fewer than two
    /// tokens, or no calibration for a model that names no token to begin with): the job is then over and leaves no output;
    /// further steps give `BadState`.
    pub fn steps(&mut self) -> Steps<'_> {
        Steps { quantizer: self, over: false }
    }

    /// All steps at once; errors as [`Quantizer::steps`].
    pub fn run(&mut self) -> Result<()> {
        check(unsafe { sys::gptq_quantizer_run(self.raw) }).map(drop)
    }

    /// How far the job is. From another thread, meanwhile: [`Monitor::progress`].
    pub fn progress(&self) -> Result<Progress> {
        progress_of(self.raw)
    }

    /// A handle that watches and cancels the job from any thread.
    pub fn monitor(&self) -> Monitor {
        Monitor { watched: Arc::clone(&self.watched) }
    }

    /// What was done so far, as JSON: `{"options": ..., "calibration": {"sequences", "tokens", "source"}, "modules":
    /// [{"name", "bits", "loss", "damp", "method", "seconds", "note"}, ...], "seconds": n}`; loss is the squared output error
    /// per token.
    pub fn report(&self) -> Result<String> {
        Ok(Buffer::filled_by(|out| unsafe { sys::gptq_quantizer_report_json(self.raw, out) })?.text())
    }
}

impl Drop for Quantizer {
    fn drop(&mut self) {
        lock(&self.watched).0 = null_mut();
        unsafe { sys::gptq_quantizer_free(self.raw) }
    }
}

impl Monitor {
    /// Ends the step that is running, or the next one, and with it the job: it gives [`ErrorCode::Cancelled`]. Nothing
    /// happens after it is gone.
    pub fn cancel(&self) {
        let watched = lock(&self.watched);
        if !watched.0.is_null() {
            unsafe { sys::gptq_quantizer_cancel(watched.0) };
        }
    }

    /// How far the job is.
    ///
    /// Errors: `BadState` when the quantizer was dropped.
    pub fn progress(&self) -> Result<Progress> {
        let watched = lock(&self.watched);
        if watched.0.is_null() {
            return Err(Error::new(ErrorCode::BadState, "the quantizer was dropped"));
        }
        progress_of(watched.0)
    }
}

/// Of a job that is still there.
fn progress_of(raw: *const sys::gptq_quantizer) -> Result<Progress> {
    let stat = |key: &str| -> Result<f64> {
        let key = c_string("key", key)?;
        let mut value = 0.0;
        check(unsafe { sys::gptq_quantizer_get_stat(raw, key.as_ptr(), &mut value) })?;
        Ok(value)
    };
    let seconds_left = stat("seconds_left")?;
    Ok(Progress {
        fraction: stat("progress")?,
        layer: stat("layer")? as usize,
        layers: stat("n_layer")? as usize,
        seconds: stat("seconds")?,
        seconds_left: (seconds_left >= 0.0).then_some(seconds_left),
    })
}

/// Works a step each time it is asked for one; made by [`Quantizer::steps`]. Dropping it early just stops there.
#[derive(Debug)]
#[must_use = "a step is made only when it is asked for"]
pub struct Steps<'quantizer> {
    quantizer: &'quantizer mut Quantizer,
    over: bool,
}

impl Iterator for Steps<'_> {
    type Item = Result<Progress>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let status = check(unsafe { sys::gptq_quantizer_step(self.quantizer.raw) });
        self.over = !matches!(status, Ok(sys::GPTQ_OK));
        Some(status.and_then(|_| self.quantizer.progress()))
    }
}

impl FusedIterator for Steps<'_> {}
