//! Runs by the program: what is refused or said at their beginning, how they are timed and told, and how they go on after an end,
//! an interrupt, a kill, or on other data.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

fn train(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fretwork"));
    // The tuner's choices on this machine must not matter.
    command.arg("train").args(args).env("FRETWORK_TUNE", "off");
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs to the end.
#[track_caller]
fn done(args: &[&str]) -> Output {
    let output = train(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    output
}

/// Runs to an error, and returns what it says.
#[track_caller]
fn refusal(args: &[&str]) -> String {
    let output = train(args).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{args:?} should fail: {}", stderr(&output));
    stderr(&output)
}

fn checkpoint(run: &Path) -> Vec<u8> {
    std::fs::read(run.join("checkpoint.safetensors")).unwrap()
}

/// The lines of the log that tell of an epoch.
fn epochs(run: &Path) -> Vec<Value> {
    let log = std::fs::read_to_string(run.join("log.jsonl")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["event"] == "epoch").collect()
}

/// A table of so many rows, of which one label may be another.
fn write_table(path: &Path, rows: usize, changed: bool) {
    let row = |i: usize| {
        format!("{},{},{}\n", i % 20, i % 7, usize::from(i % 20 > 9) ^ usize::from(changed && i == 3))
    };
    std::fs::write(path, (0..rows).map(row).collect::<String>()).unwrap();
}

#[test]
fn data_that_changed_is_not_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let (table, out) = (folder.path().join("table.csv"), folder.path().join("run"));
    write_table(&table, 100, false);
    // A relative path, in another folder than the one that the run is resumed in.
    let mut begin = train(&["--data", "csv:table.csv", "--hidden", "16", "--sparsity", "0", "--epochs", "4"]);
    begin.args(["--batch", "16", "--out", "run", "--stop-after", "6"]).current_dir(folder.path());
    let output = begin.output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));

    let before = checkpoint(&out);
    let resume = ["--resume", out.to_str().unwrap()];
    // One label, and one more row, which also moves the split.
    for (rows, changed) in [(100, true), (101, false)] {
        write_table(&table, rows, changed);
        let said = refusal(&resume);
        assert!(said.contains(&format!("csv:{}", table.display())), "{said}");
        let fingerprints: Vec<&str> = said
            .split(|char: char| !char.is_ascii_hexdigit())
            .filter(|word| word.len() == 8 && word.chars().all(|char| char.is_ascii_hexdigit()))
            .collect();
        assert!(fingerprints.len() >= 2 && fingerprints[0] != fingerprints[1], "{said}");
        assert!(before == checkpoint(&out), "a refused run should be left as it was");
    }
    write_table(&table, 100, false);
    done(&resume);
}

#[test]
fn a_finished_run_says_so_and_is_extended() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    // Five steps an epoch. With a constant rate, a longer run begins as a shorter one does.
    let settings =
        ["--rows", "600", "--batch", "128", "--hidden", "32", "--sparsity", "0.5", "--schedule", "constant"];
    let run = |args: &[&str]| done(&[&settings, args].concat());
    let whole = path("whole");
    run(&["--epochs", "3", "--out", whole.to_str().unwrap()]);

    for (name, length) in [("epochs", ["--epochs", "2"]), ("steps", ["--steps", "7"])] {
        let short = path(name);
        let short = short.to_str().unwrap();
        run(&[&length[..], &["--out", short]].concat());
        let before = checkpoint(&path(name));
        let output = done(&["--resume", short]);
        let (said, table) = (stderr(&output), String::from_utf8_lossy(&output.stdout).into_owned());
        assert!(said.contains("is finished, after") && said.contains("--epochs or --steps"), "{said}");
        assert!(!table.contains("NaN") && !table.contains("time per step"), "{table}");
        assert!(table.contains("test accuracy") && before == checkpoint(&path(name)));

        let said = refusal(&["--resume", short, length[0], length[1]]);
        assert!(said.contains(&format!("{name}: ")) && said.contains("are done"), "{said}");
        let said = stderr(&done(&["--resume", short, "--epochs", "3"]));
        assert!(said.contains("the run has 15 steps now instead of"), "{said}");
        assert!(checkpoint(&path(name)) == checkpoint(&whole), "{name}: an extended run is another");
        // Seven steps end in the middle of the second epoch, whose last line has all of its rows.
        let (found, wanted) = (epochs(&path(name)), epochs(&whole));
        let last = |lines: &[Value], epoch: u64| {
            lines.iter().rev().find(|line| line["epoch"] == epoch).map(|line| line["train"].clone()).unwrap()
        };
        (0..3)
            .for_each(|epoch| assert_eq!(last(&found, epoch), last(&wanted, epoch), "{name}: epoch {epoch}"));
    }
    let said = refusal(&["--resume", whole.to_str().unwrap(), "--epochs", "4", "--seed", "7"]);
    assert!(said.contains("--seed has no effect with --resume"), "{said}");

    // Another schedule is another rate from here on, and that is said.
    let cosine = path("cosine");
    let cosine = cosine.to_str().unwrap();
    done(&["--hidden", "32", "--steps", "4", "--schedule", "cosine", "--out", cosine]);
    let said = stderr(&done(&["--resume", cosine, "--steps", "8"]));
    assert!(
        said.contains("the cosine schedule is that of 8 steps from here on, so the learning rate goes from"),
        "{said}"
    );
}

