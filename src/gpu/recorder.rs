//! Recording of dispatches, with all their checks.

use std::sync::Arc;

use naga::ScalarKind;

use super::args::{Args, Operand, Scalar};
use super::buffer::Owned;
use super::context::Gpu;
use super::deferred::{Deferred, Queue};
use super::kernel::{Kernel, compile_all};
use super::key::Key;
use super::params::ParamCache;
use super::plan::{Bindings, Dispatch, Mark, Plan};
use super::reflect::Access;
use super::sharing::Bound;
use crate::{Error, Result};

/// Collects dispatches. Nothing reaches the device before [`Recorder::finish`]'s [`Plan`] is encoded.
#[derive(Debug)]
pub struct Recorder<'g> {
    gpu: &'g Gpu,
    dispatches: Vec<Recorded>,
    /// The `params` of all dispatches, each at an offset that the device accepts for a binding.
    params: Vec<u8>,
    marks: Vec<(usize, Mark)>,
    deferred: Queue,
    /// Records the sums that are deferred.
    flush: Option<Flush>,
}

/// Records sums that were deferred.
type Flush = fn(&mut Recorder<'_>, &[Deferred]) -> Result<()>;

#[derive(Debug)]
struct Recorded {
    kernel: Arc<Kernel>,
    tensors: Vec<Bound>,
    params: Option<(u32, u64, u64)>,
    workgroups: [u32; 2],
}

impl<'g> Recorder<'g> {
    /// An empty recording for `gpu`.
    pub fn new(gpu: &'g Gpu) -> Self {
        Self {
            gpu,
            dispatches: Vec::new(),
            params: Vec::new(),
            marks: Vec::new(),
            deferred: Queue::default(),
            flush: None,
        }
    }

    /// Number of dispatches recorded.
    pub fn len(&self) -> usize {
        self.dispatches.len()
    }

    /// Whether nothing is recorded.
    pub fn is_empty(&self) -> bool {
        self.dispatches.is_empty()
    }

    /// The device of the recording.
    pub fn gpu(&self) -> &'g Gpu {
        self.gpu
    }

    /// Marks the place between the dispatches before and those to come, at which a program may stop and see to a tensor. Where sums
    /// that are recorded later still have to write the tensor, the place is behind them; a mark without a tensor is behind all of
    /// them.
    ///
    /// # Errors
    /// Those of recording the sums.
    pub fn mark(&mut self, mark: Mark) -> Result<()> {
        if mark.tensor.is_none() {
            self.flush()?;
        }
        if self.deferred.writes(&mark) {
            self.deferred.marks.push(mark);
        } else {
            self.marks.push((self.dispatches.len(), mark));
        }
        Ok(())
    }

    /// Records sums later, at the latest before a dispatch that touches their results or overwrites their matrix: whatever reads the
    /// results finds what it would have found.
    ///
    /// # Errors
    /// As `flush`, of sums that were deferred before.
    pub(crate) fn defer(&mut self, sum: Deferred, flush: Flush) -> Result<()> {
        if self.deferred.precedes(&sum) {
            self.flush()?;
        }
        self.deferred.sums.push(sum);
        self.flush = Some(flush);
        Ok(())
    }

    /// Records the sums that were deferred.
    fn flush(&mut self) -> Result<()> {
        let Queue { sums, marks } = std::mem::take(&mut self.deferred);
        if let Some(flush) = self.flush.take() {
            flush(self, &sums)?;
        }
        let here = self.dispatches.len();
        self.marks.extend(marks.into_iter().map(|mark| (here, mark)));
        Ok(())
    }

    /// Records a dispatch of `workgroups` workgroups of a shader added by [`Gpu::add_shader`], which returns the key. Nothing is
    /// recorded for 0 workgroups. Grids longer than a dimension of the device are folded into two; the shader's workgroup is
    /// `workgroup_index` of `common/grid`, which may be past the last one wanted.
    ///
    /// # Errors
    /// Nothing is recorded then.
    /// - [`Error::Argument`], naming the argument: the key is of a kernel of this library, which [`ops`](crate::ops) dispatches; a
    ///   name that the shader does not declare, or one given twice; a tensor on another device, of another dtype than the
    ///   shader's, too small, at an offset that the device does not bind, or overlapping one that the shader writes.
    /// - [`Error::Rejected`]: a name of the shader without an argument, or a scalar of another type.
    /// - [`Error::Shader`], with file and line: there is no such shader, or it does not compose or validate.
    /// - [`Error::Limit`], [`Error::Unsupported`]: the shader needs more than the device has, or a binding is too large.
    pub fn dispatch(&mut self, key: &Key, args: &Args<'_>, workgroups: u64) -> Result<()> {
        if self.gpu.sources().is_library(key) {
            let found = "a kernel of this library, to be dispatched by fretwork::ops";
            return Err(Error::argument(key.label(), "key", "of a shader added by Gpu::add_shader", found));
        }
        self.push(key, args, workgroups)
    }

    /// [`Recorder::dispatch`] of any kernel. Kernels of this library are compiled without bounds checks: the caller has checked
    /// that no index leaves its binding.
    pub(crate) fn push(&mut self, key: &Key, args: &Args<'_>, workgroups: u64) -> Result<()> {
        let foreign = args.tensors.iter().find(|operand| operand.tensor.device() != self.gpu.id());
        if let Some(operand) = foreign {
            self.gpu.expect_own(&key.label(), operand.name, operand.tensor.device())?;
        }
        let kernel = self.gpu.kernel(key)?;
        if let Some(name) = args.repeated() {
            return Err(Error::argument(&kernel.label, name, "given once", "given twice"));
        }
        // Tensors without elements cannot be bound.
        if workgroups == 0 {
            return Ok(());
        }
        if self.deferred.blocks(&kernel, args) {
            self.flush()?;
        }
        let tensors = self.bind(&kernel, args)?;
        let kernel = self.gpu.kernel_for(&kernel, &tensors)?;
        let params = self.place_params(&kernel, args)?;
        let workgroups =
            fold(&kernel.label, workgroups, self.gpu.limits().max_compute_workgroups_per_dimension)?;
        self.dispatches.push(Recorded { kernel, tensors, params, workgroups });
        Ok(())
    }

    /// Checks each tensor against the shader's binding of its name.
    fn bind(&self, kernel: &Kernel, args: &Args<'_>) -> Result<Vec<Bound>> {
        let label = &kernel.label;
        let limits = self.gpu.limits();
        for Operand { name, .. } in &args.tensors {
            if !kernel.reflection.bindings.iter().any(|binding| binding.name == *name) {
                return Err(Error::argument(label, name, "a binding of the shader", "unknown to it"));
            }
        }
        let mut bound = Vec::new();
        for binding in &kernel.reflection.bindings {
            let operand = args.tensors.iter().find(|operand| binding.name == operand.name);
            let Some(&Operand { name, tensor, read_only }) = operand else {
                let message = format!("binding {:?} was given no tensor", binding.name);
                return Err(Error::Rejected { label: label.clone(), message });
            };
            if read_only && binding.access == Access::Write {
                return Err(Error::argument(label, name, "read by the shader alone", "written by it"));
            }
            let wanted = binding.dtype;
            if binding.access != Access::Uniform && tensor.dtype() != wanted {
                let found = format!("of {:?}", tensor.dtype());
                return Err(Error::argument(label, name, format!("of {wanted:?}"), found));
            }
            if tensor.bound_bytes() < binding.least_bytes {
                let wanted = format!("at least {} bytes", binding.least_bytes);
                return Err(Error::argument(label, name, wanted, format!("{} bytes", tensor.bytes())));
            }
            let (alignment, largest) = match binding.access {
                Access::Uniform => {
                    (limits.min_uniform_buffer_offset_alignment, limits.max_uniform_buffer_binding_size)
                }
                _ => (limits.min_storage_buffer_offset_alignment, limits.max_storage_buffer_binding_size),
            };
            if tensor.offset() % u64::from(alignment) != 0 {
                let wanted = format!("at an offset that is a multiple of {alignment} bytes");
                return Err(Error::argument(label, name, wanted, format!("at byte {}", tensor.offset())));
            }
            let usage = match binding.access {
                Access::Uniform => wgpu::BufferUsages::UNIFORM,
                Access::Read | Access::Write => wgpu::BufferUsages::STORAGE,
            };
            tensor.expect_usage(label, name, usage)?;
            if tensor.offset() + tensor.bound_bytes() > tensor.buffer().size() {
                let wanted = "of whole multiples of 4 bytes, or with more of its buffer behind it";
                return Err(Error::argument(label, name, wanted, format!("{tensor:?}, its buffer's end")));
            }
            if tensor.bytes() > largest {
                return Err(Error::Limit {
                    label: format!("{label}: {name}"),
                    what: "the size of a binding in bytes",
                    value: tensor.bytes(),
                    limit: largest,
                });
            }
            bound.push(Bound { name, slot: binding.slot, tensor: tensor.clone() });
        }
        Ok(bound)
    }

    /// Writes the scalars at the offsets of the shader's `params`.
    fn place_params(&mut self, kernel: &Kernel, args: &Args<'_>) -> Result<Option<(u32, u64, u64)>> {
        let mismatch = |name: &str, what: &str| Error::Rejected {
            label: kernel.label.clone(),
            message: format!("parameter {name:?} {what}"),
        };
        let Some((slot, bytes, members)) = &kernel.reflection.params else {
            return match args.scalars.first() {
                Some((name, _)) => Err(mismatch(name, "is unknown to the shader")),
                None => Ok(None),
            };
        };
        let alignment = self.gpu.limits().min_uniform_buffer_offset_alignment as usize;
        let start = self.params.len().next_multiple_of(alignment);
        self.params.resize(start + bytes, 0);
        for member in members {
            let Some((_, scalar)) = args.scalars.iter().find(|(name, _)| member.name == *name) else {
                return Err(mismatch(&member.name, "was given no value"));
            };
            let bytes = match (*scalar, member.scalar) {
                (Scalar::U32(value), ScalarKind::Uint) => value.to_ne_bytes(),
                (Scalar::F32(value), ScalarKind::Float) => value.to_ne_bytes(),
                _ => return Err(mismatch(&member.name, "has another type in the shader")),
            };
            self.params[start + member.offset..start + member.offset + 4].copy_from_slice(&bytes);
        }
        for (name, _) in &args.scalars {
            if !members.iter().any(|member| member.name == *name) {
                return Err(mismatch(name, "is unknown to the shader"));
            }
        }
        Ok(Some((*slot, start as u64, *bytes as u64)))
    }

    /// Makes the recording ready for replay. Kernels are compiled, and one small buffer for all parameters is allocated
    /// here, and nothing later.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::DeviceLost`], or [`Error::Rejected`] with the graphics layer's message.
    pub fn finish(self) -> Result<Plan> {
        self.finish_on(|gpu, bytes| Ok(Arc::new(gpu.uniform("params", bytes)?)))
    }

    /// [`Recorder::finish`] for recordings that recur on other tensors: parameters equal to those of an earlier recording are in
    /// that one's buffer, so that nothing but bind groups is made.
    ///
    /// # Errors
    /// Those of [`Recorder::finish`], and [`Error::Argument`] if `cache` has parameters of another device.
    pub fn finish_with(self, cache: &ParamCache) -> Result<Plan> {
        self.finish_on(|gpu, bytes| cache.get(gpu, bytes))
    }

    fn finish_on(mut self, uniform: impl FnOnce(&Gpu, &[u8]) -> Result<Arc<Owned>>) -> Result<Plan> {
        self.flush()?;
        let gpu = self.gpu;
        compile_all(gpu.core(), self.dispatches.iter().map(|recorded| &recorded.kernel))?;
        let pipelines: Vec<_> = self
            .dispatches
            .iter()
            .map(|recorded| recorded.kernel.pipeline(gpu.core()))
            .collect::<Result<_>>()?;
        let params = if self.params.is_empty() { None } else { Some(uniform(gpu, &self.params)?) };
        let dispatches = gpu.core().guarded("plan", || {
            let bind = |(recorded, pipeline): (Recorded, _)| {
                let Recorded { kernel, tensors, params: range, workgroups } = recorded;
                let bindings = Bindings { tensors, params: range };
                Dispatch::new(gpu, kernel, pipeline, bindings, params.as_deref(), workgroups)
            };
            self.dispatches.into_iter().zip(pipelines).map(bind).collect()
        })?;
        Ok(Plan::new(gpu.id(), dispatches, params, self.marks))
    }
}

