//! Twins of `shaders/convert/`.

use half::f16;

use crate::random::{Key, unit};
use crate::sparse::Topology;

/// `out = x` as f16, rounded to the nearest and halfway to the even one; or by chance, where there are a key and a step. The
/// values of a block matrix draw by the places of its blocks.
pub fn narrow(x: &[f32], out: &mut [f16], chance: Option<(Key, u32)>, topology: Option<&Topology>) {
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

/// `out = x` as f32.
pub fn widen(x: &[f16], out: &mut [f32]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out = x.to_f32();
    }
}

/// Down to the next f16, or up to the one after it if the random bits say so.
fn by_chance(x: f32, bits: u32) -> f16 {
    // Below it, f16 has multiples of 2^-24; from it on, eleven bits of each number.
    const NORMAL: f32 = 1.0 / 16384.0;
    let size = x.abs();
    if !size.is_finite() {
        return f16::from_f32(x);
    }
    let (step, share) = if size < NORMAL {
        (1.0 / 16_777_216.0, unit(bits))
    } else {
        let exponent = (size.to_bits() >> 23) as i32 - 127;
        // The last thirteen bits count from 1, so that what is no more than the draw's complement stays.
        (2f32.powi(exponent - 10), (8191 - (bits & 0x1FFF)) as f32 / 8192.0)
    };
    let whole = (size / step).floor();
    let up = share < size / step - whole;
    f16::from_f32(((whole + f32::from(u8::from(up))) * step).copysign(x))
}