/// A checkpoint without a fingerprint resumes with a notice.
#[test]
fn a_checkpoint_without_a_fingerprint_is_resumed_with_a_notice() {
    use fretwork::train::RunFolder;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let name = out.to_str().unwrap();
    train(&["--hidden", "32", "--steps", "4", "--stop-after", "2", "--out", name]).output().unwrap();
    let run = RunFolder::open(&out).unwrap();
    let mut old = run.load().unwrap();
    assert!(old.fingerprint.take().is_some());
    run.save(&old).unwrap();
    assert_eq!(run.load().unwrap(), old);
    drop(run);
    let said = stderr(&done(&["--resume", name]));
    assert!(
        said.contains("has no fingerprint of the data, so a change of digits since then goes unnoticed"),
        "{said}"
    );
    // The run has one from here on.
    assert!(RunFolder::inspect(&out).unwrap().load().unwrap().fingerprint.is_some());
}

/// Nothing is compiled while steps are timed, and somebody without a terminal hears of compilation and of each epoch.
#[test]
fn steps_are_timed_alone_and_told_in_lines() {
    let mut command = train(&["--hidden", "64", "--sparsity", "0.5", "--epochs", "2", "--batch", "400"]);
    // A driver on the CPU compiles as if for the first time.
    command.env("MESA_SHADER_CACHE_DISABLE", "true");
    let output = command.output().unwrap();
    let (said, table) = (stderr(&output), String::from_utf8_lossy(&output.stdout).into_owned());
    assert!(output.status.success(), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("compiling ") && lines[0].ends_with(" kernels"), "{said}");
    for (line, epoch) in lines[1..].iter().zip(1..) {
        let parts = [&format!("epoch {epoch}: train loss "), " nats, accuracy ", "; test loss ", " steps/s"];
        assert!(parts.iter().all(|part| line.contains(*part)), "{line}");
    }
    assert_eq!(lines.len(), 3, "{said}");
    let row = |name: &str| table.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert!(
        row("test loss").ends_with(" nats per row") && row("train loss").ends_with(" nats per row"),
        "{table}"
    );
    // Compiled in between, a step of so small a network would take half a second.
    let step: f64 = row("time per step").strip_suffix(" ms").unwrap().parse().unwrap();
    assert!(step < 100.0, "{table}");
}

#[test]
fn adapters_by_index() {
    let adapters = |drivers: Option<&str>| {
        let mut doctor = Command::new(env!("CARGO_BIN_EXE_fretwork"));
        doctor.args(["doctor", "--adapters", "--json"]);
        drivers.map(|drivers| doctor.env("VK_DRIVER_FILES", drivers));
        let listed = String::from_utf8(doctor.output().unwrap().stdout).unwrap();
        listed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>()
    };
    let there = adapters(None);
    (0..).zip(&there).for_each(|(index, adapter)| assert_eq!(adapter["index"], index));
    let beyond = there.len().to_string();
    let said = refusal(&["--adapter", &beyond]);
    assert!(said.contains(&format!("no adapter has the index {beyond}; there are: 0: ")), "{said}");

    // One driver under two names is two equal adapters.
    let lavapipe = std::fs::read_dir("/usr/share/vulkan/icd.d").ok().and_then(|entries| {
        let mut paths = entries.flatten().map(|entry| entry.path());
        paths.find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("lvp_icd")))
    });
    let Some(lavapipe) = lavapipe else {
        println!("SKIPPED: without lavapipe there are no two equal adapters to choose from");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("again.json");
    std::fs::copy(&lavapipe, &copy).unwrap();
    let drivers = format!("{}:{}", lavapipe.display(), copy.display());
    let equal = adapters(Some(&drivers));
    let name = equal[0]["name"].as_str().unwrap();
    assert!(equal.len() == 2 && equal[1]["name"] == name && equal[1]["index"] == 1, "{equal:?}");
    let with = |adapter: &str| {
        let mut command = train(&["--hidden", "32", "--steps", "1", "--adapter", adapter]);
        command.env("VK_DRIVER_FILES", &drivers).output().unwrap()
    };
    let output = with("llvmpipe");
    let said = format!("\"llvmpipe\" fits several adapters; give the index of one: 0: {name}, 1: {name}");
    assert!(!output.status.success() && stderr(&output).contains(&said), "{}", stderr(&output));
    for index in ["0", "1"] {
        let output = with(index);
        assert!(output.status.success(), "{index}: {}", stderr(&output));
    }
}

#[test]
fn a_batch_is_no_larger_than_the_rows() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, batch: &str| {
        let out = folder.path().join(name);
        let args = [
            "--rows",
            "300",
            "--hidden",
            "32",
            "--steps",
            "2",
            "--batch",
            batch,
            "--out",
            out.to_str().unwrap(),
        ];
        (stderr(&done(&args)), checkpoint(&out))
    };
    let ((said, large), (silent, fitting)) = (run("large", "70000"), run("fitting", "300"));
    assert!(said.contains("a batch has 300 rows, all the training rows, instead of 70000"), "{said}");
    assert!(large == fitting && !silent.contains("instead of"));
    let said = stderr(&done(&["--hidden", "32", "--steps", "1", "--epoch-steps", "99"]));
    assert!(said.contains("an epoch has 30 steps, in which every row is seen, instead of the 99"), "{said}");
}

