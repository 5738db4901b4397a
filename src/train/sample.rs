//! Text from a language model that was trained.

use super::plans::record_refresh;
use super::{Footprint, RunFolder};
use crate::data::encode;
use crate::gpu::{Gpu, Plan, Recorder};
use crate::graph::Network;
use crate::nn::ModelConfig;
use crate::ops::IGNORED;
use crate::random::{Key, Stream, Walk};
use crate::{Error, Result};

/// A model that goes on with a text, one character after the other.
#[derive(Debug)]
pub struct Sampler {
    gpu: Gpu,
    vocabulary: Vec<u8>,
    /// Characters that the model sees.
    context: usize,
    network: Network,
    plan: Plan,
    /// Divides the logits: below 1 likely characters become likelier.
    temperature: f32,
    walk: Walk,
    /// What has been said so far, as numbers of characters.
    text: Vec<u8>,
}

impl Sampler {
    /// The model of a run, about to go on with `prompt`.
    ///
    /// # Errors
    /// [`Error::Config`] if the model is no language model, the temperature is not above 0, or the prompt is empty or has a
    /// character that the model does not know; as [`RunFolder::load`].
    pub fn new(gpu: &Gpu, folder: &RunFolder, prompt: &[u8], temperature: f32, seed: u64) -> Result<Self> {
        let bad = |option, reason| Err(Error::Config { option, reason });
        if !(temperature.is_finite() && temperature > 0.0) {
            return bad("temperature", format!("{temperature} is not above 0"));
        }
        let checkpoint = folder.load()?;
        let ModelConfig::Lm(config) = &checkpoint.settings.model else {
            return bad("dir", format!("a run of {}, which is no language model", checkpoint.settings.data));
        };
        let text = match encode(&config.vocabulary, prompt) {
            Ok(text) if text.is_empty() => return bad("prompt", "there is nothing to go on with".to_owned()),
            Ok(text) => text,
            Err(byte) => {
                return bad("prompt", format!("the model does not know '{}'", byte.escape_ascii()));
            }
        };
        let model = &checkpoint.settings.model;
        checkpoint.settings.validate()?;
        let precision = checkpoint.settings.precision;
        Footprint::of_network(model, model.sparsity(), 1, precision)?.expect_room(gpu)?;
        let path = folder.checkpoint_path();
        let network = checkpoint.network(gpu, &path, &checkpoint.topologies(&path)?, 1)?;
        gpu.run(&record_refresh(gpu, &network)?)?;
        let mut rec = Recorder::new(gpu);
        network.forward(&mut rec, None)?;
        Ok(Self {
            gpu: gpu.clone(),
            vocabulary: config.vocabulary.clone(),
            context: config.context,
            plan: rec.finish()?,
            network,
            temperature,
            walk: Key::new(seed, Stream::Sample).walk(),
            text,
        })
    }

    /// The next character. Waits for the device.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn next_character(&mut self) -> Result<u8> {
        let seen = &self.text[self.text.len().saturating_sub(self.context)..];
        let mut ids = vec![IGNORED; self.context];
        ids.iter_mut().zip(seen).for_each(|(id, &character)| *id = character.into());
        let last = seen.len() - 1;
        self.gpu.write(self.network.input(), &ids)?;
        self.gpu.run(&self.plan)?;
        let logits = self.gpu.read::<f32>(&self.network.logits().rows(last, 1)?)?.wait()?;
        let next = draw(&logits, self.temperature, self.walk.uniform());
        self.text.push(next as u8);
        Ok(self.vocabulary[next])
    }
}

/// The place where a uniform draw falls among the probabilities that logits stand for.
fn draw(logits: &[f32], temperature: f32, uniform: f32) -> usize {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights = logits.iter().map(|logit| f64::from((logit - largest) / temperature).exp());
    let sum: f64 = weights.clone().sum();
    let mut left = f64::from(uniform) * sum;
    let place = weights.into_iter().position(|weight| {
        left -= weight;
        left < 0.0
    });
    place.unwrap_or(logits.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::draw;

    #[test]
    fn draws_fall_where_the_probabilities_are() {
        let logits = [0.0, f32::ln(3.0), f32::NEG_INFINITY];
        assert_eq!([0.0, 0.24, 0.26, 0.99].map(|uniform| draw(&logits, 1.0, uniform)), [0, 0, 1, 1]);
        // At half the temperature the odds are nine to one.
        assert_eq!([0.09, 0.11].map(|uniform| draw(&logits, 0.5, uniform)), [0, 1]);
    }
}
