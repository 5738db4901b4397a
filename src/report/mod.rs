//! HTML pages of runs and benches. Each page is one file that needs no network and no script, in light and dark colours.

mod axis;
pub mod bench;
mod html;
pub mod run;

use axis::Axis;
use html::{count, document, escape, number, percent, row, table};
