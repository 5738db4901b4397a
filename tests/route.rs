//! Routing tables against an independent oracle.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use fretwork::Error;
use fretwork::gpu::{Class, Gpu, Options, Recorder, Sources, Tensor};
use fretwork::ops::{self, ABSENT};
use fretwork::random::{Key, Stream, Walk};
use fretwork::reference::{self, Routes};
use fretwork::sparse::{BLOCKS, Routing, RoutingShape, Topology};

/// Computes the tables on a device.
fn routed(
    gpu: &Gpu,
    shape: &RoutingShape,
    experts: &[u32],
    kept: Option<(&[u32], usize)>,
) -> Result<Routes, Error> {
    let routing = Routing::new(gpu, shape.clone())?;
    let upload = |shape: &[usize], words: &[u32]| gpu.upload(Class::Scratch, "test", shape, words);
    let experts = upload(&[shape.tokens, shape.choices], experts)?;
    let sides = |groups: usize| [groups, shape.experts(), (shape.tokens / groups).div_ceil(32)];
    let kept = kept.map(|(kept, groups)| upload(&sides(groups), kept)).transpose()?;
    // Outputs start with garbage, which must be overwritten.
    let mut tables =
        vec![routing.counts(), routing.dropped(), routing.first_tile(), routing.rows(), routing.tokens()];
    tables.push(routing.places());
    for table in &tables {
        gpu.write(table, &vec![0xDEAD_BEEFu32; table.len()])?;
    }
    let mut rec = Recorder::new(gpu);
    ops::route(&mut rec, &experts, kept.as_ref(), &routing)?;
    gpu.run(&rec.finish()?)?;
    let read = |tensor: &Tensor| gpu.read::<u32>(tensor)?.wait();
    Ok(Routes {
        counts: read(routing.counts())?,
        dropped: read(routing.dropped())?,
        first_tile: read(routing.first_tile())?,
        rows: read(routing.rows())?,
        tokens: read(routing.tokens())?,
        places: read(routing.places())?,
        topology: routing.topology(gpu)?,
    })
}

/// Validates tables against their definition; returns the first violation.
fn judge(
    shape: &RoutingShape,
    experts: &[u32],
    kept: Option<(&[u32], usize)>,
    tables: &Routes,
) -> Result<(), String> {
    let (b, k) = (shape.block, shape.choices);
    let ensure = |good: bool, why: &str| if good { Ok(()) } else { Err(why.to_owned()) };
    let mut holders = vec![0; tables.rows.len()];
    for (assignment, &place) in tables.places.iter().enumerate() {
        if place != ABSENT {
            ensure(
                tables.rows.get(place as usize) == Some(&(assignment as u32)),
                "a place is another's row",
            )?;
            holders[place as usize] += 1;
        }
    }
    for (row, &assignment) in tables.rows.iter().enumerate() {
        ensure(holders[row] == usize::from(assignment != ABSENT), "a row that nobody has a place in")?;
        let token = if assignment == ABSENT { ABSENT } else { assignment / k as u32 };
        ensure(tables.tokens[row] == token, "a row of another token")?;
    }
    let mut blocks = Vec::new();
    let mut first_column = 0;
    ensure(tables.first_tile[0] == 0, "the first tile is not the first")?;
    for (expert, &width) in shape.widths.iter().enumerate() {
        // All assignments to this expert: first ones by token, then second ones, and so on.
        let mut wanting: Vec<usize> =
            (0..experts.len()).filter(|&assignment| experts[assignment] == expert as u32).collect();
        let all = wanting.len();
        wanting.sort_by_key(|&assignment| (assignment % k, assignment / k));
        wanting.retain(|&a| {
            kept.is_none_or(|(kept, groups)| {
                let group = shape.tokens / groups;
                let bits = kept.chunks(group.div_ceil(32)).nth(a / k / group * shape.experts() + expert);
                bits.unwrap()[a / k % group / 32] >> (a / k % group % 32) & 1 == 1
            })
        });
        let tiles = tables.first_tile[expert] as usize..tables.first_tile[expert + 1] as usize;
        ensure(tables.counts[expert] as usize == wanting.len(), "a wrong count")?;
        ensure(
            tables.dropped[expert] as usize == all - wanting.len(),
            "a wrong number of dropped assignments",
        )?;
        ensure(tiles.len() == wanting.len().div_ceil(b), "a wrong number of tiles")?;
        let mut rows = tables.rows[tiles.start * b..tiles.end * b].to_vec();
        ensure(rows.split_off(wanting.len()).iter().all(|&row| row == ABSENT), "a row too many")?;
        ensure(rows.iter().map(|&row| row as usize).eq(wanting), "rows in another order")?;
        for tile in tiles {
            blocks.extend((0..width / b).map(|column| (tile, first_column + column)));
        }
        first_column += width / b;
    }
    let last = *tables.first_tile.last().unwrap() as usize * b;
    ensure(tables.rows[last..].iter().all(|&row| row == ABSENT), "a row behind the last tile")?;
    let topology = &tables.topology;
    ensure([topology.rows(), topology.cols()] == [tables.rows.len(), shape.hidden()], "other sides")?;
    ensure(topology.coordinates().eq(blocks), "other blocks")
}

