//! `sweep`: the networks of a sweep.

use std::str::FromStr;

use clap::Args;
use fretwork::nn::{LayerSparsity, MlpsConfig, OneOf, Together};
use fretwork::ops::Activation;
use fretwork::sparse::Density;

/// Networks of a sweep: one for each width, activation and repetition.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Networks")]
pub(crate) struct Networks {
    /// Widths of the hidden layers: numbers, and ranges FIRST..LAST or FIRST..LAST:STEP, the last included. Padded inside to multiples of
    /// the block.
    #[arg(long, value_name = "UNITS,..", value_delimiter = ',', default_value = "8..128:8")]
    pub(crate) hidden: Vec<Widths>,
    /// Hidden layers of each network, all of its width.
    #[arg(id = "hidden_layers", long = "depth", value_name = "N", default_value_t = 1)]
    pub(crate) depth: usize,
    /// Activations: relu | gelu | silu | all-relu:SLOPE
    #[arg(long, value_name = "FUNCTION,..", value_delimiter = ',', default_value = "relu")]
    pub(crate) activation: Vec<Activation>,
    /// Networks of each width and activation, with weights drawn from the seed and those after it.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) repeat: usize,
    /// Block side: 8, 16, 32, 64 or 128. Widths, classes and input features are padded with zeros to multiples of it.
    #[arg(long, value_name = "SIDE", default_value_t = 8)]
    pub(crate) block: usize,
    /// Share of hidden activations that are dropped in training.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) dropout: f32,
    /// Seed of row order and dropout, and the first of those of weights.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
}

impl Networks {
    /// Number of networks; more than any device has room for where it overflows.
    pub(crate) fn count(&self) -> usize {
        let widths = self.hidden.iter().map(|widths| widths.iter().len()).fold(0, usize::saturating_add);
        widths.saturating_mul(self.activation.len()).saturating_mul(self.repeat)
    }

    /// The networks, for rows of so many features and classes: those of one activation follow each other.
    pub(crate) fn config(&self, inputs: usize, classes: usize) -> MlpsConfig {
        let mut networks = Vec::new();
        for &activation in &self.activation {
            for width in self.hidden.iter().flat_map(Widths::iter) {
                let one = |repetition: usize| OneOf {
                    hidden: vec![width; self.depth],
                    activation,
                    seed: self.seed.wrapping_add(repetition as u64),
                };
                networks.extend((0..self.repeat).map(one));
            }
        }
        MlpsConfig {
            inputs,
            classes,
            block: self.block,
            sparsity: None,
            density: Density::Erk,
            dropout: self.dropout,
            seed: self.seed,
            layers: LayerSparsity::default(),
            together: Together::Sweep,
            networks,
        }
    }
}

/// A width, or a range of widths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Widths {
    first: usize,
    last: usize,
    step: usize,
}

impl Widths {
    fn iter(&self) -> impl ExactSizeIterator<Item = usize> + use<> {
        let Self { first, last, step } = *self;
        (0..(last - first) / step + 1).map(move |at| first + at * step)
    }
}

impl FromStr for Widths {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: &str| match part.trim().parse::<usize>() {
            // Wider layers than any device has room for.
            Ok(number) if number > u32::MAX as usize => Err(format!("{number} is too large")),
            Ok(number) => Ok(number),
            Err(_) => Err(format!("{text:?} is no width and no range as 8..128 or 8..128:8")),
        };
        let Some((first, rest)) = text.split_once("..") else {
            return number(text).map(|width| Self { first: width, last: width, step: 1 });
        };
        let (last, step) = match rest.split_once(':') {
            Some((last, step)) => (number(last)?, number(step)?),
            None => (number(rest)?, 1),
        };
        let first = number(first)?;
        match (first <= last, step) {
            (_, 0) => Err(format!("{text:?} has a step of 0")),
            (false, _) => Err(format!("{text:?} descends; the smaller width comes first")),
            (true, step) => Ok(Self { first, last, step }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_numbers_and_ranges_with_their_last() {
        let of = |text: &str| text.parse::<Widths>().map(|widths| widths.iter().collect::<Vec<_>>());
        assert_eq!(of("12"), Ok(vec![12]));
        assert_eq!(of("8..11"), Ok(vec![8, 9, 10, 11]));
        assert_eq!(of("8..32:8"), Ok(vec![8, 16, 24, 32]));
        assert_eq!(of("8..30:8"), Ok(vec![8, 16, 24]));
        for (text, wanted) in
            [("9..8", "descends"), ("8..16:0", "a step of 0"), ("a", "is no width"), ("8..", "is no width")]
        {
            assert!(of(text).unwrap_err().contains(wanted), "{text}");
        }
    }
}
