"""The Python on the pages: every statement runs, in order, in the environments that have its packages."""

import ast
import importlib
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

#: Packages that statements need, by the text that says so.
NEEDS = {"torch": "fw.torch", "sklearn": "fw.SparseMLP"}


def has(package):
    """Whether the package is there, in a version that is new enough."""
    try:
        importlib.import_module(f"fretwork.{package}")
    except ImportError:
        return False
    return True


def imported(node):
    """Modules and names that an import statement brings."""
    if isinstance(node, ast.ImportFrom):
        return [node.module], [alias.asname or alias.name for alias in node.names]
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names], [(alias.asname or alias.name).partition(".")[0] for alias in node.names]
    return [], []


def run(blocks, names, page):
    """Runs the statements of blocks but those that need a missing package, or a variable of such a statement; counts both kinds."""
    absent, ran, left = set(), 0, 0
    lacking = [text for package, text in NEEDS.items() if not has(package)]
    for block in blocks:
        for node in ast.parse(block).body:
            text = ast.get_source_segment(block, node)
            of = [one for one in ast.walk(node) if isinstance(one, ast.Name)]
            modules, brought = imported(node)
            if (
                any(importlib.util.find_spec(module.partition(".")[0]) is None for module in modules)
                or any(need in text for need in lacking)
                or absent & {one.id for one in of if isinstance(one.ctx, ast.Load)}
            ):
                absent |= {one.id for one in of if isinstance(one.ctx, ast.Store)} | set(brought)
                left += 1
                continue
            exec(compile(ast.Module([node], []), page, "exec"), names)
            ran += 1
    return ran, left


@pytest.mark.parametrize("page", ["README.md", "bindings/python/README.md"])
def test_statements_run(page, table, tmp_path, monkeypatch):
    (tmp_path / "table.csv").write_text(table.read_text())
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```py\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    names = {}
    exec("import fretwork as fw", names)
    ran, left = run(blocks, names, page)
    print(f"{page}: {ran} statements were run, {left} need a package that is not here, which the other environment has")
    assert ran > left or has("torch")


def test_statements_without_their_packages_are_left_out():
    block = "import no_such_package as n\nx = n.f()\ny = 1\nz = x + y"
    names = {}
    assert run([block], names, "page") == (1, 3) and names["y"] == 1
