//! Layer of experts in f64: a loop over assignments that shares no code with the library.

use super::activation::activate;
use super::layer::{Layer, Results};

/// Layer in f64: for each kept assignment, the expert's network on the token.
#[derive(Debug, Clone)]
pub(crate) struct Twin {
    layer: Layer,
    /// Operands, indexed by `X`, `WEIGHTS`, `W1`, `W2`, `UP`.
    values: [Vec<f64>; 5],
}

const X: usize = 0;
const WEIGHTS: usize = 1;
const W1: usize = 2;
const W2: usize = 3;
const UP: usize = 4;

impl Twin {
    pub(crate) fn new(layer: &Layer) -> Self {
        let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
        let up = layer.up.as_deref().unwrap_or_default();
        let values = [&layer.x, &layer.weights, &layer.w1, &layer.w2, up].map(wide);
        Self { layer: layer.clone(), values }
    }

    /// Whether each assignment is within its expert's capacity, in order of tokens, then of choices.
    fn kept(&self) -> Vec<bool> {
        let Layer { shape, capacity, experts, .. } = &self.layer;
        let mut free = vec![if *capacity == 0 { usize::MAX } else { *capacity }; shape.experts()];
        let mut kept = vec![false; experts.len()];
        for (at, kept) in kept.iter_mut().enumerate() {
            if let Some(free) = free.get_mut(experts[at] as usize)
                && *free > 0
            {
                *free -= 1;
                *kept = true;
            }
        }
        kept
    }

    /// Output, `[tokens, d]`.
    fn y(&self) -> Vec<f64> {
        let Layer { shape, d, activation, experts, up, .. } = &self.layer;
        let d = *d;
        let mut y = vec![0.0; shape.tokens * d];
        for (at, kept) in self.kept().into_iter().enumerate() {
            if !kept {
                continue;
            }
            let (token, expert) = (at / shape.choices, experts[at] as usize);
            let first: usize = shape.widths[..expert].iter().sum();
            let x = &self.values[X][token * d..][..d];
            for unit in first..first + shape.widths[expert] {
                let dot = |w: usize| -> f64 {
                    self.values[w][unit * d..][..d].iter().zip(x).map(|(w, x)| w * x).sum()
                };
                let mut h = activate(*activation, dot(W1));
                if up.is_some() {
                    h *= dot(UP);
                }
                for column in 0..d {
                    y[token * d + column] +=
                        self.values[WEIGHTS][at] * h * self.values[W2][unit * d + column];
                }
            }
        }
        y
    }

    /// Loss whose gradient by the output is `dy`: the sum of `y * dy`.
    fn loss(&self) -> f64 {
        self.y().iter().zip(&self.layer.dy).map(|(y, &dy)| y * f64::from(dy)).sum()
    }

    /// Derivative of the loss by one element of an operand: a central difference.
    fn slope(&mut self, what: usize, element: usize) -> f64 {
        const H: f64 = 1e-5;
        let before = self.values[what][element];
        let mut at = |offset: f64| {
            self.values[what][element] = before + offset;
            self.loss()
        };
        let slope = (at(H) - at(-H)) / (2.0 * H);
        self.values[what][element] = before;
        slope
    }

    /// Largest error of output and gradients, relative to the largest element of the tensor.
    pub(crate) fn worst(&mut self, results: &Results) -> f64 {
        let worst = |found: &[f32], wanted: &mut dyn FnMut(usize) -> Option<f64>| {
            let largest = found.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
            assert!(largest > 0.0, "a tensor of zeros");
            (0..found.len())
                .step_by(found.len().div_ceil(24))
                .filter_map(|i| Some((f64::from(found[i]) - wanted(i)?).abs() / f64::from(largest)))
                // A NaN counts as the largest error.
                .fold(0.0, |a: f64, b| if a >= b { a } else { b })
        };
        let y = self.y();
        let mut errors = vec![worst(&results.y, &mut |i| Some(y[i]))];
        let sparse = self.layer.patterns.is_some();
        // The twin has gradients of absent blocks, too, which the device does not compute.
        let mut of = |found: &[f32], what: usize| {
            errors.push(worst(found, &mut |i| {
                let absent = sparse && what >= W1 && self.values[what][i] == 0.0;
                (!absent).then(|| self.slope(what, i))
            }));
        };
        of(&results.dx, X);
        of(&results.dweights, WEIGHTS);
        of(&results.dw1, W1);
        of(&results.dw2, W2);
        if let Some(dup) = &results.dup {
            of(dup, UP);
        }
        errors.into_iter().fold(0.0, |a: f64, b| if a >= b { a } else { b })
    }
}
