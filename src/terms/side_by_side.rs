//! Networks side by side in the columns of one tensor.

/// Logits of networks side by side: `[rows, networks * columns]`, of which the first `classes` columns of a network count and the
/// others pad it to whole blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SideBySide {
    /// Networks in the logits.
    pub networks: usize,
    /// Number of the first of them among all networks of the report.
    pub begin: usize,
    /// Networks of the report: those of all tensors of logits.
    pub all: usize,
    /// Classes of a network.
    pub classes: usize,
    /// Columns of a network, padding included.
    pub columns: usize,
    /// Whether rows are shared out among all networks: row r counts for network r % `all` alone, with its gradient times `all`, so
    /// that each network has the mean over its own rows.
    pub shared_out: bool,
}

impl SideBySide {
    /// Whether a row counts for a network of the logits.
    pub(crate) fn counts(&self, row: usize, network: usize) -> bool {
        !self.shared_out || row % self.all == self.begin + network
    }

    /// Factor of the gradient besides the step's `row_scale`.
    pub(crate) fn scale(&self) -> f32 {
        if self.shared_out { self.all as f32 } else { 1.0 }
    }
}
