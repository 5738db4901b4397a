//! Twins of `shaders/optimizer/`.

use crate::sparse::BlockMask;

/// One step of SGD; `[momentum, weight_decay]` are the settings.
pub fn sgd(
    values: &mut [f32],
    grads: &[f32],
    velocity: &mut [f32],
    [momentum, weight_decay]: [f32; 2],
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
        let decayed = values[i] * (1.0 - learning_rate * weight_decay);
        values[i] = (-learning_rate).mul_add(direction, decayed);
    }
}

/// Births of a block matrix's blocks.
#[derive(Debug, Clone, Copy)]
pub struct Births<'a> {
    /// First update of each slot's block, counted from 1; 0 for initial blocks.
    pub born: &'a [u32],
    /// Elements per block.
    pub area: usize,
    /// Weight updates, this one included.
    pub moves: u32,
}

/// One step of AdamW; `[beta_1, beta_2, epsilon, weight_decay]` are the settings, `corrections` is `1 / (1 - beta^t)`
/// of both moments. Blocks grown later have their own corrections.
#[expect(clippy::too_many_arguments, reason = "the kernel's arguments, in the kernel's order")]
pub fn adamw(
    values: &mut [f32],
    grads: &[f32],
    first: &mut [f32],
    second: &mut [f32],
    [beta_1, beta_2, epsilon, weight_decay]: [f32; 4],
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
        let decayed = values[i] * (1.0 - learning_rate * weight_decay);
        let corrections = match births.map(|births| (births.born[i / births.area], births.moves)) {
            Some((birth @ 1.., moves)) => [beta_1, beta_2].map(|beta| {
                let age = f64::from(moves.max(birth) + 1 - birth);
                (1.0 / (1.0 - f64::from(beta).powf(age))) as f32
            }),
            _ => corrections,
        };
        let direction = first[i] * corrections[0] / ((second[i] * corrections[1]).sqrt() + epsilon);
        values[i] = (-learning_rate).mul_add(direction, decayed);
    }
}
