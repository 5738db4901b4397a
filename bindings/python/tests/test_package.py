"""The package as a whole: import, exceptions, versions."""

import ast
import importlib.util
import inspect
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fretwork as fw

ROOT = Path(__file__).resolve().parents[3]


def python(code):
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_import_takes_little_time_and_opens_nothing():
    code = "import time; s = time.perf_counter(); import fretwork; print(time.perf_counter() - s)"
    # The least of several: other programs take time, too.
    assert min(float(python(code)) for _ in range(5)) < 0.2
    code = "import sys, fretwork; print([m for m in ('numpy', 'torch', 'sklearn', 'fretwork._fretwork') if m in sys.modules])"
    assert python(code).strip() == "[]"


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no /proc/self/maps on this system")
def test_no_driver_is_loaded_before_a_device_is_used():
    """Not even by the extension module, which the products on arrays import."""
    code = """
import fretwork as fw
from fretwork import _fretwork, ops
drivers = lambda: sum("libvulkan" in line for line in open("/proc/self/maps"))
print(drivers(), bool(fw.adapters()), drivers() > 0)
"""
    assert python(code).split() == ["0", "True", "True"]


def test_all_names_are_there_and_documented():
    for name in fw.__all__:
        if name in ("torch", "sklearn") or name.startswith("SparseMLP"):
            # Optional, and tested where their packages are.
            continue
        value = getattr(fw, name)
        assert name.startswith("__") or (value.__doc__ and len(value.__doc__) > 20), name
    assert set(fw.__all__) <= set(dir(fw))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        fw.nothing


def test_exceptions_are_of_one_family():
    assert all(issubclass(getattr(fw.errors, name), fw.Error) for name in fw.errors.__all__)
    error = pickle.loads(pickle.dumps(fw.errors.DataError("file: reason")))
    assert isinstance(error, ValueError) and str(error) == "file: reason"
    assert issubclass(fw.errors.OutOfMemoryError, MemoryError) and issubclass(fw.errors.FileError, OSError)


def test_options_of_train_are_those_of_the_program():
    parameters = inspect.signature(fw.train).parameters
    # `progress` is the package's own; `json` is how the program prints.
    assert set(parameters) - {"progress"} == set(fw.options())
    assert all(len(text) > 10 for text in fw.options().values())


@pytest.mark.parametrize(
    "command, own, left_out",
    [("bench", {"show"}, set()), ("doctor", set(), {"adapters"}), ("export", set(), set())],
)
def test_options_of_other_commands_are_those_of_the_program(command, own, left_out):
    parameters = inspect.signature(getattr(fw, command)).parameters
    assert set(parameters) - own == set(fw.options(command)) - left_out


def test_the_stub_of_the_extension_has_its_names_and_parameters():
    from fretwork import _fretwork

    def check(nodes, of):
        stub = {node.name: node for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
        assert {name for name in stub if name != "__new__"} == {name for name in vars(of) if not name.startswith("_")}
        for name, node in stub.items():
            value = of if name == "__new__" else getattr(of, name)
            if isinstance(node, ast.ClassDef):
                check(node.body, value)
            elif callable(value):
                own = {"self", "cls"}
                found = [parameter for parameter in inspect.signature(value).parameters if parameter not in own]
                assert found == [argument.arg for argument in node.args.args if argument.arg not in own], name

    check(ast.parse((Path(fw.__file__).parent / "_fretwork.pyi").read_text()).body, _fretwork)


def test_versions_of_wgpu_are_those_of_the_workspace():
    def versions(lock):
        found = re.findall(r'name = "(wgpu[a-z-]*|naga)"\nversion = "([^"]+)"', lock.read_text())
        assert len(found) > 3
        return found

    assert versions(ROOT / "Cargo.lock") == versions(ROOT / "bindings/python/Cargo.lock")


def test_old_versions_are_refused():
    from fretwork._versions import _numbers, need

    assert _numbers("1.13.0a0+git") == (1, 13, 0) and _numbers("2.11") > _numbers("2.9.1")
    with pytest.raises(ImportError, match="fretwork needs NumPy 99 or later, but found .*: pip install 'numpy>=99'"):
        need("numpy", "NumPy", "99")


@pytest.mark.parametrize("module, part", [("numpy", "ops"), ("sklearn", "sklearn"), ("torch", "torch"), ("safetensors", "torch.load_file('a')")])
def test_old_packages_are_refused_where_they_are_imported(module, part):
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"no {module} in this environment")
    code = f"""
import {module}, fretwork as fw
{module}.__version__ = "0.0.9"
try:
    fw.{part}
except ImportError as error:
    print(error)
"""
    assert re.search("needs .* or later, but found 0.0.9: pip install", python(code))
