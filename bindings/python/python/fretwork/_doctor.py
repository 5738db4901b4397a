"""Adapters, and checks of the kernels on one of them."""

from __future__ import annotations

import json
from typing import Any

from . import _fretwork
from ._train import arguments

__all__ = ["Diagnosis", "adapters", "doctor", "options"]


def adapters() -> list[dict[str, Any]]:
    """The adapters of this machine, a dict each: name, kind, driver, half precision, limits."""
    return [json.loads(adapter) for adapter in _fretwork.adapters()]


class Diagnosis:
    """Result of :func:`doctor`."""

    def __init__(self, found: dict[str, Any]) -> None:
        #: Name of the adapter.
        self.adapter: str = found["adapter"]
        #: Name and version of its driver.
        self.driver: str = found["driver"]
        #: Number of checks that were run.
        self.checks: int = found["checks"]
        #: Wrong kernels: dicts with ``kernel`` and ``why``.
        self.wrong: list[dict[str, str]] = found["wrong"]
        #: Checks of other types, block sides and variants, which ``all=True`` runs, too.
        self.not_quick: int = found["not_quick"]

    def __bool__(self) -> bool:
        """Whether all checks are right."""
        return not self.wrong

    def __repr__(self) -> str:
        if self.wrong:
            names = ", ".join(wrong["kernel"] for wrong in self.wrong)
            return f"<fretwork.Diagnosis: {len(self.wrong)} of {self.checks} checks are WRONG on {self.adapter}: {names}>"
        return f"<fretwork.Diagnosis: all {self.checks} checks are right on {self.adapter} ({self.driver})>"


def doctor(*, adapter: str | int | None = None, quick: bool = False, all: bool = False, only: str | None = None) -> Diagnosis:
    """Checks the kernels on an adapter against known answers, as ``fretwork doctor`` does.

    Without ``quick`` and ``all``: every kernel on GPUs, and the kernels of default runs on software drivers, which compile for minutes.
    ``only``: text that the names of kernels contain.
    """
    options = {"adapter": adapter, "quick": quick, "all": all, "only": only}
    return Diagnosis(json.loads(_fretwork.doctor(arguments(options))))


def options(of: str = "train") -> dict[str, str]:
    """The options of :func:`train`, or of ``"bench"``, ``"doctor"`` or ``"export"``, with what they mean: a dict of texts."""
    return {name: text for name, text, _ in _fretwork.options_of(of) if name != "json"}
