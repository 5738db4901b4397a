//! `fretwork sample`.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use fretwork::gpu::{self, Gpu};
use fretwork::train::{RunFolder, Sampler};

use crate::options::Sample;

pub(crate) fn run(options: &Sample) -> Result<ExitCode> {
    let folder = RunFolder::inspect(&options.folder)?;
    let gpu = Gpu::request(gpu::Options { adapter: options.adapter.clone(), ..gpu::Options::default() })?;
    let prompt = options.prompt.as_bytes();
    let mut sampler = Sampler::new(&gpu, &folder, prompt, options.temperature, options.seed)?;
    let mut out = std::io::stdout().lock();
    let mut say = |bytes: &[u8]| {
        out.write_all(bytes).and_then(|()| out.flush()).context("cannot write to the standard output")
    };
    say(prompt)?;
    for _ in 0..options.length {
        say(&[sampler.next_character()?])?;
    }
    say(b"\n")?;
    Ok(ExitCode::SUCCESS)
}
