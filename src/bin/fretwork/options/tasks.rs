//! `train`: tasks that follow each other.

use clap::Args;
use fretwork::train::Tasks;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Tasks one after the other")]
pub(crate) struct TaskOptions {
    /// Learn the classes in so many tasks, one after the other, each with equally many epochs: the first classes, the next ones, and so on.
    /// The schedule of the learning rate begins anew with each.
    #[arg(long, value_name = "N")]
    pub(crate) tasks: Option<usize>,
    /// Rows of earlier tasks that are kept, and of which every second row of a batch is one; by default 0.
    #[arg(long, value_name = "ROWS")]
    pub(crate) buffer: Option<usize>,
}

impl TaskOptions {
    /// The tasks; `None` for all classes at once.
    pub(crate) fn tasks(&self) -> Option<Tasks> {
        self.tasks.map(|count| Tasks { count, buffer: self.buffer.unwrap_or(0) })
    }
}
