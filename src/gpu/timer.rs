//! Timing of plans, by the device's clock where it has one.

use std::fmt;
use std::time::{Duration, Instant};

use super::context::Gpu;
use super::plan::Plan;
use super::readback::Pending;
use crate::{Error, Result};

/// The clock of a [`Timer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// Timestamps of the device, from the first dispatch to the last, without launch and wait.
    Device,
    /// Time of the host, from before a plan is encoded until the device is idle.
    Host,
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Device => "the device's clock",
            Self::Host => "the host's clock",
        })
    }
}

/// Measures the time of plans.
#[derive(Debug)]
pub struct Timer {
    gpu: Gpu,
    stamps: Option<Stamps>,
}

impl Timer {
    /// A timer of the device's clock where it has timestamps and they work, and of the host's otherwise.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory), [`Error::DeviceLost`](crate::Error::DeviceLost).
    pub fn new(gpu: &Gpu) -> Result<Self> {
        let has_clock = gpu.device().features().contains(wgpu::Features::TIMESTAMP_QUERY);
        let stamps = if has_clock { Some(Stamps::new(gpu, 1)?) } else { None };
        Ok(Self { gpu: gpu.clone(), stamps })
    }

    /// The clock in use.
    pub fn clock(&self) -> Clock {
        if self.stamps.is_some() { Clock::Device } else { Clock::Host }
    }

    /// Runs a plan to its end.
    ///
    /// # Errors
    /// [`Error::DeviceLost`](crate::Error::DeviceLost), [`Error::Halted`](crate::Error::Halted), or
    /// [`Error::Rejected`](crate::Error::Rejected) with the graphics layer's message.
    pub fn time(&self, plan: &Plan) -> Result<Duration> {
        self.gpu.expect_own("Timer::time", "plan", plan.device())?;
        let Some(stamps) = &self.stamps else {
            let started = Instant::now();
            self.gpu.run(plan)?;
            self.gpu.finish()?;
            return Ok(started.elapsed());
        };
        self.gpu.prepare(plan)?;
        let took = stamps.time(&self.gpu, |encoder| plan.encode_stamped(encoder, Some(stamps.around(0))))?;
        let [took] = took[..] else { return Ok(Duration::ZERO) };
        Ok(took)
    }

    /// Runs a plan to its end, and times each of its dispatches, in their order; none by the host's clock, which does not see
    /// them. Each is a pass of its own, so together they may take longer than the plan.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for more than 2048 dispatches, and as [`time`](Self::time).
    pub fn time_each(&self, plan: &Plan) -> Result<Option<Vec<Duration>>> {
        self.gpu.expect_own("Timer::time_each", "plan", plan.device())?;
        if self.stamps.is_none() || plan.is_empty() {
            return Ok(self.stamps.as_ref().map(|_| Vec::new()));
        }
        self.gpu.prepare(plan)?;
        let stamps = Stamps::new(&self.gpu, plan.len())?;
        stamps
            .time(&self.gpu, |encoder| plan.encode_each(encoder, |dispatch| stamps.around(dispatch)))
            .map(Some)
    }
}

/// Timestamps around a number of passes.
#[derive(Debug)]
struct Stamps {
    set: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    passes: usize,
}

/// Two timestamps of eight bytes a pass.
const BYTES: u64 = 16;

impl Stamps {
    fn new(gpu: &Gpu, passes: usize) -> Result<Self> {
        let most = wgpu::QUERY_SET_MAX_QUERIES as usize / 2;
        if passes > most {
            return Err(Error::argument("timer", "plan", format!("at most {most} dispatches"), passes));
        }
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let set = gpu.core().guarded("timer", || {
            gpu.device().create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("timer"),
                ty: wgpu::QueryType::Timestamp,
                count: 2 * passes as u32,
            })
        })?;
        let resolved = gpu.create_buffer("timer", passes as u64 * BYTES, usage)?;
        Ok(Self { set, resolved, passes })
    }

    fn around(&self, pass: usize) -> wgpu::ComputePassTimestampWrites<'_> {
        let first = 2 * pass as u32;
        wgpu::ComputePassTimestampWrites {
            query_set: &self.set,
            beginning_of_pass_write_index: Some(first),
            end_of_pass_write_index: Some(first + 1),
        }
    }

    /// Submits the passes that `record` puts timestamps around, and waits for them.
    fn time(&self, gpu: &Gpu, record: impl FnOnce(&mut wgpu::CommandEncoder)) -> Result<Vec<Duration>> {
        let bytes = self.passes as u64 * BYTES;
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = gpu.create_buffer("timer", bytes, usage)?;
        let commands = gpu.encode("timer", |encoder| {
            record(encoder);
            encoder.resolve_query_set(&self.set, 0..2 * self.passes as u32, &self.resolved, 0);
            encoder.copy_buffer_to_buffer(&self.resolved, 0, &staging, 0, bytes);
        })?;
        let submission = gpu.submit([commands])?;
        let words = Pending::<u32>::new(gpu, staging, submission, 4 * self.passes)?.wait()?;
        let period = f64::from(gpu.queue().get_timestamp_period());
        let stamp = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let took = words.chunks_exact(4).map(|pair| {
            let ticks = stamp(pair[2], pair[3]).wrapping_sub(stamp(pair[0], pair[1])) as f64;
            Duration::from_secs_f64(ticks * period * 1e-9)
        });
        Ok(took.collect())
    }
}
