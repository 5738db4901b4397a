//! Twins of `shaders/layerwise/`.

use super::optimizer::Births;
use crate::terms::ParamRange;

/// Norm of a parameter's elements. Summed in f64: the kernel's order, of invocations, chunks and a tree, errs by a few units in the
/// last place.
fn norm(x: impl Iterator<Item = f32>) -> f32 {
    x.map(|x| f64::from(x).powi(2)).sum::<f64>().sqrt() as f32
}

/// Trust ratio `trust * |w| / (|x| + decay * |w|)`: 1 where a norm is 0.
fn ratio(trust: f32, w: f32, x: f32, decay: f32) -> f32 {
    if w > 0.0 && x > 0.0 { trust * w / (x + decay * w) } else { 1.0 }
}

/// One step of LARS; `[momentum, trust, weight_decay]` are the settings.
pub fn lars(
    values: &mut [f32],
    grads: &[f32],
    velocity: &mut [f32],
    [momentum, trust, weight_decay]: [f32; 3],
    params: &[ParamRange],
    learning_rate: f32,
) {
    for param in params {
        let range = param.first..param.end();
        let norms = [&*values, grads].map(|x| norm(x[range.clone()].iter().copied()));
        let (ratio, decay) = match param.decays {
            true => (ratio(trust, norms[0], norms[1], weight_decay), weight_decay),
            false => (1.0, 0.0),
        };
        for i in range {
            let v = momentum.mul_add(velocity[i], ratio * decay.mul_add(values[i], grads[i]));
            velocity[i] = v;
            values[i] = (-learning_rate).mul_add(v, values[i]);
        }
    }
}

/// One step of LAMB; `[beta_1, beta_2, epsilon, weight_decay]` are the settings, `corrections` is `1 / (1 - beta^t)` of both
/// moments. Blocks grown later have their own corrections.
#[expect(clippy::too_many_arguments, reason = "the kernel's arguments, in the kernel's order")]
pub fn lamb(
    values: &mut [f32],
    grads: &[f32],
    first: &mut [f32],
    second: &mut [f32],
    [beta_1, beta_2, epsilon, weight_decay]: [f32; 4],
    params: &[ParamRange],
    births: Option<Births<'_>>,
    learning_rate: f32,
    corrections: [f32; 2],
) {
    for param in params {
        let decay = if param.decays { weight_decay } else { 0.0 };
        let range = param.first..param.end();
        let mut directions = Vec::new();
        for i in range.clone() {
            let g = grads[i];
            first[i] = beta_1.mul_add(first[i], (1.0 - beta_1) * g);
            second[i] = beta_2.mul_add(second[i], (1.0 - beta_2) * g * g);
            let corrections =
                births.and_then(|births| births.corrections(i, [beta_1, beta_2])).unwrap_or(corrections);
            let adam = first[i] * corrections[0] / ((second[i] * corrections[1]).sqrt() + epsilon);
            directions.push(decay.mul_add(values[i], adam));
        }
        let norms = [&values[range.clone()], &directions[..]].map(|x| norm(x.iter().copied()));
        let ratio = if param.decays { ratio(1.0, norms[0], norms[1], 0.0) } else { 1.0 };
        for (i, direction) in range.zip(directions) {
            values[i] = (-learning_rate * ratio).mul_add(direction, values[i]);
        }
    }
}