/// Capacity-selection bits, and the number of token groups.
type Kept = (Vec<u32>, usize);

/// Random case: sizes, assignments, and optionally a set of kept ones.
fn case(walk: &mut Walk, number: u32) -> (RoutingShape, Vec<u32>, Option<Kept>) {
    let experts = [1, 2, 7, 8, 64, 512][walk.below(6) as usize];
    let block = BLOCKS[walk.below(BLOCKS.len() as u32) as usize];
    let shape = RoutingShape {
        tokens: [1, 2, 5, 31, 100, 257, 700][walk.below(7) as usize],
        choices: 1 + walk.below(4) as usize,
        block,
        widths: (0..experts).map(|_| block * (1 + walk.below(3) as usize)).collect(),
        most: None,
    };
    let favourite = walk.below(experts as u32);
    let chosen = (0..shape.assignments())
        .map(|_| match number % 5 {
            // All on one expert, all on a few, all absent, or invalid expert numbers.
            0 => favourite,
            1 => walk.below(experts as u32).min(walk.below(experts as u32)),
            2 if number % 25 == 2 => ABSENT,
            3 if walk.below(4) == 0 => [ABSENT, experts as u32, 1 << 31][walk.below(3) as usize],
            _ => walk.below(experts as u32),
        })
        .collect();
    let kept = (walk.below(3) == 0).then(|| {
        let all: Vec<usize> =
            (1..=shape.tokens).filter(|&groups| shape.tokens.is_multiple_of(groups)).collect();
        let groups = all[walk.below(all.len() as u32) as usize];
        let words = groups * shape.experts() * (shape.tokens / groups).div_ceil(32);
        ((0..words).map(|_| walk.bits() | walk.bits()).collect(), groups)
    });
    (shape, chosen, kept)
}

/// Maps invalid expert numbers to ABSENT.
fn known(shape: &RoutingShape, experts: &[u32]) -> Vec<u32> {
    experts.iter().map(|&e| if e as usize >= shape.experts() { ABSENT } else { e }).collect()
}

#[test]
fn a_thousand_tables() {
    let gpu = Gpu::request(Options::default()).unwrap();
    let mut walk = Key::new(1, Stream::Check(2000)).walk();
    let mut lost = 0;
    for number in 0..1000 {
        let (shape, experts, kept) = case(&mut walk, number);
        let kept = kept.as_ref().map(|(kept, groups)| (kept.as_slice(), *groups));
        let tables = routed(&gpu, &shape, &experts, kept).unwrap();
        let experts = known(&shape, &experts);
        if let Err(why) = judge(&shape, &experts, kept, &tables) {
            panic!("{number}: {why}: {shape:?}");
        }
        assert_eq!(tables, reference::route(&experts, kept, &shape).unwrap(), "{number}: {shape:?}");
        let assigned = experts.iter().filter(|&&expert| expert != ABSENT).count();
        let dropped = tables.dropped.iter().sum::<u32>() as usize;
        assert_eq!(tables.counts.iter().sum::<u32>() as usize + dropped, assigned);
        if kept.is_none() {
            assert_eq!(dropped, 0, "dropless, and a token is lost");
        }
        lost += dropped;
    }
    assert!(lost > 0, "nothing was ever dropped");
}

