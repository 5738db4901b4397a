//! Data sets: readers of IDX, CSV and text, the embedded digits, and the order of an epoch's rows.

mod batches;
pub(crate) mod csv;
mod dataset;
mod digits;
mod encoding;
mod fingerprint;
pub(crate) mod idx;
mod rows;
mod table;
pub(crate) mod text;

pub use batches::{Batches, HostBatch, HostTargets, Input, Targets};
pub use csv::{
    Column, ColumnKind, Label, Missing, Standard, TableEncoding, TableOptions, Target, TargetKind, Task,
};
pub use dataset::{Dataset, Source};
pub use encoding::Encoding;
pub use fingerprint::Fingerprint;
pub use rows::Rows;
pub use table::{Features, Table, epoch_order};
pub(crate) use text::read_text;
pub use text::{Text, encode};
