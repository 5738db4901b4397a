//! `fretwork sample`.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use fretwork::gpu::{self, Gpu};
use fretwork::train::Sampler;

use crate::characters::Characters;
use crate::options::Sample;

pub(crate) fn run(options: &Sample) -> Result<ExitCode> {
    let (folder, _) = options.input.load()?;
    let gpu = Gpu::request(gpu::Options { adapter: options.adapter.clone(), ..gpu::Options::default() })?;
    let prompt = options.prompt.as_ref().map(String::as_bytes);
    let mut sampler = Sampler::new(&gpu, &folder, prompt, options.temperature, options.seed)?;
    let mut out = std::io::stdout().lock();
    let mut say = |text: &str| {
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .context("cannot write to the standard output")
    };
    let mut characters = Characters::default();
    say(&characters.push(&sampler.text()))?;
    for _ in 0..options.length {
        say(&characters.push(&[sampler.next_byte()?]))?;
    }
    say("\n")?;
    Ok(ExitCode::SUCCESS)
}
