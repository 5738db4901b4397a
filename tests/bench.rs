//! What `fretwork bench` times, at sizes that take no time. Times themselves are nobody's promise.

use std::process::Command;

use fretwork::Error;
use fretwork::bench::moe::{self, Sizes};
use fretwork::bench::{self, Entry};
use fretwork::gpu::{Gpu, Options, Sources};

const SIZES: Sizes = Sizes { experts: 4, choices: 2, width: 36, hidden: 32, block: 8 };

#[test]
fn a_layer_is_checked_and_timed_against_its_rivals() {
    let gpu = Gpu::request(Options::default()).unwrap();
    for (sizes, rows) in [
        (SIZES, 12),
        (Sizes { experts: 3, choices: 1, block: 16, ..SIZES }, 16),
        (Sizes { choices: 4, ..SIZES }, 5),
    ] {
        let comparison = moe::compare(&gpu, &sizes, rows, 3).unwrap();
        let table = comparison.table();
        let names: Vec<&str> = table.rows().iter().map(bench::Row::name).collect();
        assert_eq!(
            names,
            [
                "dense, of as many active operations",
                "control: the same again",
                "a loop over the experts",
                "all experts for every token",
                "the layer",
                "the layer, rows shared out at random",
            ]
        );
        assert!(table.rows().iter().all(|row| row.seconds().len() == 3 && row.median() > 0.0));
        assert!(names.iter().all(|name| table.to_string().contains(name)));
        assert_eq!(comparison.rows(), rows);
        assert_eq!(comparison.bar(), (rows == 16).then_some(0.6));
        let medians: Vec<f64> = table.rows().iter().map(bench::Row::median).collect();
        assert_eq!(comparison.control(), medians[0] / medians[1]);
        assert_eq!(comparison.share(), medians[0] / medians[4]);
        assert_eq!(comparison.share_uneven(), medians[0] / medians[5]);
        assert_eq!(comparison.over_loop(), medians[2] / medians[4]);
        assert_eq!(comparison.over_all(), medians[3] / medians[4]);
    }
}

/// Wrong in what it gives, wrong in what it gives back, and wrong where only the router's part of that is missing.
#[test]
fn a_layer_that_is_wrong_is_not_timed() {
    for (file, from, to, what) in [
        ("combine/rows", "Value(weights[choice])", "Value(0.5 * weights[choice])", "the output"),
        ("experts/backward", "grad[at] = weight * g * slope;", "grad[at] = g * slope;", "the gradient"),
        ("experts/backward", "dots[row] = dot;", "dots[row] = -dot;", "the gradient"),
    ] {
        let mut sources = Sources::default();
        sources.patch(file, from, to).unwrap();
        let gpu = Gpu::request(Options { sources, ..Options::default() }).unwrap();
        let error = moe::compare(&gpu, &SIZES, 12, 1).unwrap_err();
        assert!(matches!(&error, Error::Wrong { label, .. } if label == "moe"), "{file}: {error}");
        assert!(error.to_string().contains(what), "{file}: {error}");
    }
}

#[test]
fn rivals_that_are_wrong_are_named() {
    let mut sources = Sources::default();
    sources.patch("common/epilogue", "derivative(x, params.slope) * keep(element)", "keep(element)").unwrap();
    let gpu = Gpu::request(Options { sources, ..Options::default() }).unwrap();
    let error = moe::trust_rivals(&gpu).unwrap_err();
    assert!(matches!(&error, Error::Wrong { label, .. } if label.contains("dense")), "{error}");
}

#[test]
fn sizes_that_make_no_sense_are_refused() {
    let gpu = Gpu::request(Options::default()).unwrap();
    for (sizes, rows) in [
        (SIZES, 0),
        (SIZES, usize::MAX),
        (Sizes { choices: 0, ..SIZES }, 12),
        (Sizes { choices: 5, ..SIZES }, 12),
        (Sizes { experts: 0, ..SIZES }, 12),
        (Sizes { width: 3, ..SIZES }, 12),
        (Sizes { width: 0, ..SIZES }, 12),
        (Sizes { hidden: 33, ..SIZES }, 12),
        (Sizes { hidden: 0, ..SIZES }, 12),
        (Sizes { block: 7, hidden: 35, ..SIZES }, 12),
        (Sizes { experts: 3, ..SIZES }, 5),
    ] {
        let result = moe::compare(&gpu, &sizes, rows, 1);
        assert!(
            matches!(result, Err(Error::Config { .. } | Error::Argument { .. })),
            "{sizes:?}, {rows}: {result:?}"
        );
    }
}

#[test]
fn crossovers_in_words() {
    let words = |faster: [bool; 4]| moe::crossover(&std::array::from_fn::<_, 4, _>(|i| (1 << i, faster[i])));
    assert_eq!(words([true; 4]), "at every size measured");
    assert_eq!(words([false; 4]), "at no size measured");
    assert_eq!(words([false, false, true, true]), "from 4 rows an expert on");
    assert_eq!(words([true, true, true, false]), "up to 4 rows an expert");
    assert_eq!(words([true, false, true, false]), "at 1, 4 rows an expert");
    assert_eq!(words([true, false, false, true]), "at 1, 8 rows an expert");
}

#[test]
fn a_contest_takes_turns_and_stops_at_an_error() {
    let log = std::cell::RefCell::new(Vec::new());
    let entry = |name: &'static str, fails: bool| Entry {
        name: name.to_owned(),
        operations: 1.0,
        run: {
            let log = &log;
            Box::new(move || {
                log.borrow_mut().push(name);
                if fails { Err("broken") } else { Ok(()) }
            })
        },
    };
    bench::contest("turns".to_owned(), 2, vec![entry("a", false), entry("b", false)]).unwrap();
    assert_eq!(log.take(), ["a", "b", "a", "b", "a", "b"]);
    let result = bench::contest("turns".to_owned(), 2, vec![entry("a", true), entry("b", false)]);
    assert_eq!(result.unwrap_err(), "broken");
    assert_eq!(log.take(), ["a"]);
    let empty = bench::contest::<Error>("nothing".to_owned(), 0, Vec::new()).unwrap();
    assert!(empty.to_string().starts_with("### nothing"));
}

/// The program says which adapter it does not find, before anything else.
#[test]
fn the_program_names_an_adapter_that_is_not_there() {
    let output = Command::new(env!("CARGO_BIN_EXE_fretwork"))
        .args(["bench", "moe", "--adapter", "no such adapter"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("no such adapter"));
}
