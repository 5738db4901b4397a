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

/// A model that continues a text, byte by byte.
#[derive(Debug)]
pub struct Sampler {
    gpu: Gpu,
    vocabulary: Vec<u8>,
    /// Bytes that the model sees.
    context: usize,
    network: Network,
    plan: Plan,
    /// Divides the logits: below 1 likely bytes become likelier.
    temperature: f32,
    walk: Walk,
    /// Ids of the bytes so far: the prompt, and what was generated.
    text: Vec<u8>,
}

/// A prompt that every text of this vocabulary can be continued from: a line break, or else a space, or else the least byte that
/// begins a character.
fn default_prompt(vocabulary: &[u8]) -> u8 {
    let is_known = |byte: &u8| vocabulary.contains(byte);
    let begins_character = |byte: &u8| !(0x80..0xC0).contains(byte);
    let least = || vocabulary.iter().copied().find(begins_character).or(vocabulary.first().copied());
    [b'\n', b' '].into_iter().find(is_known).or_else(least).unwrap_or(b'\n')
}

/// The character of a prompt that has a byte at `place`, for a message.
fn character_at(prompt: &[u8], place: usize) -> String {
    let text = String::from_utf8_lossy(prompt);
    let whole = std::str::from_utf8(prompt).is_ok();
    let found = text.char_indices().take_while(|&(at, _)| whole && at <= place).last();
    found
        .map_or_else(|| prompt[place].escape_ascii().to_string(), |(_, char)| char.escape_debug().to_string())
}

impl Sampler {
    /// The model of a run, about to continue `prompt`; without one a line break, or where the text has none a space, or where it
    /// has neither the least byte that begins a character.
    ///
    /// # Errors
    /// [`Error::Config`] if the model is no language model, the temperature is not above 0, or the prompt is empty or has a
    /// character with a byte that the text of the run does not have; as [`RunFolder::load`].
    pub fn new(
        gpu: &Gpu,
        folder: &RunFolder,
        prompt: Option<&[u8]>,
        temperature: f32,
        seed: u64,
    ) -> Result<Self> {
        let bad = |option, reason| Err(Error::Config { option, reason });
        if !(temperature.is_finite() && temperature > 0.0) {
            return bad("temperature", format!("{temperature} is not above 0"));
        }
        let checkpoint = folder.load()?;
        let ModelConfig::Lm(config) = &checkpoint.settings.model else {
            return bad("dir", format!("a run of {}, which is no language model", checkpoint.settings.data));
        };
        let default = [default_prompt(&config.vocabulary)];
        let prompt = prompt.unwrap_or(&default);
        let text = match encode(&config.vocabulary, prompt) {
            Ok(text) if text.is_empty() => {
                return bad("prompt", "is empty; there is nothing to continue".to_owned());
            }
            Ok(text) => text,
            Err(place) => {
                let character = character_at(prompt, place);
                return bad(
                    "prompt",
                    format!("'{character}' does not occur in the text that the model was trained on"),
                );
            }
        };
        let model = &checkpoint.settings.model;
        checkpoint.settings.validate()?;
        let precision = checkpoint.settings.precision;
        Footprint::of_network(model, model.sparsity(), 1, precision, checkpoint.settings.recompute)?
            .expect_room(gpu)?;
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

    /// The text so far: the prompt, and the bytes that were generated.
    pub fn text(&self) -> Vec<u8> {
        self.text.iter().map(|&id| self.vocabulary[usize::from(id)]).collect()
    }

    /// The next byte, which may be a part of a UTF-8 character. Waits for the device.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn next_byte(&mut self) -> Result<u8> {
        let seen = &self.text[self.text.len().saturating_sub(self.context)..];
        let mut ids = vec![IGNORED; self.context];
        ids.iter_mut().zip(seen).for_each(|(id, &byte)| *id = byte.into());
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
    use super::{character_at, default_prompt, draw};

    #[test]
    fn draws_fall_where_the_probabilities_are() {
        let logits = [0.0, f32::ln(3.0), f32::NEG_INFINITY];
        assert_eq!([0.0, 0.24, 0.26, 0.99].map(|uniform| draw(&logits, 1.0, uniform)), [0, 0, 1, 1]);
        // At half the temperature the odds are nine to one.
        assert_eq!([0.09, 0.11].map(|uniform| draw(&logits, 0.5, uniform)), [0, 1]);
    }

    #[test]
    fn the_default_prompt_is_in_the_vocabulary() {
        assert_eq!(default_prompt(b"\n ab"), b'\n');
        assert_eq!(default_prompt(b" ab"), b' ');
        assert_eq!(default_prompt(b"ab"), b'a');
        // The bytes of "\u{e4}\u{f6}" (ä, ö): continuation bytes come first, and begin no character.
        assert_eq!(default_prompt(&[0xA4, 0xB6, 0xC3]), 0xC3);
        assert_eq!(default_prompt(&[0xA4, 0xB6]), 0xA4);
    }

    #[test]
    fn an_unknown_character_is_named_whole() {
        let prompt = "ab\u{fc}c".as_bytes();
        assert_eq!([0, 2, 3, 4].map(|place| character_at(prompt, place)), ["a", "\u{fc}", "\u{fc}", "c"]);
        assert_eq!(character_at(b"a\xFFb", 1), "\\xff");
    }
}
