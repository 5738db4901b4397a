//! A layer of one's own: LayerScale (Touvron et al. 2021), `y = x * gain` with a gain for each column.
//!
//! `cargo run --release --example own_layer`

use fretwork::Result;
use fretwork::gpu::Key;
use fretwork::prelude::*;

/// The layer, and its node: both hold the kernel alone.
#[derive(Debug, Clone)]
pub(crate) struct LayerScale(pub(crate) Key);

impl LayerScale {
    /// Records `out = a * b`, where `b` has the shape of `a` or a factor for each column.
    fn multiply(&self, rec: &mut Recorder<'_>, a: &Tensor, b: &Tensor, out: &Tensor) -> Result<()> {
        let (n, period) = (a.len() as u32, b.len() as u32);
        let args = Args::new().tensor("a", a).tensor("b", b).tensor("out", out);
        rec.dispatch(&self.0, &args.u32("n", n).u32("period", period), u64::from(n).div_ceil(64))
    }
}

impl Module for LayerScale {
    fn build(&self, graph: &mut Graph, inputs: &[Value]) -> Result<Vec<Value>> {
        let x = single(graph, inputs)?;
        let shape = graph.matrix("scale", x)?;
        let wiring = Wiring {
            inputs: vec![Input::new(x).of(DType::F32).kept()],
            outputs: vec![Output::new(graph.name("output"), &shape)],
            params: vec![graph.param(ParamSpec::new("gain", &shape[1..], Init::Constant(0.1)))?],
            buffers: vec![Buffer::scratch("product", &shape, DType::F32)],
        };
        graph.add(self.clone(), wiring)
    }
}

impl Node for LayerScale {
    fn kind(&self) -> &'static str {
        "scale"
    }

    fn forward(&self, rec: &mut Recorder<'_>, pass: &Forward<'_>) -> Result<()> {
        self.multiply(rec, pass.input(0), pass.param(0).values(), pass.output(0))
    }

    fn backward(&self, rec: &mut Recorder<'_>, pass: &mut Backward<'_>) -> Result<()> {
        let (x, dy, product) = (pass.input(0), pass.output_grad(0), pass.buffer("product")?);
        self.multiply(rec, dy, x, product)?;
        ops::column_sums(rec, product, pass.weight_grad(0).values(), false)?;
        if let Some(dx) = pass.input_grad(0) {
            self.multiply(rec, dy, pass.param(0).values(), dx.tensor)?;
        }
        pass.done(rec, 0, None)
    }
}

fn main() -> Result<()> {
    println!("accuracy {:.4} on the digits' test part", run()?);
    Ok(())
}

/// Trains, and returns the accuracy on the test part.
pub(crate) fn run() -> Result<f64> {
    let gpu = Gpu::request(Options::default())?;
    let scale = LayerScale(gpu.add_shader("mine", "multiply", include_str!("own_layer.wgsl"))?);
    let net = Sequential::new()
        .add(Linear::new(64, 256).sparse(blocks(16).density(0.5)).relu())
        .add(Residual::new(Sequential::new().add(Linear::new(256, 256).relu()).add(scale)))
        .add(Linear::new(256, 10));
    let mut trainer = Trainer::builder(&gpu, net)
        .data(Dataset::load(&Source::Digits, 1, 0)?)
        .learning_rate(0.004, Schedule::OneCycle)
        .epochs(5)
        .build()?;
    Ok(trainer.run(None, &mut |_| Flow::Continue)?.test_accuracy)
}
