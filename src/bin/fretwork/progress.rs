//! Progress of a run: bars on a terminal, lines without one, or JSON.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use fretwork::train::{Evaluation, Event, Flow};
use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::events::as_json;
use crate::output::{line, significant};

/// Shows the progress of a run, and stops it at a step limit or an interrupt.
pub(crate) struct Watcher {
    json: bool,
    /// Whether the standard error is a terminal.
    terminal: bool,
    stop_after: Option<u64>,
    steps: u64,
    /// Epochs of the whole run; 0 where its length is in steps.
    epochs: u64,
    interrupted: Arc<AtomicBool>,
    bar: Option<ProgressBar>,
    /// Bar shown while kernels are compiled or measured.
    kernels: Option<ProgressBar>,
    /// Result of writing to the standard output, an error once it is closed.
    said: Result<()>,
}

impl Watcher {
    /// Watcher that stops the run after `stop_after` steps, or once `interrupted` is set.
    pub(crate) fn new(
        json: bool,
        stop_after: Option<u64>,
        epochs: u64,
        interrupted: Arc<AtomicBool>,
    ) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let (steps, bar, kernels, said) = (0, None, None, Ok(()));
        Self { json, terminal, stop_after, steps, epochs, interrupted, bar, kernels, said }
    }

    /// Removes the bars at the end of a run.
    ///
    /// # Errors
    /// The error of the standard output.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.end_kernels();
        self.said
    }

    /// Shows an event, and decides whether the run continues.
    pub(crate) fn see(&mut self, event: &Event) -> Flow {
        if !matches!(event, Event::Tuning { .. } | Event::Compiling { .. }) {
            self.end_kernels();
        }
        match event {
            Event::Compiling { done, of, kernel } => self.show_kernel("compiling", *done, *of, kernel),
            Event::Tuning { done, of, shape } => self.show_kernel("tuning", *done, *of, shape),
            Event::Notice(_) | Event::Epoch { .. } if self.json => self.said = line(as_json(event)),
            Event::Notice(notice) => {
                let say = || eprintln!("note: {notice}");
                self.bar.as_ref().map_or_else(say, |bar| bar.suspend(say));
            }
            &Event::Progress { epoch, step, steps, loss, accuracy } => {
                self.steps += 1;
                if !self.json && self.terminal {
                    let bar = self.bar.get_or_insert_with(|| epoch_bar(epoch, steps));
                    bar.set_position(step);
                    match (loss, accuracy) {
                        (Some(loss), Some(accuracy)) => {
                            bar.set_message(format!("loss {loss:.3} nats acc {accuracy:.3}"));
                        }
                        (Some(loss), None) => bar.set_message(format!("squared error {loss:.3}")),
                        _ => {}
                    }
                }
            }
            Event::Epoch { epoch, train, test, validation, steps_per_second, .. } => {
                let stays = is_told(*epoch, self.epochs);
                if let Some(bar) = self.bar.take() {
                    match stays {
                        true => bar.finish_with_message(outcome(train, test, validation.as_ref())),
                        false => bar.finish_and_clear(),
                    }
                } else if stays {
                    eprintln!(
                        "epoch {}: train {}; {}test {}; {}",
                        epoch + 1,
                        in_words(train),
                        validation
                            .as_ref()
                            .map_or(String::new(), |of| format!("validation {}; ", in_words(of))),
                        in_words(test),
                        pace(*steps_per_second, " steps")
                    );
                }
            }
        }
        let enough = self.stop_after.is_some_and(|most| self.steps >= most);
        let stop = enough || self.interrupted.load(Ordering::Relaxed) || self.said.is_err();
        if stop { Flow::Stop } else { Flow::Continue }
    }

    /// Shows the kernel that is compiled or measured; without a terminal, one line for all kernels.
    fn show_kernel(&mut self, doing: &str, done: usize, of: usize, kernel: &str) {
        if self.json {
            return;
        }
        if !self.terminal {
            if done == 0 {
                eprintln!("{doing} {of} kernels");
            }
            return;
        }
        // Tuning and compilation each have a bar of their own.
        if done == 0 {
            self.end_kernels();
        }
        let bar = self.kernels.get_or_insert_with(|| kernel_bar(doing, of));
        bar.set_position(done as u64 + 1);
        bar.set_message(kernel.to_owned());
    }

    fn end_kernels(&mut self) {
        if let Some(bar) = self.kernels.take() {
            bar.finish_and_clear();
        }
    }
}

/// Most epochs of a run whose lines stay; of more, every nth and the last. The log has all.
const MOST_LINES: u64 = 20;

/// Whether the line of this epoch, from 0, of so many stays.
fn is_told(epoch: u64, epochs: u64) -> bool {
    (epoch + 1).is_multiple_of(epochs.div_ceil(MOST_LINES).max(1)) || epoch + 1 == epochs
}