/// More chunks than a workgroup has invocations.
#[test]
fn a_large_batch() {
    let gpu = Gpu::request(Options::default()).unwrap();
    let mut walk = Key::new(2, Stream::Check(2001)).walk();
    let shape = RoutingShape { tokens: 150_001, choices: 2, block: 64, widths: vec![64; 33], most: None };
    let experts: Vec<u32> = (0..shape.assignments()).map(|_| walk.below(33).min(walk.below(33))).collect();
    let tables = routed(&gpu, &shape, &experts, None).unwrap();
    assert_eq!(judge(&shape, &experts, None, &tables), Ok(()));
    assert!(tables.counts[0] > 10_000 && tables.dropped.iter().all(|&dropped| dropped == 0));
}

/// An upper bound on the assignments reduces the capacity of the buffers. Assignments beyond it are dropped without
/// other effects.
#[test]
fn a_promise_broken_does_no_harm() {
    let gpu = Gpu::request(Options::default()).unwrap();
    let mut walk = Key::new(3, Stream::Check(2002)).walk();
    for number in 0..60 {
        let (shape, experts, kept) = case(&mut walk, 5 * number + 1);
        let most = 1 + walk.below(shape.assignments() as u32) as usize;
        let shape = RoutingShape { most: Some(most), ..shape };
        let experts = known(&shape, &experts);
        let kept = kept.as_ref().map(|(kept, groups)| (kept.as_slice(), *groups));
        let tables = routed(&gpu, &shape, &experts, kept).unwrap();
        assert_eq!(tables, reference::route(&experts, kept, &shape).unwrap(), "{number}: {shape:?}");
        let sum = |table: &[u32]| table.iter().sum::<u32>() as usize;
        assert_eq!(
            sum(&tables.counts) + sum(&tables.dropped),
            experts.iter().filter(|&&e| e != ABSENT).count()
        );
        // If the bound holds, nothing is dropped.
        let mut fewer = experts;
        fewer.iter_mut().skip(most).for_each(|expert| *expert = ABSENT);
        let tables = routed(&gpu, &shape, &fewer, kept).unwrap();
        assert_eq!(judge(&shape, &fewer, kept, &tables), Ok(()), "{number}: {shape:?}");
    }
}

/// The oracle rejects tables with typical routing errors, injected by hand.
#[test]
fn the_oracle_objects() {
    let mut walk = Key::new(4, Stream::Check(2003)).walk();
    let shape = RoutingShape { tokens: 60, choices: 2, block: 8, widths: vec![16, 8, 24], most: None };
    let experts: Vec<u32> = (0..120).map(|_| walk.below(3)).collect();
    let bits: Vec<u32> = (0..6).map(|_| walk.bits() | walk.bits()).collect();
    let kept = Some((bits.as_slice(), 2));
    let right = reference::route(&experts, kept, &shape).unwrap();
    assert_eq!(judge(&shape, &experts, kept, &right), Ok(()));
    assert!(right.dropped.iter().sum::<u32>() > 0);
    let objects = |why: &str, spoil: &dyn Fn(&mut Routes)| {
        let mut wrong = right.clone();
        spoil(&mut wrong);
        assert!(judge(&shape, &experts, kept, &wrong).is_err(), "{why}");
    };
    objects("two rows in each other's place", &|wrong| {
        wrong.rows.swap(0, 1);
        wrong.tokens.swap(0, 1);
        let [a, b] = [wrong.rows[0], wrong.rows[1]];
        wrong.places.swap(a as usize, b as usize);
    });
    objects("a row that lost its token", &|wrong| {
        wrong.places[wrong.rows[3] as usize] = ABSENT;
        wrong.rows[3] = ABSENT;
        wrong.tokens[3] = ABSENT;
    });
    objects("a token of another row", &|wrong| wrong.tokens[2] += 1);
    objects("one dropped that was not counted", &|wrong| wrong.dropped[0] -= 1);
    objects("a count too many", &|wrong| wrong.counts[1] += 1);
    objects("a tile that begins late", &|wrong| wrong.first_tile[1] += 1);
    objects("blocks in another expert's columns", &|wrong| {
        let blocks: Vec<_> =
            wrong.topology.coordinates().map(|(row, col)| (row as u32, (col as u32 + 1) % 6)).collect();
        wrong.topology = Topology::from_coordinates(wrong.rows.len(), 48, 8, &blocks).unwrap();
    });
    // Order by token instead of by assignment rank.
    objects("ranks in the order of tokens", &|wrong| {
        let (tile, count) = (wrong.first_tile[2] as usize * 8, wrong.counts[2] as usize);
        wrong.rows[tile..tile + count].sort_unstable();
        for row in tile..tile + count {
            wrong.tokens[row] = wrong.rows[row] / 2;
            wrong.places[wrong.rows[row] as usize] = row as u32;
        }
    });
}

