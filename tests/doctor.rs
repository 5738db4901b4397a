//! A broken kernel is found, by the library's checks and by the program.

use std::process::Command;

use fretwork::check::{self, Check, Verdict};
use fretwork::gpu::{Gpu, Options, Sources, Variant};

/// A break: where it is, what is put in place of what, and a check that must object. A driver on the CPU compiles for long, and
/// anew for each break, so it is one of a single small kernel.
const BREAKS: [(&str, &str, &str, &str); 14] = [
    // The wrong block of the left operand.
    ("dds/lane", "lhs_piece(i, first + k)", "lhs_piece(i, k)", "fretwork.dds.lane.f32.b16.nt 132x128x192"),
    // A contraction that misses its last piece.
    (
        "sdd/lane",
        "k < segment.end; k += 4u",
        "k + 4u < segment.end; k += 4u",
        "fretwork.sdd.lane.f32.b16.nt 128x192x44",
    ),
    // A share that never arrives, where lanes share.
    (
        "common/wave",
        "subgroupBroadcast(own, 7u)",
        "subgroupBroadcast(own, 6u)",
        "fretwork.dds.wave.f32.b16.nt 132x128x192",
    ),
    // A mask that is ignored.
    (
        "sdd/blocks",
        "select(vec4<f32>(), sum, bits == vec4<u32>(1u))",
        "sum",
        "fretwork.sdd.lane.f32.b16.tn.mask 128x192x44",
    ),
    // A gradient that does not pass through the activation.
    (
        "common/epilogue",
        "return derivative(x, params.slope) * keep(element);",
        "return keep(element);",
        "fretwork.dense.lane.f32.nn.backward(relu, dropout 0) 72x68x36",
    ),
    // A generator with one rotation wrong.
    ("common/random", "24u)", "23u)", "fretwork.random.fill.u32"),
    // A result in f16 that is rounded up where it should be down.
    ("common/half", "vec4<u32>(0xFFFu)", "vec4<u32>(0x1FFFu)", "fretwork.convert.to_f16.f32.half_out"),
    // A matrix in another's place.
    (
        "common/coop",
        "c01 = coopMultiplyAdd(a0, b1, c01);",
        "c01 = coopMultiplyAdd(a0, b0, c01);",
        "fretwork.dense.coop.padded.f16.nn 64x64x64",
    ),
    // A weight that gradients do not pass through.
    ("experts/backward", "weight * g * slope", "g * slope", "fretwork.experts.backward.f32.b8(relu)"),
    // A second choice that is forgotten.
    (
        "combine/rows",
        "if place < params.rows {",
        "if place < params.rows && assignment % params.assignments == 0u {",
        "fretwork.combine.rows.f32 36 columns",
    ),
    // A row of another token.
    (
        "common/matmul",
        "min(rows[row / 4u]",
        "min(rows[row / 4u] + 1u",
        "fretwork.sdd.lane.f32.b16.lhs_gather 36 columns",
    ),
    // The wrong block of the left operand; the first block of a column passed by; the wrong row of blocks.
    ("sds/lane", "lhs_piece_of(upper, first + k)", "lhs_piece_of(upper, k)", "fretwork.sds.lane.f32.b16"),
    ("dss/lane", "middle)) < place", "middle)) <= place", "fretwork.dss.lane.f32.b16"),
    ("ssd/lane", "line_of(weight_row(slot))", "line_of(weight_row(slot) / 2u)", "fretwork.ssd.lane.f32.b16"),
];

#[test]
fn each_break_is_found_and_nothing_else_is_blamed() {
    let table = check::table();
    let named = |name: &str| table.iter().find(|check| check.name == name).ok_or(name).unwrap();
    // Those that are to object, and each matmul at one block size: where nothing is broken, all are right.
    let watched: Vec<&Check> = table
        .iter()
        .filter(|check| check.name.contains(".f32.b16.nt ") || BREAKS.iter().any(|row| row.3 == check.name))
        .collect();
    let open = || Gpu::request(Options::default());
    let any = open().unwrap();
    check::parallel_for_each(&watched, any.compilers(), open, |gpu, check| {
        let verdict = check.applies_to(gpu).then(|| check.run(gpu)).transpose()?;
        let wrong = matches!(verdict, Some(Verdict::Wrong(_)));
        assert!(!wrong, "nothing is broken: {}: {verdict:?}", check.name);
        Ok(())
    })
    .unwrap();
    let own = || Ok(());
    let find = |(): &(), row: &(&str, &str, &str, &str)| found(row, named(row.3), &watched);
    check::parallel_for_each(&BREAKS, any.compilers(), own, find).unwrap();
}

