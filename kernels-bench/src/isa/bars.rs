//! Bars that a kernel's code is held to. They are evidence of the code's quality, not of its speed.

use fretwork::gpu::{DType, Key, Variant};
use serde::{Deserialize, Serialize};

use super::assembly::{Block, Class, blocks};
use super::device::Pipeline;

/// Workgroup memory of a GPU, in bytes; Metal's and most Vulkan devices' least.
const WORKGROUP_MEMORY: f64 = 32768.0;

/// Registers, memory and instructions of a compiled kernel, and the bars that it misses.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Code {
    pub(crate) label: String,
    /// Invocations per subgroup.
    pub(crate) subgroup: u32,
    pub(crate) vgprs: u64,
    /// Spilled registers, vector and scalar.
    pub(crate) spilled: u64,
    /// Scratch memory, in bytes per subgroup.
    pub(crate) scratch: u64,
    /// Workgroup memory, in bytes.
    pub(crate) workgroup_memory: u64,
    /// Occupancy.
    pub(crate) subgroups_per_simd: u64,
    pub(crate) instructions: u64,
    /// Basic block with the most matrix products, or else the most multiply-adds.
    pub(crate) hot: Block,
    /// Accesses of 16 bits or fewer to workgroup memory, in the whole kernel.
    pub(crate) narrow: u32,
    /// Bars that the code misses.
    pub(crate) missed: Vec<String>,
}

impl Code {
    pub(crate) fn new(key: &Key, pipeline: &Pipeline) -> Self {
        let mut code = Self::measured(key.label(), pipeline);
        code.missed = code.judge(key);
        code
    }

    /// Code held to the bars of every kernel: spills and scratch.
    pub(crate) fn spills(label: String, pipeline: &Pipeline) -> Self {
        let mut code = Self::measured(label, pipeline);
        code.missed = missed(code.spill_bars());
        code
    }

    /// Code without a judgement.
    pub(crate) fn measured(label: String, pipeline: &Pipeline) -> Self {
        let of = |name| pipeline.statistics.get(name).copied().unwrap_or(0);
        let blocks = blocks(&pipeline.assembly);
        let narrow =
            blocks.iter().map(|block| block.count(Class::LdsLoadNarrow) + block.count(Class::LdsStoreNarrow));
        let narrow = narrow.sum();
        let hot =
            blocks.into_iter().max_by_key(|block| (block.count(Class::Matrix), block.count(Class::Fma)));
        Self {
            label,
            subgroup: pipeline.subgroup,
            vgprs: of("VGPRs"),
            spilled: of("Spilled VGPRs") + of("Spilled SGPRs"),
            scratch: of("Scratch size"),
            workgroup_memory: of("LDS size"),
            subgroups_per_simd: of("Subgroups per SIMD"),
            instructions: of("Instructions"),
            hot: hot.unwrap_or_default(),
            narrow,
            missed: Vec::new(),
        }
    }

    /// Loads from workgroup memory in the hot block, of any width.
    pub(crate) fn lds_loads(&self) -> u32 {
        self.hot.count(Class::LdsLoad) + self.hot.count(Class::LdsLoadNarrow)
    }

    /// Loads from workgroup memory in the hot block per instruction of a class; infinite without any such instruction.
    fn loads_per(&self, class: Class) -> f64 {
        match self.hot.count(class) {
            0 => f64::INFINITY,
            count => f64::from(self.lds_loads()) / f64::from(count),
        }
    }

    /// Multiply-adds as a share of the hot block's instructions.
    pub(crate) fn fma_share(&self) -> f64 {
        f64::from(self.hot.count(Class::Fma)) / f64::from(self.hot.instructions().max(1))
    }

