//! Data sets: readers of IDX, CSV and text, the embedded digits, and the order of an epoch's rows.

pub(crate) mod csv;
mod dataset;
mod digits;
mod fingerprint;
pub(crate) mod idx;
mod rows;
mod table;
pub(crate) mod text;

pub use dataset::{Dataset, Source};
pub use fingerprint::Fingerprint;
pub use rows::{Input, Rows};
pub use table::{Features, Table, epoch_order};
pub use text::{Text, encode};
