//! Events of a run as JSON, for `--json` and for the Python package.

use anyhow::Result;
use fretwork::data::Task;
use fretwork::gpu::Gpu;
use fretwork::train::{Event, Summary};
use serde_json::{Value, json};

/// An event of a run as an object, its kind in `event`.
pub(crate) fn as_json(event: &Event) -> Value {
    match event {
        Event::Compiling { done, of, kernel } => {
            json!({ "event": "compiling", "done": done, "of": of, "kernel": kernel })
        }
        Event::Tuning { done, of, shape } => {
            json!({ "event": "tuning", "done": done, "of": of, "kernel": shape })
        }
        Event::Notice(notice) => json!({ "event": "notice", "text": notice }),
        Event::Progress { epoch, step, steps, loss, accuracy } => json!({
            "event": "progress", "epoch": epoch, "step": step, "steps": steps, "loss": loss, "accuracy": accuracy,
        }),
        Event::Epoch { epoch, step, train, test, validation, steps_per_second, loads, scaling } => {
            let task = if test.rmse.is_some() { Task::Regression } else { Task::Classification };
            let mut event = json!({
                "event": "epoch", "epoch": epoch, "step": step, "train": train, "test": test, "loss_unit": loss_unit(task),
                "steps_per_second": steps_per_second, "loads": loads, "scaling": scaling,
            });
            if let Some(validation) = validation {
                event["validation"] = json!(validation);
            }
            event
        }
    }
}

/// The summary of a run as the last object.
///
/// # Errors
/// Those of serialisation.
pub(crate) fn done(summary: &Summary, task: Task, gpu: &Gpu) -> Result<Value> {
    let mut done = json!({
        "event": "done", "adapter": gpu.info().name, "driver": gpu.driver(), "loss_unit": loss_unit(task),
    });
    if let (Some(done), Value::Object(fields)) = (done.as_object_mut(), serde_json::to_value(summary)?) {
        done.extend(fields);
    }
    Ok(done)
}

/// Unit of the losses of a task, in JSON.
fn loss_unit(task: Task) -> &'static str {
    match task {
        Task::Classification => "nats",
        Task::Regression => "squared standard deviations",
    }
}