    fn judge(&self, key: &Key) -> Vec<String> {
        use Bound::{AtLeast, AtMost};
        let occupancy = self.subgroups_per_simd as f64;
        let mut bars = self.spill_bars();
        let is_tile =
            key.name == Variant::Tile.name() && ["dense", "dds", "dsd", "sdd"].contains(&key.family);
        if let Some(tiling) = key.tiling {
            // A step loads each of a subgroup's fragments once, in two loads of 128 bits.
            let [rows, columns] = [tiling.rows, tiling.columns].map(f64::from);
            let least = 2.0 * (rows + columns) / (rows * columns);
            bars.push(("LDS loads per matrix product", self.loads_per(Class::Matrix), AtMost(least)));
            bars.push(("16-bit LDS accesses", f64::from(self.narrow), AtMost(0.0)));
            bars.push(("subgroups per SIMD", occupancy, AtLeast(4.0)));
        } else if is_tile && key.dtype == DType::F32 {
            let least = match (key.block, key.flags.contains("small")) {
                (Some(8), _) => 6.0,
                (_, true) => 10.0,
                _ => 12.0,
            };
            bars.push(("FMA share of the hot block", self.fma_share(), AtLeast(0.82)));
            bars.push(("LDS loads per FMA", self.loads_per(Class::Fma), AtMost(0.1)));
            bars.push(("subgroups per SIMD", occupancy, AtLeast(least)));
        }
        missed(bars)
    }

    fn spill_bars(&self) -> Vec<Bar> {
        vec![
            ("spilled registers", self.spilled as f64, Bound::AtMost(0.0)),
            ("scratch", self.scratch as f64, Bound::AtMost(0.0)),
            ("workgroup memory", self.workgroup_memory as f64, Bound::AtMost(WORKGROUP_MEMORY)),
        ]
    }
}

/// Name of a figure, the figure, and its bound.
type Bar = (&'static str, f64, Bound);

/// Objections to the figures out of bounds.
fn missed(bars: Vec<Bar>) -> Vec<String> {
    bars.into_iter().filter_map(|(what, found, bound)| bound.objection(what, found)).collect()
}

/// Bound of a figure.
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    /// Name, figure and bound, if the figure is out of bounds.
    fn objection(&self, what: &str, found: f64) -> Option<String> {
        let (holds, side, bar) = match *self {
            Self::AtMost(bar) => (found <= bar, "at most", bar),
            Self::AtLeast(bar) => (found >= bar, "at least", bar),
        };
        (!holds).then(|| format!("{what}: {found:.2}, {side} {bar:.2}"))
    }
}

#[cfg(test)]
mod tests {
    use fretwork::gpu::{Matrices, Tiling};

    use super::*;

    fn pipeline(assembly: &str, statistics: &[(&str, u64)]) -> Pipeline {
        let statistics = statistics.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
        Pipeline { subgroup: 64, statistics, assembly: assembly.to_owned() }
    }

    fn misses(key: &Key, assembly: &str, statistics: &[(&str, u64)]) -> Vec<String> {
        let missed = Code::new(key, &pipeline(assembly, statistics)).missed;
        missed.iter().map(|miss| miss.split(':').next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn each_bar_objects() {
        let fill = Key::new("fill", "words");
        assert!(misses(&fill, "BB0:\n", &[]).is_empty());
        assert_eq!(misses(&fill, "BB0:\n", &[("Spilled VGPRs", 1)]), ["spilled registers"]);
        assert_eq!(
            misses(&fill, "BB0:\n", &[("Spilled SGPRs", 1), ("Scratch size", 4)]),
            ["spilled registers", "scratch"]
        );
        assert_eq!(misses(&fill, "BB0:\n", &[("LDS size", 32769)]), ["workgroup memory"]);

        let matrices = Matrices { side: 16, lanes: 64, vectors: true };
        let coop = Key::new("dense", "coop").tiling(Tiling::new("dense", matrices, None, false));
        let product = "\tv_wmma_f32_16x16x16_f16 v0, v1, v2, v0\n";
        let load = "\tds_load_b128 v1, v9\n";
        let occupied = [("Subgroups per SIMD", 4)];
        assert!(misses(&coop, &format!("BB0:\n{product}{load}"), &occupied).is_empty());
        let wasteful = format!("BB0:\n{product}{load}{load}\tds_store_b16 v1, v2\n");
        let all = ["LDS loads per matrix product", "16-bit LDS accesses", "subgroups per SIMD"];
        assert_eq!(misses(&coop, &wasteful, &[]), all);
        // A kernel without a matrix product is not the kernel that was meant.
        assert_eq!(misses(&coop, "BB0:\n", &occupied), ["LDS loads per matrix product"]);

        let tile = Key::new("sdd", "tile").block(32);
        let idle = "BB0:\n\tv_fmac_f32 v0, v1, v2\n\tds_load_b128 v1, v9\n";
        assert_eq!(
            misses(&tile, idle, &[]),
            ["FMA share of the hot block", "LDS loads per FMA", "subgroups per SIMD"]
        );
    }
}
