//! The lines of the repository's README, which its own tests hold against this file.

use std::error::Error;

use burn_core as burn;
use burn_core::module::Module;
use burn_core::tensor::{Device, Tensor};
use burn_optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use fretwork_burn::fretwork::methods::Rigl;
use fretwork_burn::{Evolution, SparseLinear, SparseLinearConfig, SparseMoeConfig};

#[derive(Module, Debug)]
struct Net {
    layer: SparseLinear,
}

#[test]
fn the_lines_of_the_readme_run() -> Result<(), Box<dyn Error>> {
    let device = fretwork_burn::init(Device::wgpu_options())?.autodiff();
    let layer = SparseLinearConfig::new(1024, 4096).block(16).density(0.1).init(&device);
    let moe = SparseMoeConfig::new(512, 8).top_k(2).init(&device);

    assert_eq!(moe.forward(Tensor::<2>::ones([4, 512], &device)).dims(), [4, 512]);
    let mut model = Net { layer };
    let mut optimizer: ModuleOptimizer = AdamConfig::new().init();
    let (steps, per_epoch, rate) = (100, 10, 1e-3);
    let y = model.layer.forward(Tensor::<2>::ones([4, 1024], &device));
    assert_eq!(y.dims(), [4, 4096]);
    let grads = GradientsParams::from_grads(y.sum().backward(), &model);
    let values = |net: &Net| net.layer.values.val().into_data().try_to_vec::<f32>();
    let before = values(&model)?;

    let mut rigl = Evolution::new(Rigl::default(), &model, steps, per_epoch)?;
    model = rigl.step(optimizer.step(rate, model, grads))?;

    // Every gradient is 4, and Adam's first step is as long as the rate.
    for (before, after) in before.iter().zip(values(&model)?) {
        assert!((before - after - 1e-3).abs() < 1e-5, "{before} became {after}");
    }
    Ok(())
}
