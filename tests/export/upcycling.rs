//! Feed-forward networks that become experts.

use std::path::Path;

use super::small_lm::{CONTEXT, experts, settings, text};
use super::*;
use fretwork::nn::{MoeConfig, Precision};

/// A dense language model, with biases of its feed-forward networks or without.
fn dense(gpu: &Gpu, folder: &Path, biases: bool) -> Checkpoint {
    let (mut settings, data) = settings(&text(folder), None, Precision::F32, 12);
    let ModelConfig::Lm(config) = &mut settings.model else { panic!("no language model") };
    (config.sparsity, config.hidden) = (None, 32);
    let mut checkpoint = trained(gpu, settings, data);
    if !biases {
        for block in 0..2 {
            for name in ["up", "down"] {
                checkpoint.put(&format!("blocks.{block}.feed.{name}.bias"), &[32], vec![0.0; 32]);
            }
        }
    }
    checkpoint
}

fn mixture(change: impl Fn(&mut MoeConfig)) -> MoeConfig {
    let mut moe = experts("softmax-top:2:renormalised");
    moe.experts = vec![32; 4];
    change(&mut moe);
    moe
}

/// A run of experts from the file, and the notices of its start.
fn upcycled(
    gpu: &Gpu,
    folder: &Path,
    moe: MoeConfig,
    weights: &Weights,
) -> fretwork::Result<(Checkpoint, Vec<String>)> {
    let (mut settings, data) = settings(&text(folder), Some(moe), Precision::F32, 12);
    let ModelConfig::Lm(config) = &mut settings.model else { panic!("no language model") };
    config.sparsity = None;
    let start = StartFrom { weights: Some(weights.clone()), pattern: None };
    let notices = settings.start_from(&start)?;
    let parts = Parts { start, ..settings.parts() };
    Ok((Trainer::with_parts(gpu, settings, data, parts)?.checkpoint()?, notices))
}

fn characters(gpu: &Gpu, checkpoint: &Checkpoint) -> Vec<f32> {
    let path = Path::new(PATH);
    let network = checkpoint.network(gpu, path, &checkpoint.topologies(path).unwrap(), 4).unwrap();
    let ids: Vec<u32> = (0..4 * CONTEXT as u32).map(|at| at * at % 7).collect();
    gpu.write(network.input(), &ids).unwrap();
    outputs(gpu, &network)
}

#[test]
fn experts_begin_as_the_feed_forward_network() {
    let gpu = gpu();
    let folder = tempfile::tempdir().unwrap();
    let plain = dense(&gpu, folder.path(), false);
    let weights = exported(&plain, Format::SafetensorsDense);
    let wanted = characters(&gpu, &plain);
    let largest = wanted.iter().fold(0.0f32, |largest, y| largest.max(y.abs()));
    let distance = |moe| {
        let (run, notices) = upcycled(&gpu, folder.path(), moe, &weights).unwrap();
        assert_eq!(notices, Vec::<String>::new());
        let pairs = characters(&gpu, &run).into_iter().zip(&wanted);
        pairs.fold(0.0f32, |worst, (found, wanted)| worst.max((found - wanted).abs())) / largest
    };
    assert!(distance(mixture(|_| {})) < 1e-5);
    // Weights that don't sum to 1 give other outputs: the comparison can fail.
    assert!(distance(mixture(|moe| moe.gate = "softmax-top:2".parse().unwrap())) > 1e-3);
}

#[test]
fn what_experts_cannot_hold_is_said() {
    let gpu = gpu();
    let folder = tempfile::tempdir().unwrap();
    let weights = exported(&dense(&gpu, folder.path(), true), Format::SafetensorsDense);
    let (_, notices) = upcycled(&gpu, folder.path(), mixture(|_| {}), &weights).unwrap();
    assert_eq!(notices.len(), 2);
    assert!(notices[1].starts_with("experts have no biases, so those of blocks.1.feed"), "{notices:?}");
    let refused = |moe| upcycled(&gpu, folder.path(), moe, &weights).unwrap_err().to_string();
    for (said, wanted) in [
        (refused(mixture(|moe| moe.gated = true)), "of which gated experts can be no copy"),
        (refused(mixture(|moe| moe.shared = 16)), "of which a shared expert can be no copy"),
        (refused(mixture(|moe| moe.experts = vec![32, 16])), "experts of different widths"),
        (refused(mixture(|moe| moe.experts = vec![48; 4])), "should have [48, 32]"),
    ] {
        assert!(said.contains(wanted), "{said}");
    }
}
