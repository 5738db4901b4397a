//! Invalid options: values out of range, sizes beyond the limits, unknown adapters, gates that do not fit.

use super::{assert_refused, fretwork, stderr, train};

#[test]
fn options_that_make_no_sense() {
    for (args, wanted) in [
        (&["--block", "12"][..], "block: 12 is none of [8, 16, 32, 64, 128]"),
        (&["--hidden", "0"], "hidden: a layer of 0 units"),
        (&["--init-from", "missing"], "missing: No such file"),
        (
            &["--keep-dense", "layers.9"],
            "keep-dense: layers.9 is no sparse layer; there are layers.0, layers.1",
        ),
        (&["--keep-dense", "layers.0,layers.1"], "keep-dense: no layer is left sparse"),
        (
            &["--keep-dense", "none,layers.1"],
            "\"none\" is no layer; give names with commas between them, or none",
        ),
        (&["--sparsity", "1.0"], "sparsity: 1 is not in [0, 1)"),
        (&["--sparsity", "-0.5"], "sparsity: -0.5 is not in [0, 1)"),
        (&["--sparsity", "NaN"], "sparsity: NaN is not in [0, 1)"),
        (
            &["--sparsity", "0.9999", "--init", "erk", "--hidden", "16,4096", "--keep-dense", "none"],
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
        (&["--optimizer", "lion"], "\"lion\" is none of sgd, adamw, lars, lamb"),
        (&["--steps", "5", "--warmup", "6"], "warmup: 6 steps are more than the 5 of the run"),
        (
            &["--warmup", "6", "--schedule", "one-cycle"],
            "warmup: the one-cycle schedule has a warm-up of its own",
        ),
        (
            &["--optimizer", "lars", "--ensemble", "2"],
            "optimizer: lars scales an update by the norm of a matrix",
        ),
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
            &["--method", "snip", "--sparsity", "0.95", "--keep-dense", "none"],
            "snip leaves layers.1 with no block; with the scope layer none is emptied",
        ),
    ] {
        assert_refused(train(args), wanted);
    }
}

/// Sizes beyond the limits of the device or of the library are refused before allocation.
#[test]
fn sizes_beyond_the_limits() {
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
        // A refusal before allocation takes seconds at most; this only catches a hang, on a busy machine, too.
        assert!(started.elapsed().as_secs() < 180, "{args:?} took {:?}", started.elapsed());
    }
}

/// By default one expert gets a top-1 gate; gates with more assignments than experts, and gates whose router would get no gradient,
/// are refused.
#[test]
fn gates_fit_the_number_of_experts() {
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

#[test]
fn unknown_adapters_and_variants() {
    assert_refused(train(&["--adapter", "Voodoo 2"]), "no adapter is called \"Voodoo 2\"; there are: ");
    assert_refused(fretwork(&["doctor", "--adapter", "Voodoo 2"]), "there are: ");
    let mut none = fretwork(&["doctor"]);
    none.env("VK_DRIVER_FILES", "/nowhere").env("VK_ICD_FILENAMES", "/nowhere");
    if cfg!(target_os = "linux") {
        assert_refused(none, "no adapter found: install a Vulkan, Metal or DX12 driver");
    } else {
        println!("SKIPPED: drivers can be hidden by environment variables on Linux only");
    }
    let mut variant = train(&[]);
    variant.env("FRETWORK_VARIANT", "warp");
    assert_refused(variant, "\"warp\" is none of lane, wave, tile, tile.padded, tile.small, tile.wide");
}
