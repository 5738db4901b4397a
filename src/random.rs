//! The one random generator: counter-based, so a number depends on where it is used and on nothing else.
//!
//! Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2,
//! 3", SC 2011). It needs only 32-bit addition, rotation and exclusive-or, which WGSL defines exactly, so
//! `shaders/common/random.wgsl` gives the same bits on every adapter.

/// Independent purposes draw from independent streams.
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
    /// Which blocks of a layer grow.
    Growth(u32),
    /// The weights of a layer's new blocks.
    Regrowth(u32),
    /// How a layer's weights are rounded to half precision.
    Rounding(u32),
    /// What a language model says.
    Sample,
    /// What a gate draws: the noise of its logits, whether second choices are kept, the hashes of tokens.
    Gate(u32),
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

/// Sequential draws from one [`Key`], for the host's own use.
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
