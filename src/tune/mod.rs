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

/// How a [`Tuner`] goes about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Tuning {
    /// How long a tuner may spend on measuring. A shape that has been begun is finished; what is left over is for the next one.
    pub budget: Duration,
    /// Where choices are kept. Without it they are forgotten with the device.
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

/// What a tuner tells whoever watches it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress<'a> {
    /// Shapes that are done.
    pub done: usize,
    /// Shapes that there are to measure.
    pub of: usize,
    /// The one that is next.
    pub shape: &'a str,
}

/// Measures what a device has been asked for, and keeps what it finds.
#[derive(Debug)]
pub struct Tuner {
    gpu: Gpu,
    /// What is left of the time.
    budget: Duration,
    cache: Option<Cache>,
    notices: Vec<String>,
}

impl Tuner {
    /// Takes up what is on disk for this device: what is recorded from now on uses it. Whatever is wrong with the file is a
    /// [notice](Tuner::take_notices).
    pub fn open(gpu: &Gpu, tuning: Tuning) -> Self {
        let cache = tuning.folder.map(|folder| Cache::new(&folder, gpu));
        let mut tuner = Self { gpu: gpu.clone(), budget: tuning.budget, cache, notices: Vec::new() };
        let Some(cache) = &tuner.cache else { return tuner };
        match cache.read() {
            Ok(found) => {
                // What this device cannot run is measured anew.
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

    /// Where choices are kept, if they are.
    pub fn path(&self) -> Option<&Path> {
        self.cache.as_ref().map(Cache::path)
    }

    /// What had to be said since this was last asked.
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

    /// Shapes that were recorded, and that nothing is known about.
    pub fn wanted(&self) -> usize {
        self.gpu.workloads().iter().filter(|(_, verdict)| verdict.is_none()).count()
    }

    /// Measures them, until the time is over or the watcher says false, and keeps what was found. Recordings made before go on as
    /// they are. Returns how many were measured. Waits for the device.
    ///
    /// # Errors
    /// [`Error::DeviceLost`]. What cannot be measured, or not written, is a [notice](Tuner::take_notices).
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
        // What was made up is gone, and is no part of what a run needs.
        self.gpu.forget_since(peak);
        self.budget = self.budget.saturating_sub(started.elapsed());
        self.keep(&found);
        result.map(|()| found.len())
    }
}
