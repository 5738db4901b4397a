//! Twins of `shaders/blocks/`.

use crate::random::{Key, unit};
use crate::sparse::Topology;

/// New values for fresh slots: 0, or uniform within +- a limit, drawn at the element's place in the grid and the step.
pub fn renew_blocks(
    topology: &Topology,
    values: &mut [f32],
    fresh: &[bool],
    uniform: Option<(f32, Key, u32)>,
) {
    let area = topology.block() * topology.block();
    for (slot, place) in topology.places().enumerate().filter(|&(slot, _)| fresh[slot]) {
        for within in 0..area {
            values[slot * area + within] = uniform.map_or(0.0, |(limit, key, step)| {
                let element = (place as u32).wrapping_mul(area as u32).wrapping_add(within as u32);
                (2.0 * unit(key.at([element, step])[0]) - 1.0) * limit
            });
        }
    }
}

/// Values brought to another pattern: `weight_a * a + weight_b * b`, where a block that a source lacks counts as 0.
pub fn remap_blocks(
    a: (&Topology, &[f32]),
    b: Option<((&Topology, &[f32]), [f32; 2])>,
    to: &Topology,
    out: &mut [f32],
) {
    let area = to.block() * to.block();
    let block = |(topology, values): (&Topology, &[f32]), place: usize| -> Option<Vec<f32>> {
        let slot = topology.places().position(|here| here == place)?;
        Some(values[slot * area..(slot + 1) * area].to_vec())
    };
    for (slot, place) in to.places().enumerate() {
        let mut sum = block(a, place).unwrap_or(vec![0.0; area]);
        if let Some((b, [weight_a, weight_b])) = b {
            sum.iter_mut().for_each(|x| *x *= weight_a);
            if let Some(other) = block(b, place) {
                sum.iter_mut().zip(other).for_each(|(x, y)| *x = weight_b.mul_add(y, *x));
            }
        }
        out[slot * area..(slot + 1) * area].copy_from_slice(&sum);
    }
}
