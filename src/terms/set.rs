//! Operations on bit sets.

/// Binary set operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetOp {
    /// Intersection.
    And,
    /// Union.
    Or,
    /// Difference: members of the first set that are not in the second.
    AndNot,
}