/// Folds a long grid into two dimensions; the shaders unfold it in `workgroup_index`.
fn fold(label: &str, workgroups: u64, most: u32) -> Result<[u32; 2]> {
    let most = u64::from(most);
    let rows = workgroups.div_ceil(most.max(1)).max(1);
    if rows > most {
        return Err(Error::Limit {
            label: label.to_owned(),
            what: "the number of workgroups",
            value: workgroups,
            limit: most * most,
        });
    }
    // Equal rows leave the fewest workgroups idle.
    Ok([workgroups.div_ceil(rows) as u32, rows as u32])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_grids_fold_and_cover() {
        for (workgroups, most) in
            [(0, 7), (1, 7), (7, 7), (8, 7), (49, 7), (70_000, 65_535), (1 << 31, 65_535)]
        {
            let [x, y] = fold("test", workgroups, most).unwrap();
            assert!(x <= most && y <= most);
            assert!(u64::from(x) * u64::from(y) >= workgroups);
            assert!(u64::from(x) * u64::from(y) < workgroups + u64::from(y).max(2));
        }
        assert!(matches!(fold("test", 50, 7), Err(Error::Limit { value: 50, limit: 49, .. })));
        assert!(matches!(fold("test", 1, 0), Err(Error::Limit { value: 1, limit: 0, .. })));
    }
}
