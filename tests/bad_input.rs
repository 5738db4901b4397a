//! What the program says to input that makes no sense: a clear error and exit code, no panic, nothing lost.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};

fn fretwork(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fretwork"));
    // What is measured on this machine is of no account here.
    command.args(args).env("FRETWORK_TUNE", "off");
    command
}

fn train(args: &[&str]) -> Command {
    let mut command = fretwork(&["train", "--json"]);
    command.args(args);
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs to an error that says `wanted`.
#[track_caller]
fn assert_refused(mut command: Command, wanted: &str) {
    let output = command.output().unwrap();
    let said = stderr(&output);
    assert!(!output.status.success(), "{command:?} should fail");
    assert!(output.status.code().is_some(), "{command:?} was killed: {said}");
    assert!(said.contains(wanted), "{command:?} says {said:?}, should say {wanted:?}");
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn options_that_make_no_sense() {
    for (args, wanted) in [
        (&["--block", "12"][..], "block: 12 is none of [8, 16, 32, 64, 128]"),
        (&["--hidden", "500"], "hidden: 500 is not a multiple of the block, 16; try 512"),
        (&["--hidden", "0"], "hidden: 0 is not a multiple"),
        (&["--sparsity", "1.0"], "sparsity: 1 is not in [0, 1)"),
        (&["--sparsity", "-0.5"], "sparsity: -0.5 is not in [0, 1)"),
        (&["--sparsity", "NaN"], "sparsity: NaN is not in [0, 1)"),
        (
            &["--sparsity", "0.9999", "--init", "erk", "--hidden", "16,4096"],
            "keeps 1 of 260 blocks, but each of 2 sparse layers needs one; at most 0.9923 does",
        ),
        (&["--dropout", "1"], "dropout: 1 is not in [0, 1)"),
        (&["--batch", "0"], "batch: 0 rows"),
        (&["--epochs", "0"], "a run of no steps"),
        (&["--steps", "0"], "a run of no steps"),
        (&["--lr", "0"], "lr: 0 is not a positive number"),
        (&["--momentum", "1"], "momentum: 1 is not in [0, 1)"),
        (&["--activation", "swoosh"], "\"swoosh\" is none of relu, gelu, silu, all-relu:SLOPE"),
        (&["--activation", "all-relu:x"], "has no number behind the colon"),
        (&["--optimizer", "lion"], "\"lion\" is neither sgd nor adamw"),
        (&["--init", "dense"], "\"dense\" is none of uniform, er, erk"),
        (&["--data", "cats"], "\"cats\" is none of digits, fashion-mnist, mnist, idx:DIR, csv:FILE"),
        (&["--epochs", "1", "--steps", "1"], "cannot be used with"),
        (&["--resume", "/nowhere"], "/nowhere has no checkpoint"),
        (&["--method", "rigel"], "\"rigel\" is none of static, set, "),
        (&["--update-every", "sometimes"], "\"sometimes\" is neither a number of steps nor epoch"),
        (&["--method", "rigl", "--update-every", "0"], "update-every: 0 steps"),
        (&["--method", "rigl", "--update-fraction", "1.5"], "update-fraction: 1.5 is not in [0, 1]"),
        (&["--method", "rigl", "--update-until", "2"], "from 0 to 2 is no part of the run"),
        (
            &["--method", "rigl", "--update-from", "0.9", "--update-until", "0.5"],
            "from 0.9 to 0.5 is no part of the run",
        ),
        (&["--update-decay", "sudden"], "\"sudden\" is none of constant, linear, cosine, exponential"),
        (&["--method", "top-kast", "--backward-sparsity", "1"], "backward-sparsity: 1 is not in [0, 1)"),
        (&["--method", "scl", "--penalty", "-1"], "penalty: -1 is not a number from 0 up"),
        (&["--scope", "planet"], "\"planet\" is neither global nor layer"),
        (&["--method", "rigl", "--score-rows", "0"], "score-rows: 0 rows score nothing"),
        (&["--rows", "1000000"], "rows: 1000000 rows, but digits has 3823"),
        (&["--test-rows", "0"], "test-rows: 0 rows"),
        (
            &["--method", "snip", "--sparsity", "0.95"],
            "snip leaves layers.1 with no block; with the scope layer none is emptied",
        ),
    ] {
        assert_refused(train(args), wanted);
    }
}

/// Sizes that nothing has room for are refused before anything is allocated: at once, and not when memory has run out.
#[test]
fn sizes_without_room() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.txt");
    std::fs::write(&text, "Full fathom five thy father lies. ".repeat(200)).unwrap();
    let text = format!("text:{}", text.display());
    let bytes = "but this device allows ";
    for (args, wanted) in [
        (&["--hidden", "160000,160000"][..], [": its size in bytes is ", bytes]),
        (
            &["--dense", "--hidden", "32768,32768"],
            ["a weight of 64-32768-32768-10: its size in bytes is 4294967296", bytes],
        ),
        (
            &["--hidden", "18446744073709551600"],
            ["hidden: 18446744073709551600 is too large; at most 2147483647", ""],
        ),
        (
            &["--hidden", "2147483632,2147483632"],
            ["would be 2147483632 x 2147483632; at most 17592186044416", ""],
        ),
        (&["--data", &text, "--depth", "30000000"], ["depth: 30000000 blocks; at most 16384", ""]),
        (
            &["--data", &text, "--depth", "16384", "--width", "512", "--heads", "8"],
            ["the sum of its buffers in bytes is ", bytes],
        ),
        (
            &["--data", &text, "--model", "moe-lm", "--experts", "1000000000"],
            ["1000000000 experts; must be 1 to 512", ""],
        ),
        (
            &["--data", "csv:/dev/zero"],
            ["/dev/zero: is a device, a pipe or a socket, should be a regular file", ""],
        ),
        (&["--data", "text:/dev/zero"], ["/dev/zero: is a device", ""]),
    ] {
        let started = std::time::Instant::now();
        for wanted in wanted {
            assert_refused(train(args), wanted);
        }
        // A second each on an idle machine.
        assert!(started.elapsed().as_secs() < 30, "{args:?} took {:?}", started.elapsed());
    }
}

/// An error of the system stands in a message once.
#[test]
fn errors_of_the_system_are_said_once() {
    let output = train(&["--data", "csv:/nowhere.csv"]).output().unwrap();
    let said = stderr(&output);
    assert_eq!(said.matches("No such file").count(), 1, "{said}");
    assert_eq!(said.trim_end(), "error: /nowhere.csv: No such file or directory (os error 2)");
}

#[test]
fn adapters_that_are_not_there() {
    assert_refused(train(&["--adapter", "Voodoo 2"]), "no adapter is called \"Voodoo 2\"; there are: ");
    assert_refused(fretwork(&["doctor", "--adapter", "Voodoo 2"]), "there are: ");
    let mut none = fretwork(&["doctor"]);
    none.env("VK_DRIVER_FILES", "/nowhere").env("VK_ICD_FILENAMES", "/nowhere");
    if cfg!(target_os = "linux") {
        assert_refused(none, "no adapter found: install a Vulkan, Metal or DX12 driver");
    } else {
        println!("SKIPPED: only on Linux can a driver be hidden");
    }
    let mut variant = train(&[]);
    variant.env("FRETWORK_VARIANT", "warp");
    assert_refused(variant, "\"warp\" is none of lane, wave, tile, tile.padded, tile.small");
}

#[test]
fn data_that_is_not_there() {
    let mut missing = train(&["--data", "mnist"]);
    missing.env("FRETWORK_DATA", "/nowhere");
    assert_refused(missing, "put the four IDX files under $FRETWORK_DATA/mnist");
    assert_refused(train(&["--data", "csv:/nowhere.csv"]), "/nowhere.csv: No such file");
    assert_refused(train(&["--data", "idx:/nowhere"]), "has no train-images-idx3-ubyte");
}

#[test]
fn tables_that_are_not_tables() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.csv");
    let data = format!("csv:{}", path.display());
    for (text, wanted) in [
        ("", "there are no rows"),
        ("a,b,c\n", "there are no rows"),
        ("1,2,0\n3,1\n", "line 2: 2 columns, but the first line has 3"),
        ("1,2,0\n3,x,1\n", "line 2: column 2: \"x\" is not a number"),
        ("1,2,0\n3,,1\n", "line 2: column 2: \"\" is not a number"),
        ("1,2,0\n3,nan,1\n", "line 2: column 2: \"nan\" is not a number"),
        ("1,2,0\n3,1,-1\n", "line 2: label -1 is not a whole number"),
        ("1,2,0\n3,1,0.5\n", "line 2: label 0.5 is not a whole number"),
        ("1,2,0\n3,1,70000\n", "line 2: label 70000 is not a whole number from 0 to 65535"),
        ("0\n1\n", "features and a label are needed"),
        ("1,2,0\n3,1,1\n", "has 2 rows; at least 5 are needed"),
    ] {
        std::fs::write(&path, text).unwrap();
        assert_refused(train(&["--data", &data]), wanted);
    }
    // And one that is: names in the first row, two classes that a line separates.
    let rows: String = (0..200).map(|i| format!("{},{},{}\n", i % 20, i % 7, u8::from(i % 20 > 9))).collect();
    std::fs::write(&path, format!("x,y,label\n{rows}")).unwrap();
    let output =
        train(&["--data", &data, "--hidden", "32", "--sparsity", "0", "--epochs", "100"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let last = String::from_utf8_lossy(&output.stdout).lines().last().unwrap().to_owned();
    let done: serde_json::Value = serde_json::from_str(&last).unwrap();
    assert_eq!(done["event"], "done");
    assert!(done["test_accuracy"].as_f64().unwrap() > 0.9, "{done}");
}

/// An IDX file: type, sides, and as many bytes as are given.
fn idx(kind: u8, sides: &[u32], bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, kind, sides.len() as u8];
    sides.iter().for_each(|side| file.extend(side.to_be_bytes()));
    file.extend(bytes);
    file
}

#[test]
fn image_files_that_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let data = format!("idx:{}", folder.path().display());
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    let restore = || {
        for split in ["train", "t10k"] {
            write(&format!("{split}-images-idx3-ubyte"), &idx(8, &[3, 4, 4], &[7; 48]));
            write(&format!("{split}-labels-idx1-ubyte"), &idx(8, &[3], &[0, 1, 2]));
        }
    };
    let (images, labels) = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte");
    for (name, bytes, wanted) in [
        (images, idx(8, &[3, 4, 4], &[7; 47]), "is truncated: 47 bytes of 48 are there"),
        (images, idx(8, &[3, 4, 4], &[7; 49]), "goes on after the 48 bytes"),
        (images, idx(13, &[3, 4, 4], &[7; 48]), "has elements of type 0x0d; only bytes"),
        (images, idx(8, &[3], &[7; 3]), "has rank 1, but images have 2 or more"),
        (images, idx(8, &[u32::MAX, u32::MAX, u32::MAX], &[]), "which is too large"),
        (images, idx(8, &[2_000_000_000, 2, 1], &[]), "is truncated"),
        (images, b"PK\x03\x04".to_vec(), "which is not IDX"),
        (images, vec![0, 0, 8], "ends within its header"),
        (images, vec![0, 0, 8, 3, 0, 0], "ends within its header"),
        (images, vec![0x1F, 0x8B, 8, 0, 1, 2], "ends within its header"),
        (images, idx(8, &[0, 4, 4], &[]), "labels for 0 images"),
        (labels, idx(8, &[4], &[0, 1, 2, 1]), "has 4 labels for 3 images"),
        (labels, idx(8, &[3, 1], &[0, 1, 2]), "has rank 2, but labels have 1"),
        ("t10k-labels-idx1-ubyte", idx(8, &[3], &[0, 9, 2]), "test row 1 has label 9"),
    ] {
        restore();
        write(name, &bytes);
        assert_refused(train(&["--data", &data]), wanted);
    }
    restore();
    std::fs::remove_file(folder.path().join(labels)).unwrap();
    assert_refused(train(&["--data", &data]), "has no train-labels-idx1-ubyte");
}

