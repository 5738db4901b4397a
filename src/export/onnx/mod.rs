//! ONNX models, written from the description of a network's graph: an operator or a few for each node. The operators are those of
//! version 17, which ONNX Runtime has had since 1.12.

mod mixture;
mod nodes;
mod proto;
mod writer;

use std::collections::HashMap;

use prost::Message as _;

use super::trained::Trained;
use crate::graph::NodeDescription;
use crate::nn::Row;
use crate::{Error, Result};
use proto::ValueInfo;
use writer::Writer;

/// Version of the format, and of its operators.
const IR_VERSION: i64 = 8;
const OPSET: i64 = 17;

/// Most bytes of a model in one file: sizes in the format have 31 bits.
const MOST_BYTES: usize = i32::MAX as usize;

/// The model. It reads `input`, `[batch, features]` of f32 or `[batch, context]` of i64, ids of characters, and gives `output`, a row
/// of logits for each row, or for each character of a window.
///
/// # Errors
/// [`Error::Config`] naming a node that has no words in ONNX, and for a model beyond 2 GiB.
pub(super) fn model(trained: &Trained) -> Result<Vec<u8>> {
    let description = &trained.description;
    let (mut writer, mut values) = (Writer::default(), HashMap::new());
    let [input] = description.inputs.as_slice() else {
        return Err(refused(format!("a network of {} inputs", description.inputs.len())));
    };
    let (read, rows) = match trained.row {
        Row::Features(width) => (ValueInfo::batch("input", proto::FLOAT, &[width]), "input".to_owned()),
        Row::Window(context) => {
            let rows = writer.reshape("input", &[-1]);
            (ValueInfo::batch("input", proto::INT64, &[context]), rows)
        }
    };
    values.insert(input.value.clone(), rows);
    let mut lowering = Lowering { trained, writer, values, widths: HashMap::new(), mixtures: 0 };
    description.nodes.iter().try_for_each(|node| lowering.node(node))?;
    let mut output = Vec::new();
    for (number, value) in description.outputs.iter().enumerate() {
        let name = if number == 0 { "output".to_owned() } else { format!("output_{number}") };
        output.push(lowering.output(value, &name)?);
    }
    let Lowering { writer, .. } = lowering;
    let graph = proto::Graph {
        node: writer.nodes,
        name: "fretwork".to_owned(),
        initializer: writer.constants,
        input: vec![read],
        output,
    };
    let model = proto::Model {
        ir_version: IR_VERSION,
        producer_name: "fretwork".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(graph),
        opset_import: vec![proto::Opset { domain: String::new(), version: OPSET }],
    };
    match model.encoded_len() {
        bytes if bytes > MOST_BYTES => {
            Err(refused(format!("a model of {bytes} bytes, of which a file holds {MOST_BYTES} at most")))
        }
        _ => Ok(model.encode_to_vec()),
    }
}

fn refused(what: String) -> Error {
    Error::Config { option: "to", reason: format!("onnx has no words for {what}") }
}

/// Nodes of a network on their way into operators.
#[derive(Debug)]
struct Lowering<'a> {
    trained: &'a Trained,
    writer: Writer,
    /// Name of each value of the network in the model.
    values: HashMap<String, String>,
    /// Width of each value that nodes made.
    widths: HashMap<String, usize>,
    /// Mixtures so far: a gate that hashes draws by their number.
    mixtures: u32,
}

impl Lowering<'_> {
    /// The value that a node reads as its input number `number`.
    fn input(&self, node: &NodeDescription, number: usize) -> Result<String> {
        let value = node.inputs.get(number).and_then(|value| self.values.get(value));
        value.cloned().ok_or_else(|| refused(format!("{}, which lacks an input", node.name)))
    }

    /// Adds a parameter without its padding, and returns its name.
    fn param(&mut self, name: &str) -> Result<String> {
        let (shape, values) = self.trained.dense(self.trained.description.param(name)?);
        Ok(self.writer.parameter(name, &shape, &values))
    }

    /// Shape of a parameter without its padding.
    fn shape(&self, name: &str) -> Result<Vec<usize>> {
        Ok(self.trained.description.param(name)?.real_shape())
    }

    /// Names the model's output. Rows of windows become `[batch, context, width]`.
    fn output(&mut self, value: &str, name: &str) -> Result<ValueInfo> {
        let lost = || refused(format!("the output {value}, which no node makes"));
        let made = self.values.get(value).cloned().ok_or_else(lost)?;
        let width = *self.widths.get(value).ok_or_else(lost)?;
        let sizes = match self.trained.row {
            Row::Features(_) => vec![width],
            Row::Window(context) => vec![context, width],
        };
        let shape: Vec<i64> = std::iter::once(-1).chain(sizes.iter().map(|&size| size as i64)).collect();
        self.writer.reshape(&made, &shape);
        if let Some(node) = self.writer.nodes.last_mut() {
            node.output = vec![name.to_owned()];
        }
        Ok(ValueInfo::batch(name, proto::FLOAT, &sizes))
    }
}
