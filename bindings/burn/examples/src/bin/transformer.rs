//! A small transformer that predicts the next byte of a text, with a mixture of experts in place of each feed-forward network, and
//! the same network with dense ones of the same arithmetic.
//!
//!     cargo run --release -p fretwork-burn-examples --bin transformer -- [STEPS [FILE]]
//!
//! Without a file, the text is this repository's own documentation.

use burn_core as burn;
use burn_core::module::Module;
use burn_core::tensor::{Device, Int, Tensor, TensorData, activation};
use burn_nn::attention::{
    MhaInput, MultiHeadAttention, MultiHeadAttentionConfig, generate_autoregressive_mask,
};
use burn_nn::loss::CrossEntropyLossConfig;
use burn_nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn_optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use fretwork::random::{Key, Stream, Walk};
use fretwork_burn::{SparseMoe, SparseMoeConfig};

const WIDTH: usize = 64;
const CONTEXT: usize = 64;
const BATCH: usize = 16;
const EXPERTS: usize = 8;
/// A row passes through two experts of twice the width, as much arithmetic as one network of four times the width.
const TOP_K: usize = 2;
const DEPTH: usize = 2;
const BYTES: usize = 256;
const TEXT: [&str; 4] = [
    include_str!("../../../../../docs/methods.md"),
    include_str!("../../../../../docs/networks.md"),
    include_str!("../../../../../docs/experts.md"),
    include_str!("../../../../../docs/data.md"),
];

#[derive(Module, Debug)]
enum FeedForward {
    Dense(Dense),
    Experts(SparseMoe),
}

#[derive(Module, Debug)]
struct Dense {
    up: Linear,
    down: Linear,
}

impl FeedForward {
    fn new(experts: bool, seed: u64, device: &Device) -> Self {
        if experts {
            let config = SparseMoeConfig::new(WIDTH, EXPERTS).top_k(TOP_K).hidden(2 * WIDTH).seed(seed);
            return Self::Experts(config.init(device));
        }
        let hidden = TOP_K * 2 * WIDTH;
        let up = LinearConfig::new(WIDTH, hidden).init(device);
        Self::Dense(Dense { up, down: LinearConfig::new(hidden, WIDTH).init(device) })
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Dense(Dense { up, down }) => down.forward(activation::gelu(up.forward(x))),
            Self::Experts(experts) => experts.forward(x),
        }
    }
}

#[derive(Module, Debug)]
struct Block {
    norms: [LayerNorm; 2],
    attention: MultiHeadAttention,
    feed: FeedForward,
}

#[derive(Module, Debug)]
struct Transformer {
    bytes: Embedding,
    positions: Embedding,
    blocks: Vec<Block>,
    norm: LayerNorm,
    head: Linear,
}

impl Transformer {
    fn new(experts: bool, device: &Device) -> Self {
        let norm = || LayerNormConfig::new(WIDTH).init(device);
        let block = |number: usize| Block {
            norms: [norm(), norm()],
            attention: MultiHeadAttentionConfig::new(WIDTH, 4).with_dropout(0.0).init(device),
            feed: FeedForward::new(experts, number as u64, device),
        };
        Self {
            bytes: EmbeddingConfig::new(BYTES, WIDTH).init(device),
            positions: EmbeddingConfig::new(CONTEXT, WIDTH).init(device),
            blocks: (0..DEPTH).map(block).collect(),
            norm: norm(),
            head: LinearConfig::new(WIDTH, BYTES).init(device),
        }
    }

    /// Logits of the next byte, `[batch * context, 256]`.
    fn forward(&self, text: Tensor<2, Int>) -> Tensor<2> {
        let [batch, context] = text.dims();
        let device = text.device();
        let places = Tensor::<1, Int>::arange(0..context as i64, &device).unsqueeze::<2>();
        let mut x = self.bytes.forward(text) + self.positions.forward(places);
        for Block { norms: [first, second], attention, feed } in &self.blocks {
            let mask = generate_autoregressive_mask(batch, context, &device);
            let input = MhaInput::self_attn(first.forward(x.clone())).mask_attn(mask.bool_not());
            x = x + attention.forward(input).context;
            x = x.clone() + feed.forward(second.forward(x));
        }
        self.head.forward(self.norm.forward(x)).reshape([batch * context, BYTES])
    }
}

/// Windows of a text, and the byte behind each of theirs.
fn batch(text: &[u8], walk: &mut Walk, device: &Device) -> (Tensor<2, Int>, Tensor<1, Int>) {
    let (mut inputs, mut targets) = (Vec::new(), Vec::new());
    for _ in 0..BATCH {
        let from = walk.below((text.len() - CONTEXT) as u32) as usize;
        inputs.extend(text[from..][..CONTEXT].iter().map(|&byte| i32::from(byte)));
        targets.extend(text[from + 1..][..CONTEXT].iter().map(|&byte| i32::from(byte)));
    }
    let device = device.clone().without_autodiff();
    (
        Tensor::from_data(TensorData::new(inputs, [BATCH, CONTEXT]), &device),
        Tensor::from_data(TensorData::new(targets, [BATCH * CONTEXT]), &device),
    )
}

fn train(experts: bool, steps: usize, text: &[u8], device: &Device) -> anyhow::Result<[f64; 2]> {
    let (training, held_out) = text.split_at(text.len() * 9 / 10);
    let autodiff = device.clone().autodiff();
    autodiff.seed(1);
    let mut model = Transformer::new(experts, &autodiff);
    let mut optimizer: ModuleOptimizer = AdamWConfig::new().init();
    let mut walk = Key::new(1, Stream::Check(0)).walk();
    println!("{} parameters", model.num_params());
    let cross_entropy = CrossEntropyLossConfig::new().init(&autodiff);
    for step in 0..steps {
        let (inputs, targets) = batch(training, &mut walk, device);
        let loss = cross_entropy.forward(model.forward(inputs.autodiff()), targets.autodiff());
        if step % 100 == 0 {
            println!("step {step:5}: {:.3} nats", loss.clone().into_scalar::<f32>());
        }
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(2e-3, model, grads);
    }
    let model = model.valid();
    let cross_entropy = CrossEntropyLossConfig::new().init(device);
    let mut walk = Key::new(2, Stream::Check(0)).walk();
    let (mut loss, mut right) = (0.0, 0.0);
    const BATCHES: usize = 40;
    for _ in 0..BATCHES {
        let (inputs, targets) = batch(held_out, &mut walk, device);
        let logits = model.forward(inputs);
        loss += f64::from(cross_entropy.forward(logits.clone(), targets.clone()).into_scalar::<f32>());
        let found = logits.argmax(1).reshape([BATCH * CONTEXT]).equal(targets).float().mean();
        right += f64::from(found.into_scalar::<f32>());
    }
    Ok([loss / BATCHES as f64, right / BATCHES as f64])
}

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let steps = args.next().map_or(Ok(1000), |steps| steps.parse())?;
    let text = args.next().map_or_else(|| Ok(TEXT.concat().into_bytes()), std::fs::read)?;
    anyhow::ensure!(text.len() > 20 * CONTEXT, "the text should have more than {} bytes", 20 * CONTEXT);
    let device = fretwork_burn::init(Device::wgpu_options())?;
    for (name, experts) in [("8 experts, of which each row passes through 2", true), ("dense", false)] {
        println!("{name}");
        let [loss, accuracy] = train(experts, steps, &text, &device)?;
        println!("held out: {loss:.3} nats, {:.1} % of the bytes predicted", 100.0 * accuracy);
    }
    Ok(())
}
