//! `fretwork sample`.

use clap::Args;

use super::trained::Trained;

#[derive(Debug, Args)]
#[command(next_help_heading = "Text")]
pub(crate) struct Sample {
    #[command(flatten)]
    pub(crate) input: Trained,
    /// Beginning of the text; by default a line break, or where the model's text has none a space, or else its least byte.
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt: Option<String>,
    /// Bytes to generate. Only whole characters are printed: the last ones may be the beginning of a character.
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub(crate) length: usize,
    /// Softmax temperature: below 1 likely bytes become likelier, above 1 less likely.
    #[arg(long, value_name = "T", default_value_t = 0.8, allow_negative_numbers = true)]
    pub(crate) temperature: f32,
    /// Seed of the draws.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Adapter to use: an index in the list of `doctor --adapters`, or a name or part of one.
    #[arg(long, help_heading = "Device", value_name = "INDEX|NAME")]
    pub(crate) adapter: Option<String>,
}