/// Runs `work` while a terminal shows a spinner with the text `doing`.
pub(crate) fn while_waiting<T>(json: bool, doing: &'static str, work: impl FnOnce() -> T) -> T {
    let bar = if json { ProgressBar::hidden() } else { ProgressBar::new_spinner().with_message(doing) };
    bar.enable_steady_tick(Duration::from_millis(200));
    let result = work();
    bar.finish_and_clear();
    result
}

fn kernel_bar(doing: &str, of: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} {pos} of {len} kernels  {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(of as u64).with_style(style).with_prefix(doing.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Bar of an epoch, at most 80 columns wide.
fn epoch_bar(epoch: u64, steps: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("epoch {prefix:>3} {bar:6} {pos:>4}/{len} {rate}  {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("rate", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            // A rate that cannot be written is left out of the bar.
            let _ = out.write_str(&pace(state.per_sec(), ""));
        });
    let bar = ProgressBar::new(steps).with_style(style).with_prefix((epoch + 1).to_string());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Results at the end of an epoch's line, 42 columns wide for losses below 10, and narrower with validation, whose loss then stands
/// in the place of the test loss.
fn outcome(train: &Evaluation, test: &Evaluation, validation: Option<&Evaluation>) -> String {
    match (validation, test.rmse) {
        (Some(of), Some(rmse)) => {
            format!("squared error {:.3}, valid. {:.3}, test RMSE {rmse:.3e}", train.loss, of.loss)
        }
        (None, Some(rmse)) => {
            format!("squared error {:.3}, test {:.3} RMSE {rmse:.3e}", train.loss, test.loss)
        }
        (Some(of), None) => {
            format!("loss {:.3}, valid. {:.3} nats, test acc {:.3}", train.loss, of.loss, test.accuracy)
        }
        (None, None) => {
            format!("loss {:.3} nats, test {:.3} nats acc {:.3}", train.loss, test.loss, test.accuracy)
        }
    }
}

/// Loss and accuracy, or the errors of a regression.
fn in_words(evaluation: &Evaluation) -> String {
    let Evaluation { loss, accuracy, rmse, r2 } = evaluation;
    match (rmse, r2) {
        (Some(rmse), Some(r2)) => format!("RMSE {}, R² {r2:.4}", significant(*rmse)),
        (Some(rmse), None) => format!("RMSE {}", significant(*rmse)),
        _ => format!("loss {loss:.4} nats, accuracy {accuracy:.4}"),
    }
}

/// Steps per second followed by `steps`, or seconds per step below one step per second.
fn pace(per_second: f64, steps: &str) -> String {
    let seconds = 1.0 / per_second;
    if per_second >= 1.0 || per_second <= 0.0 {
        format!("{per_second:.0}{steps}/s")
    } else {
        format!("{seconds:.*} s/step", usize::from(seconds < 10.0))
    }
}

/// Duration in ms below a second, and in s from there on.
pub(crate) fn duration(milliseconds: f64) -> String {
    if milliseconds < 1000.0 {
        format!("{milliseconds:.2} ms")
    } else {
        format!("{:.2} s", milliseconds / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_twenty_lines_of_epochs_stay() {
        let told = |epochs: u64| (0..epochs).filter(|&epoch| is_told(epoch, epochs)).collect::<Vec<_>>();
        assert_eq!(told(20), (0..20).collect::<Vec<_>>());
        assert_eq!(told(25), [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 24]);
        assert_eq!((told(200).len(), told(200)[0]), (20, 9));
        // The length of a run may be in steps.
        assert!((0..50).all(|epoch| is_told(epoch, 0)));
    }

    #[test]
    fn slow_steps_are_told_in_seconds() {
        let wanted = ["250 steps/s", "1 steps/s", "2.5 s/step", "100 s/step", "0 steps/s"];
        assert_eq!([250.4, 1.0, 0.4, 0.01, 0.0].map(|rate| pace(rate, " steps")), wanted);
        assert_eq!(
            [0.5, 999.0, 1000.0, 12_345.0].map(duration),
            ["0.50 ms", "999.00 ms", "1.00 s", "12.35 s"]
        );
    }

    #[test]
    fn a_line_fits_a_terminal_of_eighty_columns() {
        let [train, test] = [9.87, 8.76].map(|loss| Evaluation { loss, accuracy: 0.987, ..Evaluation::NONE });
        let before = format!("epoch   1 ====== 1234/1234 {}  ", pace(1234.0, ""));
        let told = outcome(&train, &test, None);
        assert_eq!(told, "loss 9.870 nats, test 8.760 nats acc 0.987");
        assert!(before.len() + told.len() <= 80);
        let told = outcome(&train, &test, Some(&test));
        assert_eq!(told, "loss 9.870, valid. 8.760 nats, test acc 0.987");
        assert!(before.len() + told.len() <= 80);
        let of_values = Evaluation { loss: 9.87, rmse: Some(123_456.0), ..Evaluation::NONE };
        let told = outcome(&of_values, &of_values, None);
        assert_eq!(told, "squared error 9.870, test 9.870 RMSE 1.235e5");
        assert!(before.len() + told.len() <= 82);
    }
}