/// Kernels with injected errors produce tables that the oracle rejects.
#[test]
fn broken_kernels_are_noticed() {
    let mut walk = Key::new(5, Stream::Check(2004)).walk();
    let shape = RoutingShape { tokens: 90, choices: 2, block: 8, widths: vec![16, 8, 24], most: None };
    let experts: Vec<u32> = (0..180).map(|_| walk.below(3)).collect();
    let bits: Vec<u32> = (0..12).map(|_| walk.bits() | walk.bits()).collect();
    let kept = Some((bits.as_slice(), 2));
    let judged = |sources: Sources, kept: Option<(&[u32], usize)>| {
        // Bounds-checked, because broken kernels may write anywhere.
        let options = Options { sources, checked_shaders: true, ..Options::default() };
        let tables = routed(&Gpu::request(options).unwrap(), &shape, &experts, kept);
        // Some tables are inconsistent enough to have no topology.
        tables.map_err(|error| error.to_string()).and_then(|tables| judge(&shape, &experts, kept, &tables))
    };
    assert_eq!(judged(Sources::default(), kept), Ok(()));
    for (file, from, to) in [
        ("route/walk", "((word >> (place % 32u)) & 1u) == 1u", "true"),
        ("route/walk", "at.token % params.group", "at.token"),
        ("route/walk", "(at.token / params.group) * params.experts + expert", "expert"),
        ("route/walk", "first / params.tokens, first % params.tokens", "0u, first % params.tokens"),
        ("route/count", "table[counter]++", "table[counter] += 2u"),
        ("route/scan", "before += sums[i]", "before = sums[i]"),
        ("route/tiles", "load[expert] - min(", "load[expert] - max("),
        ("route/tiles", "first_tile[expert] = tile", "first_tile[expert] = tile + 1u"),
        ("route/index", "column * tiles + tile]", "column * tiles]"),
        ("route/index", "first_column[expert] + column;", "column;"),
        ("route/place", "rank < counts[expert]", "rank + 1u < counts[expert]"),
        ("route/place", "tokens[place] = at.token", "tokens[place] = assignment"),
    ] {
        let mut sources = Sources::default();
        sources.patch(file, from, to).unwrap();
        assert!(judged(sources, kept).is_err(), "{file}: {from:?} became {to:?}, and nobody noticed");
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let gpu = Gpu::request(Options::default()).unwrap();
    let shape = RoutingShape { tokens: 10, choices: 2, block: 8, widths: vec![16, 8], most: None };
    let routing = Routing::new(&gpu, shape.clone()).unwrap();
    let words = |shape: &[usize]| gpu.zeros::<u32>(Class::Scratch, "test", shape).unwrap();
    let floats = |shape: &[usize]| gpu.zeros::<f32>(Class::Scratch, "test", shape).unwrap();
    let mut rec = Recorder::new(&gpu);
    let rows = routing.pattern().rows();
    let refused = |result: fretwork::Result<()>, argument: &str| match result {
        Err(Error::Argument { argument: found, .. }) => assert_eq!(found, argument),
        other => panic!("{argument}: {other:?}"),
    };
    refused(ops::route(&mut rec, &words(&[2, 10]), None, &routing), "experts");
    refused(ops::route(&mut rec, &floats(&[10, 2]), None, &routing), "experts");
    for kept in [&[][..], &[2], &[2, 1], &[1, 2, 2], &[0, 2, 1], &[3, 2, 1], &[2, 3, 1]] {
        refused(ops::route(&mut rec, &words(&[10, 2]), Some(&words(kept)), &routing), "kept");
    }
    let (x, y) = (floats(&[rows, 12]), floats(&[10, 12]));
    refused(ops::combine(&mut rec, &x, &routing, None, &floats(&[9, 12]), false), "y");
    refused(ops::combine(&mut rec, &floats(&[rows, 8]), &routing, None, &y, false), "x");
    refused(ops::combine(&mut rec, &x, &routing, Some(&floats(&[10])), &y, false), "weights");
    refused(ops::route_values(&mut rec, &floats(&[20]), routing.rows(), &floats(&[20])), "out");
    assert!(Routing::new(&gpu, RoutingShape { tokens: 0, ..shape }).is_err());
    assert!(rec.is_empty());
}
