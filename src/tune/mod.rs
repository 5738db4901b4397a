//! The tuner: which variant of a kernel is fastest on the adapter at hand. It is measured once for each class of shapes, kept on
//! disk, and used whenever such a shape is recorded again. Nothing here happens unless a [`Tuner`] is asked for.
//!
//! A choice never changes a result: a candidate is used only if it is right, and gives the bits of what runs without a tuner.

pub(crate) mod cache;
mod measure;
mod operands;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::gpu::{Gpu, ShapeClass, Verdict};
use crate::{Error, Result};
use cache::Cache;
use measure::{Measured, measure};

/// Settings of a [`Tuner`].
#[derive(Debug, Clone, PartialEq)]
pub struct Tuning {
    /// Time to spend on measuring. A shape once begun is finished; shapes left over are measured by the next run.
    pub budget: Duration,
    /// Folder of the choices on disk. Without it they last as long as the device.
    pub folder: Option<PathBuf>,
}

impl Default for Tuning {
    /// Three seconds, and the user's cache directory: `FRETWORK_CACHE`, or else where the platform has it.
    fn default() -> Self {
        Self { budget: Duration::from_secs(3), folder: cache::folder() }
    }
}

impl Tuning {
    /// The default, or none where the environment variable `FRETWORK_TUNE` is `off`.
    ///
    /// # Errors
    /// [`Error::Config`] if it is neither `on` nor `off`.
    pub fn from_env() -> Result<Option<Self>> {
        match std::env::var("FRETWORK_TUNE").as_deref() {
            Err(std::env::VarError::NotPresent) | Ok("on") => Ok(Some(Self::default())),
            Ok("off") => Ok(None),
            other => {
                let reason = format!("{:?} is neither on nor off", other.unwrap_or("what is no text"));
                Err(Error::Config { option: "FRETWORK_TUNE", reason })
            }
        }
    }
}

/// Progress of a tuner.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress<'a> {
    /// Number of shapes measured.
    pub done: usize,
    /// Number of shapes to measure.
    pub of: usize,
    /// The next shape.
    pub shape: &'a str,
}

/// Measures the shapes recorded on a device, and stores the choices.
#[derive(Debug)]
pub struct Tuner {
    gpu: Gpu,
    /// Time left.
    budget: Duration,
    cache: Option<Cache>,
    notices: Vec<String>,
}

impl Tuner {
    /// Loads the choices on disk for this device, for recordings made from now on. A fault of the file is a
    /// [notice](Tuner::take_notices).
    pub fn open(gpu: &Gpu, tuning: Tuning) -> Self {
        let cache = tuning.folder.map(|folder| Cache::new(&folder, gpu));
        let mut tuner = Self { gpu: gpu.clone(), budget: tuning.budget, cache, notices: Vec::new() };
        let Some(cache) = &tuner.cache else { return tuner };
        match cache.read() {
            Ok(found) => {
                // Choices that this device cannot run are measured again.
                let runs = |(_, verdict): &(ShapeClass, Verdict)| gpu.runs(verdict.choice.variant);
                found.into_iter().filter(runs).for_each(|(class, verdict)| gpu.choose(class, verdict));
            }
            Err(why) => {
                let notice = format!("{} {why}; kernels are measured anew", cache.path().display());
                tuner.notices.push(notice);
            }
        }
        tuner
    }

    /// Path of the file of choices, if there is one.
    pub fn path(&self) -> Option<&Path> {
        self.cache.as_ref().map(Cache::path)
    }

    /// Takes the notices since the last call.
    pub fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// Puts choices into the file beside those that are there, if choices are kept. Other processes may do so at the same time. A
    /// file that cannot be written is a [notice](Tuner::take_notices).
    pub fn keep(&mut self, choices: &[(ShapeClass, Verdict)]) {
        if let (Some(cache), false) = (&self.cache, choices.is_empty())
            && let Err(why) = cache.add(choices)
        {
            let path = cache.path().display();
            self.notices.push(format!("{path} {why}; kernels will be measured again"));
        }
    }

    /// Whether no time is left.
    pub fn is_spent(&self) -> bool {
        self.budget.is_zero()
    }

    /// Recorded shapes without a choice.
    pub fn wanted(&self) -> usize {
        self.gpu.workloads().iter().filter(|(_, verdict)| verdict.is_none()).count()
    }

    /// Measures the recorded shapes without a choice, until the time is over or `watch` returns false, and stores the choices.
    /// Earlier recordings do not change. Returns the number of shapes measured. Waits for the device.
    ///
    /// # Errors
    /// [`Error::DeviceLost`]. Shapes that cannot be measured, and a file that cannot be written, are
    /// [notices](Tuner::take_notices).
    pub fn measure(&mut self, watch: &mut dyn FnMut(Progress<'_>) -> bool) -> Result<usize> {
        let (started, peak) = (Instant::now(), self.gpu.peak_bytes());
        let deadline = started + self.budget;
        let mut wanted = self.gpu.workloads();
        wanted.retain(|(_, verdict)| verdict.is_none());
        let of = wanted.len();
        let mut found = Vec::new();
        let mut result = Ok(());
        for (done, (work, _)) in wanted.iter().enumerate() {
            if Instant::now() >= deadline || !watch(Progress { done, of, shape: &work.to_string() }) {
                break;
            }
            match measure(&self.gpu, work, deadline) {
                Ok(Measured { verdict, notices }) => {
                    self.notices.extend(notices);
                    if let Some(verdict) = verdict {
                        self.gpu.choose(work.class(), verdict);
                        found.push((work.class(), verdict));
                    }
                }
                Err(lost @ Error::DeviceLost { .. }) => {
                    result = Err(lost);
                    break;
                }
                Err(error) => self.notices.push(format!("{work} was not measured: {error}")),
            }
        }
        // Measurements must not count in the peak of a run.
        self.gpu.forget_since(peak);
        self.budget = self.budget.saturating_sub(started.elapsed());
        self.keep(&found);
        result.map(|()| found.len())
    }
}
