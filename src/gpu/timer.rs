//! How long a plan takes: by the device's own clock where it has one.

use std::fmt;
use std::time::{Duration, Instant};

use super::context::Gpu;
use super::readback::Pending;
use super::recorder::Plan;
use crate::Result;

/// Whose clock it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// The device's: from the first dispatch to the last, without what it costs to launch and to wait.
    Device,
    /// The host's: from before a plan is encoded until all is done.
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

/// Runs plans and says how long they take.
#[derive(Debug)]
pub struct Timer {
    gpu: Gpu,
    stamps: Option<Stamps>,
}

/// Room for the timestamps around a plan.
#[derive(Debug)]
struct Stamps {
    set: wgpu::QuerySet,
    resolved: wgpu::Buffer,
}

/// Two of eight bytes each.
const BYTES: u64 = 16;

impl Timer {
    /// A timer of the device's clock where it has timestamps and they work, and of the host's otherwise.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory), [`Error::DeviceLost`](crate::Error::DeviceLost).
    pub fn new(gpu: &Gpu) -> Result<Self> {
        let host = Self { gpu: gpu.clone(), stamps: None };
        if !gpu.device().features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return Ok(host);
        }
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let set = gpu.guarded("timer", || {
            gpu.device().create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("timer"),
                ty: wgpu::QueryType::Timestamp,
                count: 2,
            })
        })?;
        let resolved = gpu.create_buffer("timer", BYTES, usage)?;
        Ok(Self { stamps: Some(Stamps { set, resolved }), ..host })
    }

    /// Whose clock it goes by.
    pub fn clock(&self) -> Clock {
        if self.stamps.is_some() { Clock::Device } else { Clock::Host }
    }

    /// Runs a plan to its end.
    ///
    /// # Errors
    /// [`Error::DeviceLost`](crate::Error::DeviceLost), or what the graphics layer has to object.
    pub fn time(&self, plan: &Plan) -> Result<Duration> {
        let gpu = &self.gpu;
        let Some(Stamps { set, resolved }) = &self.stamps else {
            let started = Instant::now();
            gpu.run(plan)?;
            gpu.finish()?;
            return Ok(started.elapsed());
        };
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = gpu.create_buffer("timer", BYTES, usage)?;
        let mut encoder = gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let around = wgpu::ComputePassTimestampWrites {
            query_set: set,
            beginning_of_pass_write_index: Some(0),
            end_of_pass_write_index: Some(1),
        };
        plan.encode_stamped(&mut encoder, Some(around));
        encoder.resolve_query_set(set, 0..2, resolved, 0);
        encoder.copy_buffer_to_buffer(resolved, 0, &staging, 0, BYTES);
        let submission = gpu.submit([encoder.finish()])?;
        let words = Pending::<u32>::new(gpu, staging, submission, 4).wait()?;
        let stamp = |at: usize| u64::from(words[at]) | u64::from(words[at + 1]) << 32;
        let ticks = stamp(2).wrapping_sub(stamp(0)) as f64;
        let nanoseconds = ticks * f64::from(gpu.queue().get_timestamp_period());
        Ok(Duration::from_secs_f64(nanoseconds * 1e-9))
    }
}
