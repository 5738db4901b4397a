//! Layer normalisation with gain and bias, `y = (x - mean) / sqrt(variance + epsilon) * gain + bias`.

use super::Module;
use super::module::single;
use crate::Result;
use crate::gpu::{DType, Recorder};
use crate::graph::{
    Backward, Buffer, Forward, Graph, Init, Input, Node, Output, ParamSpec, Units, Value, Wiring,
};
use crate::ops;

/// Keeps a row of equal numbers from being divided by 0.
pub(crate) const EPSILON: f32 = 1e-5;

/// Layer normalisation (Ba, Kiros and Hinton 2016) of each row, with a gain and a bias for each column.
#[derive(Debug, Clone, Default)]
pub struct LayerNorm;

impl Module for LayerNorm {
    fn build(&self, graph: &mut Graph, inputs: &[Value]) -> Result<Vec<Value>> {
        let x = single(graph, inputs)?;
        let [rows, width] = graph.matrix(&graph.name("layer norm"), x)?;
        let gain = graph.param(ParamSpec::new("weight", &[width], Init::Constant(1.0)))?;
        let bias = graph.param(ParamSpec::new("bias", &[width], Init::Constant(0.0)))?;
        let output =
            Output::new(graph.name("output"), &[rows, width]).of(graph.operand()).units(Units::Of(x));
        let wiring = Wiring {
            inputs: vec![Input::new(x).of(DType::F32).kept().accumulates()],
            outputs: vec![output],
            params: vec![gain, bias],
            buffers: vec![Buffer::kept("moments", &[rows, 2], DType::F32)],
        };
        Ok(vec![graph.add_one(LayerNormNode, wiring)?])
    }
}

#[derive(Debug)]
struct LayerNormNode;

impl Node for LayerNormNode {
    fn kind(&self) -> &'static str {
        "layer norm"
    }

    fn forward(&self, rec: &mut Recorder<'_>, pass: &Forward<'_>) -> Result<()> {
        let (gain, bias) = (pass.param(0).values(), pass.param(1).values());
        ops::layer_norm_forward(
            rec,
            pass.input(0),
            gain,
            bias,
            pass.buffer("moments")?,
            pass.output(0),
            EPSILON,
        )
    }

    // CONTRACT: `dy` is the gradient of the loss by the output.
    fn backward(&self, rec: &mut Recorder<'_>, pass: &mut Backward<'_>) -> Result<()> {
        let (x, dy, moments) = (pass.input(0), pass.output_grad(0), pass.buffer("moments")?);
        ops::layer_norm_gain(rec, dy, x, moments, pass.weight_grad(0).values())?;
        ops::column_sums(rec, dy, pass.weight_grad(1).values(), false)?;
        if let Some(dx) = pass.input_grad(0) {
            ops::layer_norm_backward(rec, dy, x, pass.param(0).values(), moments, dx.tensor, dx.add)?;
        }
        pass.done(rec, 0, None)?;
        pass.done(rec, 1, None)
    }
}