/// Options of other commands, too, are refused where they have no effect.
#[test]
fn options_without_effect_elsewhere() {
    for (args, wanted) in [
        (
            &["bench", "sparse", "--hidden", "64"][..],
            "--hidden has no effect: it applies to step, update alone",
        ),
        (&["bench", "step", "--rows", "64"], "--rows has no effect: it applies to matmul, sparse alone"),
        (&["bench", "moe", "--dtype", "f16"], "--dtype f16 has no effect"),
        (&["doctor", "--adapters", "--only", "dds"], "cannot be used with"),
        (&["train", "--experts", "4"], "--experts has no effect: it needs --model moe-lm; leave it out"),
        (&["train", "--stop-after", "0"], "0 is not in 1.."),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_fretwork")).args(args).output().unwrap();
        assert!(
            !output.status.success() && stderr(&output).contains(wanted),
            "{args:?}: {}",
            stderr(&output)
        );
    }
}

/// A run that goes on until it is stopped, after its first epoch.
fn under_way(args: &[&str]) -> (Child, std::io::Lines<BufReader<std::process::ChildStdout>>) {
    let mut command = train(&["--json"]);
    let mut child = command.args(args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    (child, lines)
}

#[test]
fn a_folder_has_one_run_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let out = out.to_str().unwrap();
    let (mut first, _lines) =
        under_way(&["--hidden", "32", "--rows", "256", "--epochs", "100000", "--out", out]);
    for args in [["--out", out], ["--resume", out]] {
        let said = refusal(&args);
        let holder =
            if cfg!(unix) { format!("process {}", first.id()) } else { "another process".to_owned() };
        assert!(said.contains(&format!("{holder} is writing to {out}")), "{said}");
    }
    // A report only reads.
    let mut report = Command::new(env!("CARGO_BIN_EXE_fretwork"));
    assert!(report.args(["report", out]).output().unwrap().status.success());
    // The lock of a process that was killed is nobody's.
    first.kill().unwrap();
    first.wait().unwrap();
    let output = train(&["--resume", out, "--stop-after", "1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
}

/// Killed again and again, wherever it happens to be: no epoch is missing from the log, nothing is left over, and the network is
/// the one of a run that was never killed.
#[test]
fn kills_lose_no_epoch_and_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let settings = ["--hidden", "32", "--rows", "512", "--epochs", "40", "--dropout", "0.1"];
    let (whole, killed) = (path("whole"), path("killed"));
    done(&[&settings[..], &["--out", whole.to_str().unwrap()]].concat());
    let name = killed.to_str().unwrap();
    for round in 0..4 {
        let begin = [&settings[..], &["--out", name]].concat();
        let resume = ["--resume", name];
        let (mut child, lines) = under_way(if round == 0 { &begin } else { &resume });
        lines.take(2 * round + 1).for_each(drop);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    // A save that was killed in the middle, of this run and of nobody's.
    for name in [".checkpoint.safetensors.abc123.tmp", ".log.jsonl.abc123.tmp", "notes.tmp"] {
        std::fs::write(killed.join(name), "half").unwrap();
    }
    done(&["--resume", name]);
    assert!(checkpoint(&killed) == checkpoint(&whole));
    let mut found: Vec<u64> = epochs(&killed).iter().map(|line| line["epoch"].as_u64().unwrap()).collect();
    found.dedup();
    assert_eq!(found, (0..40).collect::<Vec<_>>());
    let mut left: Vec<_> = std::fs::read_dir(&killed)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["checkpoint.safetensors", "lock", "log.jsonl", "notes.tmp"]);
}

/// A text's losses are in the same unit everywhere.
#[test]
fn losses_of_a_text_are_in_nats() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.txt");
    std::fs::write(&path, "the quick brown fox jumps over the lazy dog. ".repeat(40)).unwrap();
    let (data, out) = (format!("text:{}", path.display()), folder.path().join("run"));
    let args = [
        "--width",
        "32",
        "--heads",
        "4",
        "--depth",
        "1",
        "--context",
        "16",
        "--steps",
        "3",
        "--sparsity",
        "0",
    ];
    let output = done(&[&args[..], &["--data", &data, "--out", out.to_str().unwrap()]].concat());
    let (said, table) = (stderr(&output), String::from_utf8_lossy(&output.stdout).into_owned());
    let loss = epochs(&out).last().unwrap()["test"]["loss"].as_f64().unwrap();
    assert!(table.contains(&format!("{loss:.4} nats per byte")), "{loss}: {table}");
    assert!(said.contains(&format!("test loss {loss:.4} nats, ")), "{loss}: {said}");
    assert!(!format!("{said}{table}").contains("bits/char") && !table.contains("bits per"), "{said}{table}");
}
