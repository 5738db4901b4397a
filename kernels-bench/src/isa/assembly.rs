//! Instruction counts per basic block of the assembly that Mesa's compiler prints for AMD GPUs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Class of an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Class {
    /// Product of two matrices.
    Matrix,
    /// Multiply-add of one element per lane, dual-issued ones each.
    Fma,
    /// Loads from workgroup memory (LDS) of 32 bits or more.
    LdsLoad,
    /// Loads from workgroup memory of 16 or 8 bits.
    LdsLoadNarrow,
    LdsStore,
    LdsStoreNarrow,
    /// Loads from global memory, by bits per lane.
    Load128,
    LoadNarrower,
    Store128,
    StoreNarrower,
    Barrier,
    /// Other arithmetic per lane.
    Vector,
    /// Arithmetic per subgroup, and branches.
    Scalar,
    /// Waits and scheduling hints, which take no issue slot of arithmetic.
    Wait,
}

/// Instructions of a basic block, by class.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Block {
    pub(crate) name: String,
    pub(crate) counts: BTreeMap<Class, u32>,
}

impl Block {
    /// Number of instructions of a class.
    pub(crate) fn count(&self, class: Class) -> u32 {
        self.counts.get(&class).copied().unwrap_or(0)
    }

    /// Number of instructions, without waits.
    pub(crate) fn instructions(&self) -> u32 {
        self.counts.iter().filter(|(class, _)| **class != Class::Wait).map(|(_, count)| count).sum()
    }
}

/// Basic blocks of a listing, in order.
pub(crate) fn blocks(assembly: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for line in assembly.lines() {
        if let Some(name) = line.strip_suffix(':').filter(|name| name.starts_with("BB")) {
            blocks.push(Block { name: name.to_owned(), ..Block::default() });
        } else if let (Some(block), true) = (blocks.last_mut(), line.starts_with(['\t', ' '])) {
            // Two instructions that issue together stand in one line, with `::` between them.
            for operation in line.split("::").filter_map(|part| part.split_whitespace().next()) {
                *block.counts.entry(class_of(operation)).or_default() += 1;
            }
        }
    }
    blocks
}

fn class_of(operation: &str) -> Class {
    let has = |parts: &[&str]| parts.iter().any(|part| operation.contains(part));
    let begins = |parts: &[&str]| parts.iter().any(|part| operation.starts_with(part));
    let narrow = has(&["_u16", "_i16", "_b16", "_u8", "_i8", "_b8"]);
    let wide = has(&["x4", "b128"]);
    if has(&["wmma", "mfma"]) {
        Class::Matrix
    } else if has(&["fma", "fmac", "mad_f", "mac_f"]) {
        Class::Fma
    } else if begins(&["ds_load", "ds_read"]) {
        if narrow { Class::LdsLoadNarrow } else { Class::LdsLoad }
    } else if begins(&["ds_"]) {
        if narrow { Class::LdsStoreNarrow } else { Class::LdsStore }
    } else if begins(&["buffer_load", "global_load", "flat_load", "scratch_load"]) {
        if wide { Class::Load128 } else { Class::LoadNarrower }
    } else if begins(&["buffer_store", "global_store", "flat_store", "scratch_store"]) {
        if wide { Class::Store128 } else { Class::StoreNarrower }
    } else if has(&["barrier"]) {
        Class::Barrier
    } else if begins(&["s_wait", "s_delay_alu", "s_nop", "s_clause"]) {
        Class::Wait
    } else if begins(&["v_"]) {
        Class::Vector
    } else {
        Class::Scalar
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_counted_by_block_and_class() {
        let listing = "\
BB0:
\ts_load_b128 s[4:7], s[2:3], null                            ; f4080101 f8000000
\tbuffer_load_b128 v[0:3], v8, s[4:7], 0 offen                ; e05c1000 80010008
BB1:
\tv_dual_fmac_f32 v1, v2, v3 :: v_dual_fmac_f32 v4, v5, v6    ; c8000000 00000000
\tds_load_b128 v[0:3], v9 offset:16                           ; dbfc0010 00000009
\tds_store_b16 v9, v0                                         ; d87c0000 00000009
\tv_wmma_f32_16x16x16_f16 v[0:7], v[8:15], v[16:23], v[0:7]   ; cc404000 1c022108
\ts_waitcnt lgkmcnt(0)                                        ; bf89fc07
\ts_cbranch_scc1 BB1                                          ; bfa2ffff
";
        let found = blocks(listing);
        assert_eq!(found.iter().map(|block| block.name.as_str()).collect::<Vec<_>>(), ["BB0", "BB1"]);
        assert_eq!((found[0].count(Class::Load128), found[0].count(Class::Scalar)), (1, 1));
        let wanted = [
            (Class::Fma, 2),
            (Class::LdsLoad, 1),
            (Class::LdsStoreNarrow, 1),
            (Class::Matrix, 1),
            (Class::Wait, 1),
            (Class::Scalar, 1),
        ];
        assert_eq!(found[1].counts, wanted.into());
        assert_eq!(found[1].instructions(), 6);
    }
}
