//! Compilation ahead of the first run.
//!
//! lavapipe translates a pipeline to machine code at its first dispatch, on the thread that executes. A dispatch of no workgroups
//! is enough for it, and changes nothing; a driver that compiles earlier passes over it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Gpu;
use super::recorder::{Dispatch, Plan};
use crate::Result;

/// A kernel that is about to be compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compiling<'a> {
    /// Kernels that are compiled.
    pub done: usize,
    /// Kernels that there are to compile.
    pub of: usize,
    /// The label of the next one.
    pub kernel: &'a str,
}

impl Gpu {
    /// Makes the driver compile every kernel of some plans that has not been compiled here yet, until the watcher says false.
    /// Nothing is computed. Holds the host back for each, so that the watcher hears of it in time; a run compiles what is left.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for plans of another device,
    /// [`Error::DeviceLost`](crate::Error::DeviceLost), or what the graphics layer has to object.
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
}
