//! The random generator: counter-based, so a number is a function of its key and counter alone.
//!
//! Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2,
//! 3", SC 2011). It needs only 32-bit addition, rotation and exclusive-or, which WGSL defines exactly, so
//! `shaders/common/random.wgsl` gives the same bits on every adapter.
//!
//! A [`Walk`] is a generator of the `rand` crate, whose distributions draw from it. Draws that decide a run's bits do not use
//! them: `rand` does not promise that a release draws the values of the one before, or that 32-bit and 64-bit machines draw
//! the same, and the device could not repeat them.

use std::convert::Infallible;

use rand_core::{TryRng, utils};

/// Streams of random numbers, one for each purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stream {
    /// The order of the training rows.
    Shuffle,
    /// The initial pattern of a layer's blocks.
    Pattern(u32),
    /// The initial weights of a layer.
    Weights(u32),
    /// The dropout mask behind a layer.
    Dropout(u32),
    /// Choice of the blocks that a layer grows.
    Growth(u32),
    /// The weights of a layer's new blocks.
    Regrowth(u32),
    /// Stochastic rounding of a layer's weights to f16.
    Rounding(u32),
    /// Sampled text of a language model.
    Sample,
    /// Draws of a gate: noise of the logits, sampling of second choices, hashes of tokens.
    Gate(u32),
    /// Choice of the training rows that are set aside for validation.
    Validation,
    /// Choice of the rows of earlier tasks that are kept, and of those that are seen again.
    Rehearsal,
    /// Entries of a parameter's elements in the directions of a random base.
    Basis(u32),
    /// Made-up operands of checks and benchmarks.
    Check(u32),
}

impl Stream {
    fn words(self) -> [u32; 2] {
        match self {
            Self::Shuffle => [1, 0],
            Self::Pattern(layer) => [2, layer],
            Self::Weights(layer) => [3, layer],
            Self::Dropout(layer) => [4, layer],
            Self::Check(n) => [5, n],
            Self::Growth(layer) => [6, layer],
            Self::Regrowth(layer) => [7, layer],
            Self::Sample => [9, 0],
            Self::Rounding(layer) => [10, layer],
            Self::Gate(layer) => [8, layer],
            Self::Validation => [11, 0],
            Self::Basis(param) => [12, param],
            Self::Rehearsal => [13, 0],
        }
    }
}

/// The key of one stream: 64 bits derived from a run's seed. Copy it into a kernel to draw there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(pub [u32; 2]);

impl Key {
    /// The key of `stream` in a run with `seed`.
    pub fn new(seed: u64, stream: Stream) -> Self {
        let [low, high] = [seed as u32, (seed >> 32) as u32];
        Self(threefry([low, high], stream.words()))
    }

    /// The two words at a position, `counter` = (index, step) by convention.
    pub fn at(self, counter: [u32; 2]) -> [u32; 2] {
        threefry(self.0, counter)
    }

    /// A generator that walks this key's counters from 0 up.
    pub fn walk(self) -> Walk {
        self.walk_from(0)
    }

    /// A generator that walks this key's counters from `counter` up.
    pub fn walk_from(self, counter: u64) -> Walk {
        Walk { key: self, next: counter, spare: None }
    }
}

/// Sequential draws from one [`Key`] on the host. Implements `rand_core::Rng`, by `TryRng` without errors.
#[derive(Debug, Clone)]
pub struct Walk {
    key: Key,
    next: u64,
    spare: Option<u32>,
}

impl Walk {
    /// 32 random bits.
    pub fn bits(&mut self) -> u32 {
        if let Some(word) = self.spare.take() {
            return word;
        }
        let [first, second] = self.key.at([self.next as u32, (self.next >> 32) as u32]);
        self.next += 1;
        self.spare = Some(second);
        first
    }

    /// Uniform in `[0, 1)`, 24 bits of it.
    pub fn uniform(&mut self) -> f32 {
        unit(self.bits())
    }

    /// Uniform in `0..n`, without bias. `n` must not be 0.
    pub fn below(&mut self, n: u32) -> u32 {
        assert!(n > 0, "an empty range has no element to draw");
        // Lemire's multiplication method, rejecting the few products that would favour small results.
        let threshold = n.wrapping_neg() % n;
        loop {
            let product = u64::from(self.bits()) * u64::from(n);
            if product as u32 >= threshold {
                return (product >> 32) as u32;
            }
        }
    }