#[test]
fn folders_that_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let under_a_file = file.join("run").display().to_string();
    assert_refused(train(&["--out", &under_a_file]), "file/run: ");
    if cfg!(target_os = "linux") {
        // Not even root may write here.
        assert_refused(train(&["--out", "/proc/fretwork"]), "/proc/fretwork: ");
    }
}

/// A disk that fills up after the first checkpoint: a second does not fit beside it, and the first stays whole; a run that goes on
/// with more space has every epoch in its log.
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
            println!("SKIPPED: this system lets nobody mount a small disk to fill");
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
    // Where there is space again the run goes on, and no epoch is missing from its log.
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

/// A run that is refused when its network is there, at the latest, leaves no folder.
#[test]
fn a_refused_run_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let refused = ["--method", "snip", "--sparsity", "0.95", "--out", out.to_str().unwrap()];
    assert_refused(train(&refused), "leaves layers.1 with no block");
    assert!(!out.exists());
}

/// Ctrl-C in mid-epoch keeps what was done, and going on gives the bytes of a run that was never stopped.
#[cfg(unix)]
#[test]
fn an_interrupt_loses_nothing() {
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
    // The first epoch has been reported, so the run is under way.
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    // A shell has this built in; a program of that name need not be there.
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

/// A damaged checkpoint is refused by the program too, and left alone.
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

/// A report is made of a run, and only of a whole one; a page that was there stays.
#[test]
fn reports_of_what_is_no_run() {
    assert_refused(fretwork(&["report"]), "<DIR>");
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
    // A name alone is a file in the current folder.
    let mut command = fretwork(&["report", ".", "--out", "page.html"]);
    assert!(command.current_dir(folder.path()).output().unwrap().status.success());
    assert!(folder.path().join("page.html").is_file());

    std::fs::write(path("checkpoint.safetensors"), "not one").unwrap();
    assert_refused(fretwork(&["report", &path("")]), "is no whole safetensors file");
}

/// A reader that leaves early is no reason to panic.
#[test]
fn a_reader_that_leaves() {
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

/// The last line of `--json` has everything that was promised.
#[test]
fn json_keeps_its_promise() {
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

/// A single expert needs no gate that chooses two, and gates that train no router are refused.
#[test]
fn gates_fit_the_experts_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.txt");
    std::fs::write(&path, "the quick brown fox jumps over the lazy dog. ".repeat(40)).unwrap();
    let data = format!("text:{}", path.display());
    let small = ["--model", "moe-lm", "--width", "32", "--hidden", "32", "--depth", "1", "--context", "8"];
    let run = ["--dense", "--rows", "8", "--test-rows", "4", "--batch", "4", "--steps", "1", "--data", &data];
    let with = |more: &[&str]| train(&[&small[..], &run, more].concat());
    let output = with(&["--experts", "1"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_refused(
        with(&["--experts", "1", "--gate", "gshard"]),
        "gate: gshard assigns 2 experts per token of 1 experts",
    );
    assert_refused(
        with(&["--experts", "4", "--gate", "softmax-top:1:renormalised", "--aux", "0"]),
        "gate: softmax-top:1:renormalised gives every token's one expert the weight 1",
    );
}
