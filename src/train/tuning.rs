//! The kernels of a run: their choice, where they are measured, and their compilation.

use super::{Event, Flow, RunFolder, Trainer};
use super::{KernelRecord, KernelsRecord, LogRecord};
use crate::Result;
use crate::gpu::{Compiling, Gpu, Verdict, Workload};
use crate::tune::{Progress, Tuner};

impl Trainer {
    /// Measures the variants of the products that this run has, as far as nothing is known about them yet, and records the plans
    /// anew with what is fastest; and again at the end of an epoch where patterns have become others, as long as the tuner has
    /// time. The results of the run stay the same to the last bit. Says where a dense product would be faster than a sparse one.
    ///
    /// # Errors
    /// [`Error::DeviceLost`](crate::Error::DeviceLost), and as recording.
    pub fn tune(&mut self, tuner: Tuner, watch: &mut dyn FnMut(&Event) -> Flow) -> Result<()> {
        self.tuner = Some(tuner);
        self.tune_new(watch)?;
        if let Some(left @ 1..) = self.tuner.as_ref().map(Tuner::wanted) {
            watch(&Event::Notice(format!("{left} kernels are left for the next run to measure")));
        }
        Ok(())
    }

    /// Measures what is wanted now.
    pub(super) fn tune_new(&mut self, watch: &mut dyn FnMut(&Event) -> Flow) -> Result<()> {
        let Some(tuner) = &mut self.tuner else { return Ok(()) };
        let measured = tuner.measure(&mut |Progress { done, of, shape }| {
            watch(&Event::Tuning { done, of, shape: shape.to_owned() }) == Flow::Continue
        })?;
        let mut notices = tuner.take_notices();
        if measured > 0 {
            self.plan()?;
        }
        let records = kernel_records(&self.gpu);
        for record in records.iter().filter(|record| !self.tuned.contains(record)) {
            if let Some(versus_dense) = record.versus_dense.filter(|_| record.dense_is_faster()) {
                let shape = &record.shape;
                notices.push(format!("{shape}: a dense product would be {versus_dense:.2} times as fast"));
            }
        }
        self.tuned = records;
        notices.into_iter().for_each(|notice| {
            watch(&Event::Notice(notice));
        });
        Ok(())
    }

    /// Has the driver compile what the plans run, as far as it has not yet.
    pub(super) fn compile(&self, watch: &mut dyn FnMut(&Event) -> Flow) -> Result<()> {
        self.gpu.compile(self.plans.all(), &mut |Compiling { done, of, kernel }| {
            watch(&Event::Compiling { done, of, kernel: kernel.to_owned() }) == Flow::Continue
        })
    }

    /// Adds to the log what was chosen, if anything was.
    pub(super) fn log_kernels(&self, folder: &RunFolder) -> Result<()> {
        if self.tuned.is_empty() {
            return Ok(());
        }
        let (step, adapter) = (self.position.step, self.gpu.info().name.clone());
        folder.log(&LogRecord::Kernels(KernelsRecord { step, adapter, kernels: self.tuned.clone() }))
    }
}

/// The tuner's choice for each class of shapes that was recorded on a device.
fn kernel_records(gpu: &Gpu) -> Vec<KernelRecord> {
    let record = |(work, verdict): (Workload, Option<Verdict>)| {
        let Verdict { choice, versus_dense } = verdict?;
        let versus_dense = versus_dense.map(|versus| versus.at(work.density()));
        Some(KernelRecord { shape: work.to_string(), choice: choice.name().to_owned(), versus_dense })
    };
    gpu.workloads().into_iter().filter_map(record).collect()
}
