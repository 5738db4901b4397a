//! A graph of ONNX's operators that is being written.

use super::proto;
use crate::ops::Activation;

/// Operators and constants so far. Values go by names; those of operators' results are numbered.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub(super) nodes: Vec<proto::Node>,
    pub(super) constants: Vec<proto::Tensor>,
    made: usize,
}

/// An option of an operator.
#[derive(Debug, Clone)]
pub(super) enum Attr {
    Float(&'static str, f32),
    Int(&'static str, i64),
    Ints(&'static str, Vec<i64>),
}

impl Writer {
    /// Adds an operator with one result, and returns the result's name.
    pub(super) fn op(&mut self, kind: &str, inputs: &[&str], attributes: &[Attr]) -> String {
        self.op_of(kind, inputs, attributes, 1).remove(0)
    }

    /// Adds an operator with several results, and returns their names.
    pub(super) fn op_of(
        &mut self,
        kind: &str,
        inputs: &[&str],
        attributes: &[Attr],
        count: usize,
    ) -> Vec<String> {
        let output: Vec<String> = (self.made..self.made + count).map(|number| format!("v{number}")).collect();
        self.made += count;
        self.nodes.push(proto::Node {
            input: inputs.iter().map(|&name| name.to_owned()).collect(),
            output: output.clone(),
            name: format!("{kind}_{}", self.nodes.len()),
            op_type: kind.to_owned(),
            attribute: attributes.iter().map(Attr::message).collect(),
        });
        output
    }

    fn constant(&mut self, name: Option<&str>, shape: &[usize], data_type: i32, raw_data: Vec<u8>) -> String {
        let name = name.map_or_else(|| format!("c{}", self.constants.len()), str::to_owned);
        let dims = shape.iter().map(|&side| side as i64).collect();
        self.constants.push(proto::Tensor { dims, data_type, name: name.clone(), raw_data });
        name
    }

    /// Adds floats under a name of their own: a parameter.
    pub(super) fn parameter(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        self.constant(Some(name), shape, proto::FLOAT, little_endian(values, f32::to_le_bytes))
    }

    /// Adds floats.
    pub(super) fn floats(&mut self, shape: &[usize], values: &[f32]) -> String {
        self.constant(None, shape, proto::FLOAT, little_endian(values, f32::to_le_bytes))
    }

    /// Adds a scalar in single precision.
    pub(super) fn float(&mut self, value: f32) -> String {
        self.floats(&[], &[value])
    }

    /// Adds a scalar in double precision.
    pub(super) fn double(&mut self, value: f64) -> String {
        self.constant(None, &[], proto::DOUBLE, value.to_le_bytes().to_vec())
    }

    /// Adds a vector of integers: a shape, axes.
    pub(super) fn ints(&mut self, values: &[i64]) -> String {
        self.constant(None, &[values.len()], proto::INT64, little_endian(values, i64::to_le_bytes))
    }

    /// Adds an integer without a dimension.
    pub(super) fn int(&mut self, value: i64) -> String {
        self.constant(None, &[], proto::INT64, value.to_le_bytes().to_vec())
    }

    /// A value in another shape; one size may be -1.
    pub(super) fn reshape(&mut self, value: &str, shape: &[i64]) -> String {
        let shape = self.ints(shape);
        self.op("Reshape", &[value, &shape], &[])
    }

    /// `x * W^T`, plus a bias if there is one.
    pub(super) fn linear(&mut self, x: &str, weight: &str, bias: Option<&str>) -> String {
        let inputs: Vec<&str> = [x, weight].into_iter().chain(bias).collect();
        self.op("Gemm", &inputs, &[Attr::Int("transB", 1)])
    }

    /// An activation. GELU's tanh form is written out, since it is an operator only from version 20 on.
    pub(super) fn activation(&mut self, x: &str, activation: Activation) -> Option<String> {
        Some(match activation {
            Activation::Identity => x.to_owned(),
            Activation::Relu => self.op("Relu", &[x], &[]),
            Activation::Silu => {
                let gate = self.op("Sigmoid", &[x], &[]);
                self.op("Mul", &[x, &gate], &[])
            }
            Activation::AllRelu { slope } => self.op("LeakyRelu", &[x], &[Attr::Float("alpha", slope)]),
            Activation::Gelu => {
                let [cubic, scale, one, half] =
                    [0.044_715, std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::FRAC_1_SQRT_2, 1.0, 0.5]
                        .map(|number| self.float(number));
                let square = self.op("Mul", &[x, x], &[]);
                let cube = self.op("Mul", &[&square, x], &[]);
                let cube = self.op("Mul", &[&cube, &cubic], &[]);
                let inner = self.op("Add", &[x, &cube], &[]);
                let inner = self.op("Mul", &[&inner, &scale], &[]);
                let tanh = self.op("Tanh", &[&inner], &[]);
                let shifted = self.op("Add", &[&tanh, &one], &[]);
                let product = self.op("Mul", &[x, &shifted], &[]);
                self.op("Mul", &[&product, &half], &[])
            }
        })
    }
}

fn little_endian<T: Copy, const N: usize>(values: &[T], bytes: fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&value| bytes(value)).collect()
}

impl Attr {
    fn message(&self) -> proto::Attribute {
        let empty = |name: &str, kind| proto::Attribute { name: name.to_owned(), kind, ..Default::default() };
        match self {
            Self::Float(name, value) => {
                proto::Attribute { f: Some(*value), ..empty(name, proto::ATTRIBUTE_FLOAT) }
            }
            Self::Int(name, value) => {
                proto::Attribute { i: Some(*value), ..empty(name, proto::ATTRIBUTE_INT) }
            }
            Self::Ints(name, values) => {
                proto::Attribute { ints: values.clone(), ..empty(name, proto::ATTRIBUTE_INTS) }
            }
        }
    }
}