/// On a device with this break its check objects, and none of those that are watched but for kernels of the same family.
fn found(
    &(file, from, to, _): &(&str, &str, &str, &str),
    objector: &Check,
    watched: &[&Check],
) -> fretwork::Result<()> {
    let mut sources = Sources::default();
    sources.patch(file, from, to)?;
    let gpu = Gpu::request(Options { sources, ..Options::default() })?;
    let lacking = match file {
        "common/wave" if !gpu.runs(Variant::Wave) => Some("subgroups of eight"),
        "common/coop" if !gpu.runs(Variant::Coop) => Some("cooperative matrices"),
        "common/half" if !gpu.has_f16() => Some("half precision"),
        _ => None,
    };
    if let Some(lacking) = lacking {
        println!("SKIPPED: this adapter has no {lacking}, so nothing uses {file}");
        return Ok(());
    }
    let found = matches!(objector.run(&gpu)?, Verdict::Wrong(_));
    assert!(found, "{file}: {from:?} became {to:?}, and {} did not notice", objector.name);
    // The common modules are part of all other files.
    let family = file.split('/').next().unwrap_or(file);
    if family == "common" {
        return Ok(());
    }
    let of_family = |check: &Check| check.name.starts_with(&format!("fretwork.{family}."));
    for check in watched.iter().filter(|check| check.applies_to(&gpu) && !of_family(check)) {
        let verdict = check.run(&gpu)?;
        let blamed = matches!(verdict, Verdict::Wrong(_));
        assert!(!blamed, "{file} is broken, but {} is blamed: {verdict:?}", check.name);
    }
    Ok(())
}

/// The program fails on shaders that were tampered with, and passes on the same files untouched.
#[test]
fn the_program_fails_on_a_broken_kernel() {
    let folder = tempfile::tempdir().unwrap();
    let copy = |break_it: bool| {
        for (path, text) in Sources::default().files() {
            let file = folder.path().join(format!("{path}.wgsl"));
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            let broken = break_it && path == "optimizer/sgd";
            std::fs::write(
                file,
                if broken {
                    text.replace("-now.learning_rate", "now.learning_rate")
                } else {
                    text.to_owned()
                },
            )
            .unwrap();
        }
    };
    let doctor = || {
        Command::new(env!("CARGO_BIN_EXE_fretwork"))
            .args(["doctor", "--quick", "--only", "optimizer"])
            .env("FRETWORK_SHADERS", folder.path())
            .output()
            .unwrap()
    };
    copy(false);
    let right = doctor();
    assert!(right.status.success(), "{}", String::from_utf8_lossy(&right.stdout));
    copy(true);
    let wrong = doctor();
    assert_eq!(wrong.status.code(), Some(1));
    let said = String::from_utf8_lossy(&wrong.stdout).into_owned();
    assert!(said.contains("WRONG fretwork.optimizer.sgd.f32"), "{said}");
    assert!(!said.contains("WRONG fretwork.optimizer.adamw.f32"), "{said}");
}

/// A quick check covers the kernels of a default run, and its last line counts the checks left out.
#[test]
fn a_quick_doctor_says_what_it_left_out() {
    let doctor = |args: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_fretwork")).arg("doctor").args(args).output().unwrap()
    };
    let quick = doctor(&["--quick", "--only", "score.silent"]);
    let said = String::from_utf8_lossy(&quick.stdout).into_owned();
    assert!(quick.status.success() && said.contains("checking the kernels of a default run on "), "{said}");
    let last = said.lines().last().unwrap();
    let wanted = "all 1 checks are right; 4 checks of other types, block sides and variants are left out; run them with --all";
    assert!(last.starts_with(wanted), "{last}");
    let every = doctor(&["--all", "--only", "score.silent"]);
    let said = String::from_utf8_lossy(&every.stdout).into_owned();
    assert!(
        said.contains("checking every kernel on ") && said.ends_with("all 5 checks are right\n"),
        "{said}"
    );
    // A check of nothing is no success.
    let none = doctor(&["--quick", "--only", "score.silent.f32.b8"]);
    let said = String::from_utf8_lossy(&none.stderr).into_owned();
    assert!(!none.status.success() && said.contains("check them with --all"), "{said}");
    let both = doctor(&["--quick", "--all"]);
    assert!(String::from_utf8_lossy(&both.stderr).contains("cannot be used with"));
}

