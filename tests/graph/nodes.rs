//! Nodes of a program's own: right ones, and ones whose backward pass is wrong on purpose.

use fretwork::Result;
use fretwork::gpu::{DType, Recorder};
use fretwork::graph::{
    Backward, Forward, Graph, Init, Input, Node, Output, ParamId, ParamSpec, Value, Wiring,
};
use fretwork::ops::{self, Epilogue};

/// An error in a backward pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    None,
    /// The gradient of an input lacks its factor.
    Factor,
    /// The gradient of an input is written over what it should be added to.
    Overwrite,
    /// The gradient of the second input is left as it was.
    Second,
    /// The gradient of the bias is that of the first row alone.
    Bias,
}

/// `y = a * x[0] + b * x[1]`.
#[derive(Debug)]
struct Weighted {
    factors: [f32; 2],
    fault: Fault,
}

impl Node for Weighted {
    fn kind(&self) -> &'static str {
        "weighted"
    }

    fn forward(&self, rec: &mut Recorder<'_>, pass: &Forward<'_>) -> Result<()> {
        ops::blend(rec, pass.input(0), pass.output(0), [self.factors[0], 0.0])?;
        ops::blend(rec, pass.input(1), pass.output(0), [self.factors[1], 1.0])
    }

    // CONTRACT: the gradient of the output is that of the loss; the node may stand anywhere.
    fn backward(&self, rec: &mut Recorder<'_>, pass: &mut Backward<'_>) -> Result<()> {
        for (number, factor) in self.factors.into_iter().enumerate() {
            let Some(target) = pass.input_grad(number) else { continue };
            if self.fault == Fault::Second && number == 1 {
                continue;
            }
            let factor = if self.fault == Fault::Factor { 1.0 } else { factor };
            let adds = target.add && self.fault != Fault::Overwrite;
            ops::blend(rec, pass.output_grad(0), target.tensor, [factor, f32::from(u8::from(adds))])?;
        }
        Ok(())
    }
}

/// `2 * a - 3 * b`, of one shape; gradients are added where the graph says so if `accumulates`.
pub(crate) fn weighted(graph: &mut Graph, [a, b]: [Value; 2], accumulates: bool, fault: Fault) -> Value {
    let shape = graph.shape(a).unwrap().to_vec();
    let input = |value| {
        let input = Input::new(value).of(DType::F32);
        if accumulates { input.accumulates() } else { input }
    };
    let wiring = Wiring {
        inputs: vec![input(a), input(b)],
        outputs: vec![Output::new("weighted", &shape)],
        ..Wiring::default()
    };
    graph.add_one(Weighted { factors: [2.0, -3.0], fault }, wiring).unwrap()
}

/// `y = x * W^T + b`, of parameters that other nodes may have, too.
#[derive(Debug)]
struct Tied {
    fault: Fault,
}

impl Node for Tied {
    fn kind(&self) -> &'static str {
        "tied"
    }

    fn forward(&self, rec: &mut Recorder<'_>, pass: &Forward<'_>) -> Result<()> {
        pass.param(0).forward(rec, pass.input(0), pass.output(0), Epilogue::Bias(pass.param(1).values()))
    }

    // CONTRACT: the gradient of the output is that of the loss; the node may stand anywhere.
    fn backward(&self, rec: &mut Recorder<'_>, pass: &mut Backward<'_>) -> Result<()> {
        let (x, dy) = (pass.input(0), pass.output_grad(0));
        pass.param(0).backward_weight(rec, dy, x, pass.weight_grad(0))?;
        let rows = if self.fault == Fault::Bias { dy.rows(0, 1)? } else { dy.clone() };
        ops::column_sums(rec, &rows, pass.weight_grad(1).values(), false)?;
        if let Some(dx) = pass.input_grad(0) {
            pass.param(0).backward_input(rec, dy, dx.tensor, dx.epilogue)?;
        }
        pass.done(rec, 0, None)?;
        pass.done(rec, 1, None)
    }
}

/// Parameters of a square layer, for [`tied`].
pub(crate) fn square(graph: &mut Graph, name: &str, width: usize) -> [ParamId; 2] {
    let weight = ParamSpec::matrix(&format!("{name}.weight"), [width, width], 1.0).biased();
    let bias = ParamSpec::new(&format!("{name}.bias"), &[width], Init::Constant(0.0));
    [graph.param(weight).unwrap(), graph.param(bias).unwrap()]
}

/// A square layer of parameters that exist already.
pub(crate) fn tied(graph: &mut Graph, params: [ParamId; 2], x: Value, fault: Fault) -> Value {
    let shape = graph.shape(x).unwrap().to_vec();
    let wiring = Wiring {
        inputs: vec![Input::new(x).of(DType::F32).kept().fuses_activation()],
        outputs: vec![Output::new("tied", &shape)],
        params: params.to_vec(),
        buffers: Vec::new(),
    };
    graph.add_one(Tied { fault }, wiring).unwrap()
}
