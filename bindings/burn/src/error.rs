//! Errors of this crate.

/// What was wrong, what was found, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operands are on a backend without wgpu, or without a device that both libraries can use.
    #[error(
        "block-sparse layers run on Burn's wgpu devices, but this is {found}: use Device::wgpu(..) or fretwork_burn::init"
    )]
    Backend {
        /// The device.
        found: String,
    },
    /// Burn opened the device before this crate knew of it, so its wgpu handles cannot be had any more.
    #[error(
        "{device} was in use before fretwork_burn knew of it ({reason}): open it with fretwork_burn::init, hand over its setup to \
         fretwork_burn::adopt, or make the first sparse layer before the first tensor"
    )]
    NotShared {
        /// The device.
        device: String,
        /// Burn's reason for not opening it once more.
        reason: String,
    },
    /// The device was opened by neither library.
    #[error(
        "the device was adopted from elsewhere: give its setup to Burn with Device::wgpu_options().setup(..), then to adopt"
    )]
    NotOwned,
    /// A device for Burn lacks features that Burn takes for granted where the adapter has them.
    #[error(
        "the device was opened without {missing}, which Burn uses: open it with Options {{ features: FEATURES, .. }}"
    )]
    Features {
        /// The features.
        missing: String,
    },
    /// Two operands are on different devices.
    #[error("{what} is on {found}, but the layer is on {wanted}: move one of them with to_device")]
    OtherDevice {
        /// The operand.
        what: &'static str,
        /// The layer's device.
        wanted: String,
        /// The operand's device.
        found: String,
    },
    /// An operand has another element type than the kernels can work with.
    #[error("{what} is of {found}, but should be of {wanted}: cast it")]
    DType {
        /// The operand.
        what: &'static str,
        /// The types that there are kernels for.
        wanted: String,
        /// The operand's type.
        found: String,
    },
    /// Sizes that do not fit each other, or the block.
    #[error("{what} should be {wanted}, but is {found}")]
    Shape {
        /// The operand or setting.
        what: &'static str,
        /// The condition.
        wanted: String,
        /// The value.
        found: String,
    },
    /// An update of a topology without a backward pass to score growth by.
    #[error(
        "a sparse layer had no backward pass since the last step, so its topology cannot be updated: update after a step of training"
    )]
    NoSignals,
    /// A layer of a module was loaded from a record, and nothing has read its topology yet.
    #[error(
        "a sparse layer has the blocks of a record that were not read yet: call blocks.topology() of each layer first"
    )]
    Unread,
    /// A file of layers cannot be read or written.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An evolution of one model was given another.
    #[error(
        "the model has other sparse layers than the evolution was made for: make a new one after loading a record"
    )]
    OtherModel,
    /// Burn could not open or register a device.
    #[error("Burn could not open the device: {0}")]
    Init(#[from] burn_core::tensor::wgpu::WgpuInitError),
    /// Burn could not hand out the memory of a tensor.
    #[error("Burn gave no buffer for {what}: {reason}")]
    Buffer {
        /// The operand.
        what: &'static str,
        /// Burn's reason.
        reason: String,
    },
    /// Fretwork refused an operation, or its device is lost.
    #[error(transparent)]
    Fretwork(#[from] fretwork::Error),
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
