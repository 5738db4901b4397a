"""Least versions of optional packages."""

import importlib

__all__ = ["need"]


def need(module, package, least):
    """Imports a module, and refuses one that is missing or older than version ``least`` of its package."""
    extra = {"sklearn": "sklearn", "torch": "torch", "safetensors": "torch"}[module]
    try:
        found = importlib.import_module(module).__version__
    except ImportError as error:
        text = f"fretwork.{extra} needs {package} {least} or later: pip install 'fretwork[{extra}]'"
        raise ImportError(text) from error
    if _numbers(found) < _numbers(least):
        raise ImportError(f"fretwork.{extra} needs {package} {least} or later, but found {found}")


def _numbers(version):
    """The leading numbers of a version: (1, 13, 0) of ``1.13.0a0+git``."""
    numbers = []
    for part in version.split("."):
        digits = ""
        for character in part:
            if not character.isdigit():
                break
            digits += character
        numbers.append(int(digits or 0))
    return tuple(numbers[:3])