/// Each kernel of a step and of an update of a perceptron has a check in a quick doctor.
#[test]
fn a_quick_doctor_checks_what_a_run_uses() {
    use fretwork::methods::{Kind, MethodConfig};
    use fretwork::train::{Length, Settings, Trainer};
    let gpu = Gpu::request(Options::default()).unwrap();
    let data = fretwork::data::Dataset::load(&fretwork::data::Source::Digits, 1, 0).unwrap();
    let settings = Settings {
        data: "digits".to_owned(),
        precision: fretwork::nn::Precision::F32,
        method: MethodConfig::new(Kind::Rigl),
        length: Length::Steps(200),
        learning_rate: 0.004,
        ..Settings::new(fretwork::nn::MlpConfig {
            inputs: 64,
            hidden: vec![64, 64],
            classes: 10,
            block: 16,
            sparsity: Some(0.5),
            density: fretwork::sparse::Density::Erk,
            activation: fretwork::ops::Activation::Relu,
            dropout: 0.0,
            seed: 1,
            layers: Default::default(),
            local: None,
        })
    };
    let trainer = Trainer::new(&gpu, settings, data).unwrap();
    let table = check::table();
    // `fretwork.dds.wave.f32.b16.rhs_t`, say, is of `dds.wave`.
    let kernel = |label: &str| label.split(['.', ' ', '(']).skip(1).take(2).collect::<Vec<_>>().join(".");
    let checked: Vec<String> = check::quick(&gpu, &table).iter().map(|check| kernel(&check.name)).collect();
    let mut labels: Vec<&str> = trainer.step_kernels().collect();
    labels.extend(trainer.update_plan().unwrap().labels());
    // The index of a pattern is checked as a whole, and products of few columns are among those of others.
    let parts = ["dense.tall", "pattern.place", "pattern.count", "pattern.scan", "pattern.fill"];
    for label in labels {
        let kernel = kernel(label);
        assert!(checked.contains(&kernel) || parts.contains(&kernel.as_str()), "{label}");
    }
}

/// The table is right however a device is used: with checked shaders, with WebGPU's default limits, and with grids folded.
#[test]
fn other_ways_to_run_are_right_too() {
    let ways = [
        Options { checked_shaders: true, ..Options::default() },
        Options { default_limits: true, ..Options::default() },
        Options { fold_grids_at: Some(7), ..Options::default() },
    ];
    let table = check::table();
    let concerned = |check: &&Check| {
        [".b16.nt", "reduce", ".gate.", "by columns", "dense.tile.f32.nn"]
            .iter()
            .any(|part| check.name.contains(part))
    };
    let table = check::by_kernel(table.iter().filter(concerned));
    let open = || Ok(ways.each_ref().map(|way| Gpu::request(way.clone()).unwrap()));
    let any = Gpu::request(Options::default()).unwrap();
    check::parallel_for_each(&table, any.compilers(), open, |gpus, checks| -> fretwork::Result<()> {
        for (gpu, options) in gpus.iter().zip(&ways) {
            for check in checks {
                // A tensor of 70,000 rows has more workgroups than 7 x 7, and so have segments side by side.
                let many = ["70000", ".split"].iter().any(|part| check.name.contains(part));
                let skipped = options.fold_grids_at.is_some() && many;
                if !skipped && check.applies_to(gpu) {
                    let verdict = check.run(gpu)?;
                    let right = matches!(verdict, Verdict::Right(_));
                    assert!(right, "{options:?}: {}: {verdict:?}", check.name);
                }
            }
        }
        Ok(())
    })
    .unwrap();
}

/// More workgroups than a dimension may have, for real.
#[test]
fn a_grid_of_more_than_65535_workgroups() {
    use fretwork::gpu::{Class, Recorder};
    let gpu = Gpu::request(Options::default()).unwrap().with_variant(Some(Variant::Lane));
    let count = 65_536 * 64 + 100;
    let values = gpu.upload(Class::Scratch, "values", &[count], &vec![1.0f32; count]).unwrap();
    // One element in the last workgroup is present, and all others are masked out.
    let mut words = vec![0u32; count.div_ceil(32)];
    *words.last_mut().unwrap() = 1;
    let mask = gpu.upload(Class::Scratch, "mask", &[words.len()], &words).unwrap();
    let mut rec = Recorder::new(&gpu);
    fretwork::ops::mask(&mut rec, &values, &mask).unwrap();
    gpu.run(&rec.finish().unwrap()).unwrap();
    let found = gpu.read::<f32>(&values).unwrap().wait().unwrap();
    let present: Vec<usize> = (0..count).filter(|&i| found[i] != 0.0).collect();
    assert_eq!(present, [(words.len() - 1) * 32]);
}
