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
        let args = Args::new().tensor("a", a).tensor("b", b).tensor("out", out);
        let args = args.u32("n", a.len() as u32).u32("period", b.len() as u32);
        rec.dispatch(&self.0, &args, a.len().div_ceil(64) as u64)
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
    let hidden = Linear::new(256, 256).sparse(blocks(16).density(0.2)).relu();
    let net = Sequential::new()
        .add(Linear::new(64, 256).relu())
        .add(Residual::new(Sequential::new().add(hidden).add(scale)))
        .add(Linear::new(256, 10));
    let data = Dataset::load(&Source::Digits, 1, 0)?;
    let mut trainer = Trainer::builder(&gpu, net).data(data).epochs(3).build()?;
    Ok(trainer.run(None, &mut |_| Flow::Continue)?.test_accuracy)
}
