//! Twins of `shaders/convert/`.

use half::f16;

use crate::random::{Key, unit};
use crate::sparse::Topology;

/// Cast to f16: round to nearest even, or stochastically with a key and a step. Draws for the values of a block
/// matrix are indexed by grid position.
pub fn to_f16(x: &[f32], out: &mut [f16], chance: Option<(Key, u32)>, topology: Option<&Topology>) {
    let area = topology.map_or(x.len(), |topology| topology.block().pow(2));
    let places: Vec<usize> = topology.map_or(vec![0], |topology| topology.places().collect());
    for (i, (out, &x)) in out.iter_mut().zip(x).enumerate() {
        *out = match chance {
            None => f16::from_f32(x),
            Some((key, step)) => {
                let element = places[i / area] * area + i % area;
                by_chance(x, key.at([element as u32, step])[0])
            }
        };
    }
}

/// Cast to f32.
pub fn to_f32(x: &[f16], out: &mut [f32]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out = x.to_f32();
    }
}

/// Stochastic rounding: the f16 below, or the next one above if the random bits decide so.
fn by_chance(x: f32, bits: u32) -> f16 {
    // Smallest normal f16; smaller ones are multiples of 2^-24, larger ones have eleven significant bits.
    const NORMAL: f32 = 1.0 / 16384.0;
    let size = x.abs();
    if !size.is_finite() {
        return f16::from_f32(x);
    }
    let (step, share) = if size < NORMAL {
        (1.0 / 16_777_216.0, unit(bits))
    } else {
        let exponent = (size.to_bits() >> 23) as i32 - 127;
        // The kernel adds the 13 random bits and truncates: it rounds up where the discarded bits exceed the draw's
        // complement.
        (2f32.powi(exponent - 10), (8191 - (bits & 0x1FFF)) as f32 / 8192.0)
    };
    let whole = (size / step).floor();
    let up = share < size / step - whole;
    f16::from_f32(((whole + f32::from(u8::from(up))) * step).copysign(x))
}
