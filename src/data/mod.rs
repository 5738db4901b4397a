//! Data sets: readers of IDX, CSV, images and text, the embedded digits, and the order of an epoch's rows.

mod batches;
mod classes;
pub(crate) mod csv;
mod dataset;
mod digits;
mod encoding;
mod fingerprint;
pub(crate) mod idx;
mod idx_folder;
mod image_rows;
pub(crate) mod images;
mod nodes;
mod rows;
mod source;
mod table;
pub(crate) mod text;
mod validation;

pub use batches::{Batches, HostBatch, HostTargets, Input, Targets};
pub use csv::{
    Column, ColumnKind, Label, Missing, Standard, TableEncoding, TableOptions, Target, TargetKind, Task,
};
pub use dataset::{Dataset, LoadOptions};
pub use encoding::Encoding;
pub use fingerprint::Fingerprint;
pub use images::{ImageOptions, ImageSize, Pixels};
pub use nodes::Nodes;
pub use rows::Rows;
pub use source::{Holdout, Source};
pub use table::{Features, Table, epoch_order};
pub(crate) use text::read_text;
pub use text::{Text, encode};
