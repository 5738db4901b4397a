"""Least versions of the packages that are used."""

import importlib

__all__ = ["need"]

#: Extra of fretwork that brings a package; NumPy comes with fretwork itself.
_EXTRAS = {"sklearn": "sklearn", "torch": "torch", "safetensors": "torch"}


def need(module, package, least):
    """Imports a module, and refuses one that is missing or older than version ``least`` of its package."""
    extra = _EXTRAS.get(module)
    part, advice = (f"fretwork.{extra}", f"fretwork[{extra}]") if extra else ("fretwork", f"{module}>={least}")
    text = f"{part} needs {package} {least} or later"
    try:
        found = importlib.import_module(module).__version__
    except ImportError as error:
        raise ImportError(f"{text}: pip install '{advice}'") from error
    if _numbers(found) < _numbers(least):
        raise ImportError(f"{text}, but found {found}: pip install '{advice}'")


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
