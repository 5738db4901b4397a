//! RMSNorm with a gain, `y = x / sqrt(mean(x^2) + epsilon) * gain`.

use super::Module;
use super::module::single;
use crate::Result;
use crate::gpu::{DType, Recorder};
use crate::graph::{
    Backward, Buffer, Forward, Graph, Init, Input, Node, Output, ParamSpec, Units, Value, Wiring,
};
use crate::ops;

/// Keeps a row of zeros from being divided by 0.
pub(crate) const EPSILON: f32 = 1e-5;

/// RMSNorm (Zhang and Sennrich 2019) of each row, with a gain for each column.
#[derive(Debug, Clone, Default)]
pub struct Norm;

impl Module for Norm {
    fn build(&self, graph: &mut Graph, inputs: &[Value]) -> Result<Vec<Value>> {
        let x = single(graph, inputs)?;
        let [rows, width] = graph.matrix(&graph.name("norm"), x)?;
        let gain = graph.param(ParamSpec::new("weight", &[width], Init::Constant(1.0)))?;
        let output =
            Output::new(graph.name("output"), &[rows, width]).of(graph.operand()).units(Units::Of(x));
        let wiring = Wiring {
            inputs: vec![Input::new(x).of(DType::F32).kept().accumulates()],
            outputs: vec![output],
            params: vec![gain],
            buffers: vec![Buffer::kept("scale", &[rows], DType::F32)],
        };
        Ok(vec![graph.add_one(NormNode, wiring)?])
    }
}

#[derive(Debug)]
struct NormNode;

impl Node for NormNode {
    fn kind(&self) -> &'static str {
        "norm"
    }

    fn forward(&self, rec: &mut Recorder<'_>, pass: &Forward<'_>) -> Result<()> {
        let gain = pass.param(0).values();
        ops::norm_forward(rec, pass.input(0), gain, pass.buffer("scale")?, pass.output(0), EPSILON)
    }

    // CONTRACT: `dy` is the gradient of the loss by the output.
    fn backward(&self, rec: &mut Recorder<'_>, pass: &mut Backward<'_>) -> Result<()> {
        let (x, dy, scale) = (pass.input(0), pass.output_grad(0), pass.buffer("scale")?);
        ops::norm_gain(rec, dy, x, scale, pass.weight_grad(0).values())?;
        if let Some(dx) = pass.input_grad(0) {
            ops::norm_backward(rec, dy, x, pass.param(0).values(), scale, dx.tensor, dx.add)?;
        }
        pass.done(rec, 0, None)
    }
}
