//! Twins of `shaders/optimizer/`.

use crate::sparse::BlockMask;
use crate::terms::BlockRange;

/// One step of SGD; `[momentum, weight_decay]` are the settings. Weight decay applies to the first `decaying` values.
#[expect(clippy::too_many_arguments, reason = "the kernel's arguments, in the kernel's order")]
pub fn sgd(
    values: &mut [f32],
    grads: &[f32],
    velocity: &mut [f32],
    [momentum, weight_decay]: [f32; 2],
    decaying: usize,
    nesterov: bool,
    mask: Option<&BlockMask>,
    learning_rate: f32,
) {
    for i in 0..values.len() {
        if mask.is_some_and(|mask| !mask.get(i)) {
            values[i] = 0.0;
            continue;
        }
        let v = momentum.mul_add(velocity[i], grads[i]);
        velocity[i] = v;
        let direction = if nesterov { momentum.mul_add(v, grads[i]) } else { v };
        let decay = if i < decaying { weight_decay } else { 0.0 };
        let decayed = values[i] * (1.0 - learning_rate * decay);
        values[i] = (-learning_rate).mul_add(direction, decayed);
    }
}

/// Births of blocks among the values.
#[derive(Debug, Clone, Copy)]
pub struct Births<'a> {
    /// First update of each block, counted from 1; 0 for initial blocks.
    pub born: &'a [u32],
    /// Places of the blocks.
    pub blocks: &'a [BlockRange],
    /// Weight updates, this one included.
    pub moves: u32,
}

impl Births<'_> {
    /// Bias corrections of an element in a block that was grown later, with these decays of the moments.
    pub(super) fn corrections(&self, element: usize, betas: [f32; 2]) -> Option<[f32; 2]> {
        let word = self.blocks.iter().find_map(|blocks| blocks.word_of(element))?;
        let birth = Some(self.born[word]).filter(|&birth| birth > 0)?;
        let age = f64::from(self.moves.max(birth) + 1 - birth);
        Some(betas.map(|beta| (1.0 / (1.0 - f64::from(beta).powf(age))) as f32))
    }
}

/// One step of AdamW; `[beta_1, beta_2, epsilon, weight_decay]` are the settings, `corrections` is `1 / (1 - beta^t)`
/// of both moments. Blocks grown later have their own corrections. Weight decay applies to the first `decaying` values.
#[expect(clippy::too_many_arguments, reason = "the kernel's arguments, in the kernel's order")]
pub fn adamw(
    values: &mut [f32],
    grads: &[f32],
    first: &mut [f32],
    second: &mut [f32],
    [beta_1, beta_2, epsilon, weight_decay]: [f32; 4],
    decaying: usize,
    mask: Option<&BlockMask>,
    births: Option<Births<'_>>,
    learning_rate: f32,
    corrections: [f32; 2],
) {
    for i in 0..values.len() {
        if mask.is_some_and(|mask| !mask.get(i)) {
            values[i] = 0.0;
            continue;
        }
        let g = grads[i];
        first[i] = beta_1.mul_add(first[i], (1.0 - beta_1) * g);
        second[i] = beta_2.mul_add(second[i], (1.0 - beta_2) * g * g);
        let decay = if i < decaying { weight_decay } else { 0.0 };
        let decayed = values[i] * (1.0 - learning_rate * decay);
        let corrections =
            births.and_then(|births| births.corrections(i, [beta_1, beta_2])).unwrap_or(corrections);
        let direction = first[i] * corrections[0] / ((second[i] * corrections[1]).sqrt() + epsilon);
        values[i] = (-learning_rate).mul_add(direction, decayed);
    }
}
