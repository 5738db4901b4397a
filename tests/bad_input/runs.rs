//! Run folders and output: folders that cannot be written, a full disk, interruption, damage, reports, a closed pipe.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use super::{assert_refused, fretwork, stderr, train};

#[test]
fn folders_that_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").unwrap();
    let under_a_file = file.join("run").display().to_string();
    assert_refused(train(&["--out", &under_a_file]), "file/run: ");
    if cfg!(target_os = "linux") {
        // /proc refuses new folders even to root.
        assert_refused(train(&["--out", "/proc/fretwork"]), "/proc/fretwork: ");
    }
}

/// A disk with space for one checkpoint: writing the second fails and leaves the first intact. With more space the run resumes, and
/// its log has every epoch.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_the_last_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "export FRETWORK_TUNE=off
         mkdir disk && mount -t tmpfs -o size=28k tmpfs disk || exit 77
         {program} train --json --hidden 64 --epochs 3 --batch 256 --out disk/run --stop-after 15 >/dev/null || true
         cp disk/run/checkpoint.safetensors before
         {program} train --json --resume disk/run
         code=$?
         cp disk/run/checkpoint.safetensors after
         ls -A disk/run >left
         mount -o remount,size=1m disk
         {program} train --json --resume disk/run >/dev/null || exit 78
         cp disk/run/log.jsonl log
         exit $code",
        program = env!("CARGO_BIN_EXE_fretwork"),
    );
    let mut shell = Command::new("unshare");
    shell.args(["--map-root-user", "--mount", "sh", "-c", &script]).current_dir(folder.path());
    let output = match shell.output() {
        Ok(output) if folder.path().join("before").exists() => output,
        _ => {
            println!("SKIPPED: no permission to mount a tmpfs of limited size");
            return;
        }
    };
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("checkpoint.safetensors: No space left on device"),
        "{}",
        stderr(&output)
    );
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    assert!(read("before") == read("after"), "the checkpoint changed");
    assert_eq!(String::from_utf8(read("left")).unwrap(), "checkpoint.safetensors\nlock\nlog.jsonl\n");
    let log = String::from_utf8(read("log")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let mut epochs: Vec<_> =
        lines.filter(|line| line["event"] == "epoch").map(|line| line["epoch"].as_u64().unwrap()).collect();
    epochs.dedup();
    assert_eq!(epochs, [0, 1, 2]);
}

#[test]
fn a_run_is_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().display().to_string();
    let output = train(&["--hidden", "64", "--steps", "2", "--out", &out]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_refused(train(&["--out", &out]), "holds a run already");
}

/// A run that is refused, here while its network is pruned, leaves no folder.
#[test]
fn a_refused_run_leaves_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let refused =
        ["--method", "snip", "--sparsity", "0.95", "--keep-dense", "none", "--out", out.to_str().unwrap()];
    assert_refused(train(&refused), "leaves layers.1 with no block");
    assert!(!out.exists());
}

/// SIGINT within an epoch writes a checkpoint, and the resumed run ends in the same bytes as a run without interruption.
#[cfg(unix)]
#[test]
fn an_interrupted_run_resumes_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let settings = ["--hidden", "256,256", "--epochs", "12", "--dropout", "0.1"];

    let whole = train(&settings).args(["--out", &path("whole")]).output().unwrap();
    assert!(whole.status.success(), "{}", stderr(&whole));

    let mut child = train(&settings)
        .args(["--out", &path("stopped")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // SIGINT before the handler is installed would kill the process; a reported epoch shows that the run has begun.
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    // `kill` is a builtin of sh; an executable `kill` is missing on some systems.
    let interrupt = format!("kill -INT {}", child.id());
    assert!(Command::new("sh").args(["-c", &interrupt]).status().unwrap().success());
    let done = lines.map_while(Result::ok).last().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert!(stderr(&output).contains("go on with: fretwork train --resume"), "{}", stderr(&output));
    let done: serde_json::Value = serde_json::from_str(&done).unwrap();
    assert_eq!((&done["event"], &done["finished"]), (&"done".into(), &false.into()));

    let resumed = train(&["--resume", &path("stopped")]).output().unwrap();
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    let checkpoint =
        |name: &str| std::fs::read(folder.path().join(name).join("checkpoint.safetensors")).unwrap();
    assert!(checkpoint("whole") == checkpoint("stopped"));
}

/// A checkpoint with a wrong checksum is refused, and the file stays unchanged.
#[test]
fn a_damaged_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().display().to_string();
    let output = train(&["--hidden", "64", "--steps", "2", "--out", &out]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let file = folder.path().join("checkpoint.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    assert_refused(train(&["--resume", &out]), "is damaged: its checksum is");
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
}

/// Reports of folders without a run or with malformed files are refused, and an existing page stays unchanged.
#[test]
fn reports_of_missing_and_malformed_runs() {
    assert_refused(fretwork(&["report"]), "<RUN>");
    assert_refused(fretwork(&["report", "/nowhere"]), "/nowhere has neither a checkpoint nor a log");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    assert_refused(fretwork(&["report", &path("")]), "has neither a checkpoint nor a log");

    std::fs::write(path("log.jsonl"), "").unwrap();
    let output = fretwork(&["report", &path("")]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), path("report.html"));
    let page = std::fs::read(path("report.html")).unwrap();

    std::fs::write(path("log.jsonl"), "{\"event\":\"start\",\"step\":0}\n{\"event\":\"epo\n").unwrap();
    assert_refused(fretwork(&["report", &path("")]), "log.jsonl: line 2: EOF while parsing a string");
    assert_eq!(std::fs::read(path("report.html")).unwrap(), page);

    std::fs::write(path("log.jsonl"), "").unwrap();
    let elsewhere = path("no/page.html");
    assert_refused(fretwork(&["report", &path(""), "--out", &elsewhere]), "no/page.html: ");
    // A relative path without a folder is a file in the working directory.
    let mut command = fretwork(&["report", ".", "--out", "page.html"]);
    assert!(command.current_dir(folder.path()).output().unwrap().status.success());
    assert!(folder.path().join("page.html").is_file());

    std::fs::write(path("checkpoint.safetensors"), "not one").unwrap();
    assert_refused(fretwork(&["report", &path("")]), "is no whole safetensors file");
}

/// A closed pipe on standard output is an error, not a panic.
#[test]
fn a_closed_pipe() {
    let mut child = train(&["--hidden", "64", "--epochs", "30"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("standard output: Broken pipe"), "{}", stderr(&output));
}

/// The last line of `--json` has all documented fields.
#[test]
fn json_has_all_documented_fields() {
    let output = train(&["--hidden", "64", "--steps", "5"]).output().unwrap();
    let last = String::from_utf8_lossy(&output.stdout).lines().last().unwrap().to_owned();
    let done: serde_json::Value = serde_json::from_str(&last).unwrap();
    for field in [
        "test_accuracy",
        "train_loss",
        "steps",
        "seconds",
        "step_ms",
        "operating_ms",
        "adapter",
        "driver",
        "params_present",
        "params_dense",
        "bytes",
        "peak_bytes",
        "blocking_waits",
    ] {
        assert!(!done[field].is_null(), "{field} is missing from {done}");
    }
    for class in ["values", "topology", "gradients", "optimizer", "activations", "scratch"] {
        assert!(done["bytes"][class].as_u64().unwrap() > 0, "{class}: {done}");
    }
    assert_eq!(done["event"], "done");
}