    /// Fisher and Yates' shuffle.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(u32::try_from(i + 1).expect("a list fits u32")) as usize);
        }
    }
}

impl TryRng for Walk {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.bits())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        utils::next_u64_via_u32(self)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        utils::fill_bytes_via_next_word(bytes, || self.try_next_u32())
    }
}

/// Uniform in `[0, 1)` from 32 random bits: the upper 24, which f32 holds exactly.
pub fn unit(bits: u32) -> f32 {
    (bits >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// Threefry-2x32-20: the block function itself.
pub fn threefry(key: [u32; 2], counter: [u32; 2]) -> [u32; 2] {
    const ROTATIONS: [[u32; 4]; 2] = [[13, 15, 26, 6], [17, 29, 16, 24]];
    const PARITY: u32 = 0x1BD1_1BDA;
    let keys = [key[0], key[1], PARITY ^ key[0] ^ key[1]];
    let mut x0 = counter[0].wrapping_add(keys[0]);
    let mut x1 = counter[1].wrapping_add(keys[1]);
    for group in 0..5 {
        for rotation in ROTATIONS[group % 2] {
            x0 = x0.wrapping_add(x1);
            x1 = x1.rotate_left(rotation) ^ x0;
        }
        x0 = x0.wrapping_add(keys[(group + 1) % 3]);
        x1 = x1.wrapping_add(keys[(group + 2) % 3]).wrapping_add(group as u32 + 1);
    }
    [x0, x1]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published known answers of Random123 (`kat_vectors`, threefry 2x32 20).
    #[test]
    fn published_known_answers() {
        assert_eq!(threefry([0, 0], [0, 0]), [0x6b20_0159, 0x99ba_4efe]);
        assert_eq!(threefry([!0, !0], [!0, !0]), [0x1cb9_96fc, 0xbb00_2be7]);
        assert_eq!(
            threefry([0x1319_8a2e, 0x0370_7344], [0x243f_6a88, 0x85a3_08d3]),
            [0xc492_3a9c, 0x483d_f7a0]
        );
    }

    #[test]
    fn streams_differ_and_repeat() {
        let draw = |seed, stream| Key::new(seed, stream).walk().bits();
        assert_eq!(draw(7, Stream::Shuffle), draw(7, Stream::Shuffle));
        assert_ne!(draw(7, Stream::Shuffle), draw(8, Stream::Shuffle));
        assert_ne!(draw(7, Stream::Weights(0)), draw(7, Stream::Weights(1)));
        assert_ne!(draw(7, Stream::Weights(0)), draw(7, Stream::Pattern(0)));
    }

    /// `rand`'s words are this generator's, in their order; its distributions and shuffles draw from them.
    #[test]
    fn rand_draws_from_a_walk() {
        use rand::seq::SliceRandom as _;
        use rand_core::Rng as _;
        use rand_distr::{Distribution as _, Normal};

        let (mut walk, mut words) =
            (Key::new(1, Stream::Shuffle).walk(), Key::new(1, Stream::Shuffle).walk());
        assert_eq!(walk.next_u32(), words.bits());
        assert_eq!(walk.next_u64(), u64::from(words.bits()) | u64::from(words.bits()) << 32);
        let mut bytes = [0; 8];
        walk.fill_bytes(&mut bytes);
        assert_eq!(
            bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect::<Vec<_>>(),
            [words.bits(), words.bits()]
        );

        let normal = Normal::new(3.0, 2.0).unwrap();
        let draws: Vec<f64> = normal.sample_iter(&mut walk).take(40_000).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        // Standard deviations of 0.01 and 0.028: five of them.
        assert!((mean - 3.0).abs() < 0.05 && (variance - 4.0).abs() < 0.15, "{mean}, {variance}");

        let mut items: Vec<u32> = (0..100).collect();
        items.shuffle(&mut walk);
        assert!(!items.is_sorted());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn below_is_even_handed() {
        let mut walk = Key::new(1, Stream::Shuffle).walk();
        let mut seen = [0u32; 10];
        for _ in 0..100_000 {
            seen[walk.below(10) as usize] += 1;
        }
        // 10,000 expected, standard deviation 95: six of them.
        assert!(seen.iter().all(|&n| n.abs_diff(10_000) < 570), "{seen:?}");
    }
}
