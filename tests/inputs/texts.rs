//! Texts: whole characters from `sample`, prompts that the text has, and messages in bytes.

use super::{done, refusal, stderr};

/// A small model of a text, as arguments of `train`.
const SMALL: [&str; 12] =
    ["train", "--width", "32", "--heads", "4", "--depth", "1", "--context", "16", "--sparsity", "0", "--lr"];

/// `sample` prints valid UTF-8 although the model says bytes, and begins with a byte of a text without line breaks.
#[test]
fn a_sample_is_of_whole_characters() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("text.txt"), "\u{e4}\u{f6}\u{fc} \u{20ac}\u{20ac} na\u{ef}ve ".repeat(60)).unwrap();
    let data = format!("text:{}", path("text.txt"));
    let output =
        done(&[&SMALL[..], &["0.01", "--data", &data, "--steps", "30", "--out", &path("run")]].concat());
    assert!(String::from_utf8_lossy(&output.stdout).contains(" nats per byte"));

    let sample = |args: &[&str]| {
        let output = done(&[&["sample", &path("run"), "--temperature", "1.5"], args].concat());
        String::from_utf8(output.stdout).expect("whole characters")
    };
    let long = sample(&["--length", "200"]);
    assert!(long.starts_with(' '), "{long:?}");
    assert!(!long.is_ascii(), "{long:?}");
    // Cut off after any number of bytes, what is printed is a beginning of the longer sample.
    for length in 1..12 {
        let text = sample(&["--length", &length.to_string()]);
        assert!(long.starts_with(text.trim_end_matches('\n')), "{text:?} of {long:?}");
    }
    assert!(sample(&["--prompt", "\u{e4}", "--length", "1"]).starts_with('\u{e4}'));
    let said = refusal(&["sample", &path("run"), "--prompt", "\u{e4}\u{df}"]);
    assert!(said.contains("prompt: '\u{df}' does not occur in the text"), "{said}");
}

#[test]
fn a_short_text_is_told_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.txt").display().to_string();
    std::fs::write(&path, "to be or not to be, that is the question").unwrap();
    let said = refusal(&["train", "--data", &format!("text:{path}")]);
    assert!(said.contains("has 40 bytes, of which the last 4, a tenth, are held out for testing"), "{said}");
    assert!(said.contains("a window of 64 with the byte that follows it needs 65 in either part"), "{said}");
    let output = done(&["train", "--help"]);
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("Context length in bytes"),
        "{}",
        stderr(&output)
    );
}
