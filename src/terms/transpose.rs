//! Storage order of dense operands.

/// Transposed storage of the operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Transpose {
    /// `lhs` is stored as `[k, m]`.
    pub lhs: bool,
    /// `rhs` is stored as `[n, k]`.
    pub rhs: bool,
}

impl Transpose {
    /// Neither transposed.
    pub const NN: Self = Self { lhs: false, rhs: false };
    /// `rhs` transposed: a layer's forward pass, `x * W^T`.
    pub const NT: Self = Self { lhs: false, rhs: true };
    /// `lhs` transposed: the gradient of a layer's weights, `dy^T * x`.
    pub const TN: Self = Self { lhs: true, rhs: false };
    /// Both transposed.
    pub const TT: Self = Self { lhs: true, rhs: true };
    /// All four combinations.
    pub const ALL: [Self; 4] = [Self::NN, Self::NT, Self::TN, Self::TT];
}
