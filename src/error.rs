//! The library's one error: a variant per cause.

use std::path::PathBuf;

/// Result of the fallible functions of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Errors of this library, by cause.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No adapter matches, or there is none at all.
    #[error("{}", no_adapter(.wanted.as_deref(), .found))]
    NoAdapter {
        /// The name or index that was asked for, if one was.
        wanted: Option<String>,
        /// The adapters there are, each with its index.
        found: Vec<String>,
    },

    /// A name that fits several adapters.
    #[error("{wanted:?} fits several adapters; give the index of one: {}", .found.join(", "))]
    ManyAdapters {
        /// The name that was asked for.
        wanted: String,
        /// The adapters there are, each with its index.
        found: Vec<String>,
    },

    /// The adapter refused to open a device.
    #[error("adapter {adapter:?} gave no device: {reason}")]
    NoDevice {
        /// The adapter's name.
        adapter: String,
        /// Message of the driver.
        reason: String,
    },

    /// The device is lost: its memory cannot be read and every later call fails.
    #[error("the device was lost: {reason}")]
    DeviceLost {
        /// Message of the driver.
        reason: String,
    },

    /// The device has no memory for a buffer.
    #[error("out of device memory: no room for {label:?}, {bytes} bytes")]
    OutOfMemory {
        /// Purpose of the buffer.
        label: String,
        /// Its size.
        bytes: u64,
    },

    /// A shape or size that this device cannot run, found before anything was dispatched.
    #[error("{label}: {what} is {value}, but this device allows {limit}")]
    Limit {
        /// The kernel or buffer.
        label: String,
        /// The limit's name.
        what: &'static str,
        /// Value needed.
        value: u64,
        /// Largest value that the device allows.
        limit: u64,
    },

    /// A device feature that a kernel needs and this device lacks.
    #[error("{label}: needs {feature}, which this device ({adapter}) does not have")]
    Unsupported {
        /// The kernel.
        label: String,
        /// The missing feature.
        feature: String,
        /// The adapter's name.
        adapter: String,
    },

    /// A shader that does not compose or validate; `message` carries file and line.
    #[error("shader {label}: {message}")]
    Shader {
        /// The kernel's label.
        label: String,
        /// Where and why, with file and line.
        message: String,
    },

    /// The graphics layer rejected a call.
    #[error("{label}: {message}")]
    Rejected {
        /// The call or kernel.
        label: String,
        /// Message of the graphics layer.
        message: String,
    },

    /// An invalid argument, or one that does not fit the others.
    #[error("{op}: {argument} should be {wanted}, but is {found}")]
    Argument {
        /// The operation or kernel label.
        op: String,
        /// The argument's name.
        argument: &'static str,
        /// Expected value or property.
        wanted: String,
        /// Value or property found.
        found: String,
    },

    /// A topology that breaks one of its invariants.
    #[error("topology: {reason}")]
    Topology {
        /// Which invariant, and where.
        reason: String,
    },

    /// An option with an invalid value.
    #[error("{option}: {reason}")]
    Config {
        /// The option's name.
        option: &'static str,
        /// Why it was refused.
        reason: String,
    },

    /// A data file of invalid contents.
    #[error("{}: {reason}", .path.display())]
    Data {
        /// The file.
        path: PathBuf,
        /// The fault, and its place.
        reason: String,
    },

    /// A checkpoint that is damaged or belongs to another network.
    #[error("checkpoint {}: {reason}", .path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// The fault.
        reason: String,
    },

    /// The operating system refused a file operation.
    // The message has the system's words, so the system's error is no `source`: whoever prints a chain would print it twice.
    #[error("{}: {error}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        error: std::io::Error,
    },

    /// A wrong result, found before it was used.
    #[error("{label} is wrong: {reason}")]
    Wrong {
        /// The kernel or layer.
        label: String,
        /// Where it shows.
        reason: String,
    },

    /// The work was stopped by a [`Halt`](crate::gpu::Halt).
    #[error("stopped on request")]
    Halted,

    /// A NaN or an infinity appeared in training.
    #[error("step {step}: {quantity} of {layer} is not finite (NaN or infinity); training stopped")]
    NotFinite {
        /// The step at which it was seen, counted from 0.
        step: u64,
        /// The layer's name.
        layer: String,
        /// "the output" or "the gradient".
        quantity: &'static str,
    },
}

impl Error {
    /// Makes an [`Error::Argument`].
    pub(crate) fn argument(
        op: impl Into<String>,
        argument: &'static str,
        wanted: impl ToString,
        found: impl ToString,
    ) -> Self {
        Self::Argument { op: op.into(), argument, wanted: wanted.to_string(), found: found.to_string() }
    }

    /// Wraps an operating-system error with the file it was about.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |error| Self::Io { path, error }
    }
}

fn no_adapter(wanted: Option<&str>, found: &[String]) -> String {
    const HINT: &str = "install a Vulkan, Metal or DX12 driver (on Debian or Ubuntu without a GPU: \
                        apt-get install mesa-vulkan-drivers libvulkan1)";
    match (wanted, found.is_empty()) {
        (_, true) => format!("no adapter found: {HINT}"),
        (Some(index), false) if index.parse::<usize>().is_ok() => {
            format!("no adapter has the index {index}; there are: {}", found.join(", "))
        }
        (Some(name), false) => format!("no adapter is called {name:?}; there are: {}", found.join(", ")),
        (None, false) => format!("no usable adapter among: {}", found.join(", ")),
    }
}
