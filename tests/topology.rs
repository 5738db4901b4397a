//! Topologies keep their invariants, and refuse whatever breaks them.

use fretwork::random::{Key, Stream};
use fretwork::sparse::{self, BLOCKS, Density, Topology};
use proptest::prelude::*;

/// Everything that a kernel relies on.
fn assert_sound(topology: &Topology) {
    let nnz = topology.nnz();
    let (mut by_row, mut by_col) = (Vec::new(), Vec::new());
    for row in 0..topology.row_blocks() {
        let columns: Vec<_> = topology
            .row(row)
            .map(|(slot, col)| {
                by_row.push(slot);
                col
            })
            .collect();
        assert!(columns.windows(2).all(|pair| pair[0] < pair[1]), "row {row} does not ascend");
    }
    for col in 0..topology.col_blocks() {
        let rows: Vec<_> = topology
            .col(col)
            .map(|(slot, row)| {
                by_col.push(slot);
                row
            })
            .collect();
        assert!(rows.windows(2).all(|pair| pair[0] < pair[1]), "column {col} does not ascend");
    }
    for mut slots in [by_row, by_col] {
        slots.sort_unstable();
        assert!(slots.into_iter().eq(0..nnz), "an index is no bijection");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn random_patterns_are_sound_and_exact(
        seed: u64, rows in 1usize..20, cols in 1usize..20, block in prop::sample::select(&BLOCKS[..]), share in 0.0..=1.0f64,
    ) {
        let nnz = (share * (rows * cols) as f64) as usize;
        let topology = sparse::random(rows * block, cols * block, block, nnz, Key::new(seed, Stream::Pattern(0))).unwrap();
        prop_assert_eq!(topology.nnz(), nnz);
        assert_sound(&topology);
        // There and back again.
        prop_assert_eq!(&Topology::from_packed(&topology.packed()).unwrap(), &topology);
        let (row_ptr, col_idx) = topology.csr();
        prop_assert_eq!(&Topology::from_csr(rows * block, cols * block, block, &row_ptr, &col_idx).unwrap(), &topology);
        let values: Vec<f32> = (0..topology.elements()).map(|i| i as f32 + 1.0).collect();
        prop_assert_eq!(topology.gather(&topology.scatter(&values)), values);
    }

    /// A forged index is refused, or harmless: it never panics and never breaks an invariant.
    #[test]
    fn forged_indices_do_no_harm(seed: u64, word in 0usize..200, forged: u32, small in any::<bool>()) {
        let topology = sparse::random(64, 96, 8, 30, Key::new(seed, Stream::Pattern(0))).unwrap();
        let forged = if small { forged % 40 } else { forged };
        let mut packed = topology.packed();
        let word = word % packed.len();
        packed[word] = forged;
        if let Ok(read) = Topology::from_packed(&packed) {
            assert_sound(&read);
            prop_assert_eq!(read.packed(), packed);
        }
        let (mut row_ptr, mut col_idx) = topology.csr();
        let places = row_ptr.len() + col_idx.len();
        let word = word % places;
        match row_ptr.get_mut(word) {
            Some(place) => *place = forged,
            None => col_idx[word - (places - 30)] = forged,
        }
        if let Ok(read) = Topology::from_csr(64, 96, 8, &row_ptr, &col_idx) {
            assert_sound(&read);
        }
    }

    /// The counts that the formulas promise, exactly.
    #[test]
    fn densities_add_up(
        layers in prop::collection::vec((1usize..60, 1usize..60), 1..6), sparsity in 0.0..0.95f64,
    ) {
        let grids: Vec<[usize; 2]> = layers.iter().map(|&(rows, cols)| [rows, cols]).collect();
        let sizes: Vec<usize> = layers.iter().map(|&(rows, cols)| rows * cols).collect();
        let keep = |size: usize| size - (sparsity * size as f64).floor() as usize;
        let kept = Density::Uniform.allocate(&grids, sparsity).unwrap();
        prop_assert_eq!(kept, sizes.iter().map(|&size| keep(size)).collect::<Vec<_>>());
        let budget = keep(sizes.iter().sum());
        for density in [Density::Er, Density::Erk] {
            let allocated = density.allocate(&grids, sparsity);
            // Refused only where there are fewer blocks than layers.
            prop_assert_eq!(allocated.is_ok(), budget >= grids.len());
            if let Ok(kept) = allocated {
                prop_assert_eq!(kept.iter().sum::<usize>(), budget);
                prop_assert!(kept.iter().zip(&sizes).all(|(kept, size)| kept <= size && *kept > 0));
            }
        }
    }
}

fn refusal(result: fretwork::Result<Topology>) -> String {
    result.expect_err("it should be refused").to_string()
}

#[test]
fn what_is_wrong_is_named() {
    let csr = |row_ptr: &[u32], col_idx: &[u32]| refusal(Topology::from_csr(32, 32, 16, row_ptr, col_idx));
    assert!(csr(&[0, 1], &[0]).contains("2 row pointers, but 2 rows of blocks need 3"));
    assert!(csr(&[1, 1, 2], &[0, 1]).contains("begin with 1"));
    assert!(csr(&[0, 2, 1], &[0]).contains("fall from 2 to 1 at row 1"));
    assert!(csr(&[0, 1, 3], &[0, 1]).contains("end with 3, but there are 2"));
    assert!(csr(&[0, 1, 2], &[0, 2]).contains("block (1, 2), outside 2 x 2"));
    assert!(csr(&[0, 2, 2], &[1, 1]).contains("row 0 do not ascend: 1 is followed by 1"));
    assert!(csr(&[0, 2, 2], &[1, 0]).contains("1 is followed by 0"));
    assert!(refusal(Topology::from_coordinates(32, 32, 16, &[(0, 1), (0, 1)])).contains("slots 0 and 1"));
    assert!(refusal(Topology::full(40, 32, 16)).contains("do not divide a matrix of 40 x 32"));
    assert!(refusal(Topology::full(48, 48, 12)).contains("blocks of 12"));
    assert!(refusal(Topology::full(0, 32, 16)).contains("0 x 32"));
    assert!(refusal(Topology::from_csr(usize::MAX - 15, 16, 16, &[0], &[])).contains("overflow"));
    assert!(refusal(Topology::from_packed(&[1, 2, 3])).contains("magic"));
    let mut huge = Topology::full(32, 32, 16).unwrap().packed();
    (huge[1], huge[4]) = (u32::MAX, u32::MAX);
    assert!(refusal(Topology::from_packed(&huge)).contains("overflow"));
    assert!(
        refusal(sparse::random(32, 32, 16, 5, Key::new(1, Stream::Pattern(0)))).contains("5 blocks, but")
    );
}

#[test]
fn densities_that_make_no_sense_are_refused() {
    for sparsity in [1.0, -0.1, f64::NAN, f64::INFINITY] {
        let error = Density::Uniform.allocate(&[[4, 4]], sparsity).unwrap_err().to_string();
        assert!(error.contains("sparsity") && error.contains("not in [0, 1)"), "{error}");
    }
    // A block is reserved for the small layer.
    assert_eq!(Density::Erk.allocate(&[[1, 1], [100, 100]], 0.9999).unwrap(), [1, 1]);
    let error = Density::Erk.allocate(&[[1, 1], [100, 100]], 0.99995).unwrap_err().to_string();
    assert!(error.contains("keeps 1 of 10001 blocks, but each of 2 sparse layers needs one"), "{error}");
}

/// Worked by hand: budget 20 of 4 + 100 blocks. Layer 0 (2 x 2) would get 20 * 4 / 24 = 3.33 of its 4; layer 1 (10 x 10)
/// 16.67. At budget 40 layer 0 is full.
#[test]
fn erk_by_hand() {
    let layers = [[2, 2], [10, 10]];
    assert_eq!(Density::Erk.allocate(&layers, 84.0 / 104.0).unwrap(), [3, 17]);
    assert_eq!(Density::Erk.allocate(&layers, 64.0 / 104.0).unwrap(), [4, 36]);
}
