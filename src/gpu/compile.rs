//! Compilation ahead of the first run.
//!
//! lavapipe translates a pipeline to machine code at its first dispatch, on the thread that executes. A dispatch of no workgroups
//! makes it do that and changes nothing; on other drivers it costs next to nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::context::Gpu;
use super::plan::{Dispatch, Plan};
use crate::Result;

/// Progress of a compilation: the kernel that is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compiling<'a> {
    /// Number of kernels compiled.
    pub done: usize,
    /// Number of kernels to compile.
    pub of: usize,
    /// The label of the next one.
    pub kernel: &'a str,
}

impl Gpu {
    /// Makes the driver compile all kernels of some plans that are not compiled yet, until `watch` returns false. Nothing is
    /// computed. Waits for each kernel, so that `watch` is called in time; a run compiles the rest.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for plans of another device,
    /// [`Error::DeviceLost`](crate::Error::DeviceLost), [`Error::Halted`](crate::Error::Halted), or
    /// [`Error::Rejected`](crate::Error::Rejected) with the graphics layer's message.
    pub fn compile<'a>(
        &self,
        plans: impl IntoIterator<Item = &'a Plan>,
        watch: &mut dyn FnMut(Compiling<'_>) -> bool,
    ) -> Result<()> {
        let mut waiting: Vec<&Dispatch> = Vec::new();
        for plan in plans {
            self.expect_own("Gpu::compile", "plans", plan.device())?;
            for dispatch in plan.dispatches() {
                let known = waiting.iter().any(|known| Arc::ptr_eq(&known.kernel, &dispatch.kernel));
                if !known && !dispatch.kernel.has_run.load(Ordering::Relaxed) {
                    waiting.push(dispatch);
                }
            }
        }
        for (done, dispatch) in waiting.iter().enumerate() {
            self.core().expect_wanted()?;
            if !watch(Compiling { done, of: waiting.len(), kernel: &dispatch.kernel.label }) {
                break;
            }
            let commands = self.encode("compile", |encoder| {
                let pass = &mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
                dispatch.encode_empty(pass);
            })?;
            self.pace(self.submit([commands])?)?;
            dispatch.kernel.has_run.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Before a run of a plan on a device with a [`Halt`](super::Halt): compiles its new kernels one by one.
    ///
    /// # Errors
    /// As [`Gpu::compile`].
    pub(super) fn prepare(&self, plan: &Plan) -> Result<()> {
        if !self.core().can_halt() {
            return Ok(());
        }
        self.core().expect_wanted()?;
        self.compile([plan], &mut |_| true)
    }
}
