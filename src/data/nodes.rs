//! Nodes of a graph, each with features, and some of them with a class.

use std::sync::Arc;

use super::batches::{Batches, HostBatch, Targets};
use crate::sparse::Adjacency;
use crate::{Error, Result};

/// Nodes of a graph whose classes are learned, or tested. A row is a node of these; a batch has the features of all nodes of the
/// graph, in the places of its [`Adjacency`], and the classes of its rows alone. Nodes without a class are read by their neighbours, and
/// count for nothing else.
#[derive(Debug, Clone)]
pub struct Nodes {
    /// Features by place, `[places, width]`.
    features: Arc<[f32]>,
    width: usize,
    /// Place and class of each row.
    rows: Vec<(usize, u32)>,
    classes: usize,
}

impl Nodes {
    /// The nodes `rows`, with the class of each, of a graph whose nodes have `features[nodes, width]`.
    ///
    /// # Errors
    /// [`Error::Argument`] for features of another size, a node that the graph has not or that is given twice, or a class that is not
    /// below `classes`.
    pub fn new(
        adjacency: &Adjacency,
        features: &[f32],
        width: usize,
        rows: &[(usize, u32)],
        classes: usize,
    ) -> Result<Self> {
        let op = "Nodes";
        if width == 0 || features.len() != adjacency.nodes().saturating_mul(width) {
            let wanted = format!("[{}, {width}], some of each", adjacency.nodes());
            return Err(Error::argument(op, "features", wanted, format!("{} numbers", features.len())));
        }
        let mut places = Vec::with_capacity(rows.len());
        let mut seen = vec![false; adjacency.nodes()];
        for &(node, class) in rows {
            let wanted = || format!("nodes below {}, once each", adjacency.nodes());
            let Some(place) = adjacency.place(node) else {
                return Err(Error::argument(op, "rows", wanted(), format!("node {node}")));
            };
            if std::mem::replace(&mut seen[node], true) {
                return Err(Error::argument(op, "rows", wanted(), format!("node {node} twice")));
            }
            if class as usize >= classes {
                let found = format!("{class} for node {node}");
                return Err(Error::argument(op, "rows", format!("classes below {classes}"), found));
            }
            places.push((place, class));
        }
        let mut placed = vec![0.0; adjacency.places() * width];
        for (&node, to) in adjacency.order().iter().zip(placed.chunks_exact_mut(width)) {
            to.copy_from_slice(&features[node as usize * width..][..width]);
        }
        Ok(Self { features: placed.into(), width, rows: places, classes })
    }
}

impl Batches for Nodes {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn width(&self) -> usize {
        self.width
    }

    fn targets(&self) -> Targets {
        Targets::Classes(self.classes)
    }

    fn fill(&self, rows: &[u32], batch: &mut HostBatch) -> Result<()> {
        let places = batch.places;
        let (features, classes) = batch.classes()?;
        if places * self.width != self.features.len() {
            let wanted = format!("of {} rows: all nodes of the graph", self.features.len() / self.width);
            return Err(Error::argument("Nodes", "batch", wanted, format!("of {places}")));
        }
        features.copy_from_slice(&self.features);
        for &row in rows {
            let (place, class) = self.rows[row as usize];
            classes[place] = class;
        }
        Ok(())
    }

    fn fingerprint(&self) -> u32 {
        let mut crc = flate2::Crc::new();
        crc.update(bytemuck::cast_slice(&self.features));
        for &(place, class) in &self.rows {
            crc.update(&(place as u64).to_le_bytes());
            crc.update(&class.to_le_bytes());
        }
        crc.sum()
    }
}
