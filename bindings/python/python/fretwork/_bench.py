"""Benches of the library's kernels."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import Any

from . import _fretwork
from ._train import arguments

__all__ = ["BenchReport", "bench"]


class BenchReport:
    """Measurements of :func:`bench`. In notebooks and terminals it prints as the number of its rows; :attr:`rows` makes a frame:
    ``pandas.DataFrame(report.rows)``.
    """

    def __init__(self, found: dict[str, Any]) -> None:
        #: Everything that ``fretwork bench --json`` prints: the seconds of each round, tables, speed-ups over density.
        self.json = found
        #: Name of the adapter.
        self.adapter: str = found["adapter"]
        #: Name and version of its driver.
        self.driver: str = found["driver"]
        #: Clock that timed the products.
        self.clock: str = found["clock"]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A dict for each timed entry: ``subject``, ``table``, ``name``, ``role``, ``median_ms`` of one execution, ``gflops``, ``share`` of
        the best baseline's rate (None without a baseline) and ``of_ceiling``, the share of the device's ceiling (None without one).
        """
        rows = []
        for subject in self.json["subjects"]:
            for table in subject["tables"]:
                for row in table["rows"]:
                    median = row["seconds"][len(row["seconds"]) // 2] / row["times"]
                    rows.append({
                        "subject": subject["subject"], "table": table["title"], "name": row["name"], "role": row["role"],
                        "median_ms": 1e3 * median, "gflops": row["operations"] / median / 1e9,
                        "share": row["share"], "of_ceiling": row["of_ceiling"],
                    })  # fmt: skip
        return rows

    def __repr__(self) -> str:
        subjects = ", ".join(subject["subject"] for subject in self.json["subjects"])
        return f"<fretwork.BenchReport: {subjects} on {self.adapter} ({self.driver}), {len(self.rows)} rows>"


def bench(
    subject: str = "all",
    *,
    adapter: str | int | None = None,
    dtype: str | None = None,
    rows: int | None = None,
    hidden: Sequence[int] | int | None = None,
    batch: int | None = None,
    html: str | os.PathLike[str] | None = None,
    save: str | os.PathLike[str] | None = None,
    show: bool | Callable[[str], object] = True,
) -> BenchReport:
    """Checks kernels and times them in interleaved rounds with their baselines, as ``fretwork bench`` does, and prints its tables.

    ``subject``: ``"matmul"``, ``"sparse"``, ``"step"``, ``"update"``, ``"basis"``, ``"moe"`` or ``"all"``. The options are those of the program. ``show``:
    whether the tables are printed, or a function that is called with each as text. Takes minutes; Ctrl-C ends it.
    """
    options = {"adapter": adapter, "dtype": dtype, "rows": rows, "hidden": hidden, "batch": batch, "html": html, "save": save}
    printed = show if callable(show) else print if show else None
    return BenchReport(json.loads(_fretwork.bench([subject, *arguments(options)], printed)))
