//! A look for gradients that a node forgets to write.

use super::network::Network;
use crate::gpu::{Class, DType, Gpu, Recorder};
use crate::ops::{self, Step, StepValues};
use crate::{Error, Result};

impl Network {
    /// Runs a pass over made-up inputs with all gradients set to NaN first, and refuses a network in which one is left so: some
    /// node's backward pass does not write it. Inputs, gradients and outputs are overwritten. Waits for the device.
    ///
    /// # Errors
    /// [`Error::Argument`] naming the parameter or the input; as the operations.
    pub fn expect_gradients(&self, gpu: &Gpu) -> Result<()> {
        for (_, input) in self.inputs() {
            match input.dtype() {
                DType::F32 => gpu.write(input, &vec![0.5f32; input.len()])?,
                DType::F16 => gpu.write(input, &vec![half::f16::from_f32(0.5); input.len()])?,
                DType::U32 => gpu.write(input, &vec![0u32; input.len()])?,
            }
        }
        let inputs = self.inputs().into_iter().enumerate();
        let inputs = inputs.filter_map(|(at, (name, _))| Some((name, self.input_grad(at)?)));
        let params = self.store().iter().map(|param| (param.name(), param.grads()));
        let wanted: Vec<_> = params.chain(inputs).collect();
        let status = gpu.zeros::<u32>(Class::Scratch, "gradients", &[wanted.len().max(1)])?;
        let step = Step::new(gpu, StepValues::backward(0, 1.0))?;
        let mut rec = Recorder::new(gpu);
        for (_, grads) in &wanted {
            ops::fill(&mut rec, grads, f32::NAN.to_bits())?;
        }
        self.refresh(&mut rec, None)?;
        for part in 0..self.parts() {
            self.forward_part(&mut rec, part, Some(&step))?;
            for grad in self.part_output_grads(part) {
                ops::fill(&mut rec, grad, 1.0f32.to_bits())?;
            }
            self.backward_part(&mut rec, part, Some(&step))?;
        }
        for (word, (_, grads)) in wanted.iter().enumerate() {
            ops::finite(&mut rec, grads, &status, word, 1)?;
        }
        gpu.run(&rec.finish()?)?;
        let status = gpu.read::<u32>(&status)?.wait()?;
        match wanted.iter().zip(status).find(|(_, word)| *word != 0) {
            None => Ok(()),
            Some(((name, _), _)) => {
                let wanted = "finite after a backward pass from finite inputs";
                let found = "NaN or infinite: a node does not write it, or not all of it";
                Err(Error::argument(*name, "gradient", wanted, found))
            }
        }
    }
}
