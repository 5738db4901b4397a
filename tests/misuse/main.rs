//! Nothing panics: every public function of `gpu`, `sparse` and `ops`, with arguments that make no sense, on devices that are
//! lost, and with what belongs to another device. Each returns Ok or an error that names what is wrong.
//!
//! Devices here are wgpu's make-believe ones, which need no driver and compute nothing.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bench;
mod calls;
mod device;
mod host;
mod memory;
mod ops;
mod sparse;
mod surface;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bench::{Bench, Fault};
use calls::Call;
use fretwork::gpu::Recorder;
use fretwork::{Error, Result};
use ops::Drive;

/// Public functions other than operations.
const LISTS: [&[(Call, &[&str])]; 4] = [device::ALL, memory::ALL, sparse::ALL, host::ALL];

/// Runs what must not panic, and says in whose name it did.
#[track_caller]
fn calmly<T>(name: &str, call: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| panic!("{name} panicked"))
}

/// Records an operation with a fault and runs it.
fn drive(bench: &Bench, drive: Drive, fault: Option<(Fault, usize)>) -> Result<()> {
    bench.begin(fault);
    let mut rec = Recorder::new(&bench.gpu);
    drive(bench, &mut rec)?;
    bench.gpu.run(&rec.finish()?)?;
    bench.gpu.finish()
}

#[test]
fn every_operation_refuses_what_makes_no_sense() {
    let bench = Bench::new();
    let mut accepted = Vec::new();
    for &(name, op) in ops::ALL {
        match calmly(name, || drive(&bench, op, None)) {
            Ok(()) => {}
            // The make-believe device has no half precision.
            Err(Error::Unsupported { .. }) if name == "convert::convert" => {}
            Err(error) => panic!("{name}: {error}"),
        }
        let arguments = bench.begin(None);
        assert!(arguments > 0, "{name} asks for nothing");
        for (fault, at) in Fault::ALL.into_iter().flat_map(|fault| (0..arguments).map(move |at| (fault, at)))
        {
            let case = format!("{name}, argument {at} {fault:?}");
            let result = calmly(&case, || drive(&bench, op, Some((fault, at))));
            match (fault, result) {
                (Fault::Foreign, Err(error @ Error::Argument { .. })) => {
                    assert!(error.to_string().contains("on device"), "{case}: {error}");
                }
                (Fault::Foreign, other) => accepted.push(format!("{case}: {other:?}")),
                (_, Ok(())) => {}
                (_, Err(error)) => assert!(!matches!(error, Error::DeviceLost { .. }), "{case}: {error}"),
            }
        }
    }
    assert!(accepted.is_empty(), "on another device, and accepted: {accepted:#?}");
}

/// On a lost device whose owner says so, everything is an error; where nobody does, the first read or wait finds out.
#[test]
fn every_operation_on_a_lost_device() {
    for &(name, op) in ops::ALL.iter().filter(|(name, _)| *name != "convert::convert") {
        let bench = Bench::new();
        let mut rec = Recorder::new(&bench.gpu);
        op(&bench, &mut rec).unwrap();
        bench.lose();
        let result = calmly(name, || rec.finish().map(|_| ()));
        assert!(matches!(result, Err(Error::DeviceLost { .. })), "{name}: {result:?}");

        let bench = Bench::unwatched();
        let mut rec = Recorder::new(&bench.gpu);
        op(&bench, &mut rec).unwrap();
        bench.gpu.device().destroy();
        calmly(name, || {
            if let Ok(plan) = rec.finish() {
                let _ = bench.gpu.run(&plan);
            }
        });
        let result = calmly(name, || bench.gpu.finish());
        assert!(matches!(result, Err(Error::DeviceLost { .. })), "{name}: {result:?}");
    }
}

#[test]
fn everything_else_refuses_what_makes_no_sense() {
    for &(call, names) in LISTS.into_iter().flatten() {
        let name = names[0];
        calmly(name, || call(&Bench::new()));
        let lost = Bench::new();
        lost.lose();
        calmly(&format!("{name}, lost"), || call(&lost));
        let lost = Bench::unwatched();
        lost.gpu.device().destroy();
        calmly(&format!("{name}, lost and nobody told"), || call(&lost));
    }
}

/// A public function that is in no list is not driven, so it has to join one.
#[test]
fn every_public_function_is_driven() {
    let called = LISTS.into_iter().flatten().flat_map(|(_, names)| names.iter().copied());
    let driven: BTreeSet<_> =
        ops::ALL.iter().map(|&(name, _)| name).chain(called).map(str::to_owned).collect();
    let public: BTreeSet<_> =
        ["gpu", "sparse", "ops"].into_iter().flat_map(surface::public_functions).collect();
    let missing: Vec<_> = public.difference(&driven).collect();
    assert!(missing.is_empty(), "in no list of tests/misuse: {missing:?}");
    let gone: Vec<_> = driven.difference(&public).collect();
    assert!(gone.is_empty(), "in a list of tests/misuse, but no public function: {gone:?}");
}
