//! Sum of two values of one shape.

use crate::gpu::{DType, Recorder};
use crate::graph::{Backward, Forward, Graph, Input, Node, Output, Units, Value, Wiring};
use crate::{Error, Result, ops};

/// `a + b`, in f32. The units of both count as written and read in any case, as those of a residual stream.
///
/// # Errors
/// [`Error::Argument`] where shapes differ.
pub fn add(graph: &mut Graph, a: Value, b: Value) -> Result<Value> {
    let [shape, other] = [a, b].map(|value| graph.shape(value).map(<[usize]>::to_vec));
    let (shape, other) = (shape?, other?);
    if shape != other {
        let op = graph.name("add");
        return Err(Error::argument(op, "inputs", format!("of one shape, {shape:?}"), format!("{other:?}")));
    }
    graph.always(a)?;
    graph.always(b)?;
    let input = |value| Input::new(value).of(DType::F32).passes_gradient();
    let wiring = Wiring {
        inputs: vec![input(a), input(b)],
        outputs: vec![Output::new(graph.name("sum"), &shape).units(Units::Always).in_place_of(1)],
        ..Wiring::default()
    };
    graph.add_one(AddNode, wiring)
}

#[derive(Debug)]
struct AddNode;

impl Node for AddNode {
    fn kind(&self) -> &'static str {
        "add"
    }

    fn forward(&self, rec: &mut Recorder<'_>, pass: &Forward<'_>) -> Result<()> {
        if !pass.is_in_place(1) {
            ops::blend(rec, pass.input(1), pass.output(0), [1.0, 0.0])?;
        }
        ops::blend(rec, pass.input(0), pass.output(0), [1.0, 1.0])
    }

    // CONTRACT: the gradient of both inputs is that of the output, which the layout passes on.
    fn backward(&self, _rec: &mut Recorder<'_>, _pass: &mut Backward<'_>) -> Result<()> {
        Ok(())
    }

    fn linearised(&self) -> Option<Box<dyn Node>> {
        Some(Box::new(Self))
    }
}
