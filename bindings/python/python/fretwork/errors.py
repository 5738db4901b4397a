"""Exceptions: one family, ``Error``, with the texts of the library's errors."""

__all__ = [
    "ArgumentError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DeviceError",
    "Error",
    "FileError",
    "ForkError",
    "NotFiniteError",
    "OutOfMemoryError",
    "TopologyError",
]


class Error(Exception):
    """Base of all exceptions of fretwork."""


class ConfigError(Error, ValueError):
    """An option with an invalid value, or one without effect."""


class ArgumentError(Error, ValueError):
    """An array or argument that is invalid, or does not fit the others."""


class TopologyError(Error, ValueError):
    """A pattern of blocks that breaks an invariant."""


class DataError(Error, ValueError):
    """Data with invalid contents: the text names file, line and column."""


class CheckpointError(Error):
    """A checkpoint that is damaged or belongs to another network or other data."""


class FileError(Error, OSError):
    """A file operation that the operating system refused."""


class DeviceError(Error, RuntimeError):
    """No adapter, a lost device, a limit of the device, or a kernel that it cannot run."""


class OutOfMemoryError(DeviceError, MemoryError):
    """A buffer that the device has no memory for."""


class NotFiniteError(Error, ArithmeticError):
    """NaN or infinity in training; the last checkpoint is whole."""


class ForkError(Error, RuntimeError):
    """Use in a forked child of a process that has opened a device."""
