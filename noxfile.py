"""Everything that is done to this project: `python noxfile.py --list` names it.

`python noxfile.py -s tests` needs Python with pip and nothing else: where nox is missing, it is
put into a small environment under `.nox/` first. `nox -s tests` is the same. What follows `--`
reaches pytest and the demo; `-r` keeps the environments of the last run, for speed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from importlib import metadata
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from random import randrange
from tempfile import TemporaryDirectory
from typing import NoReturn

ROOT = Path(__file__).resolve().parent

os.environ["PIP_QUIET"] = "1"  # pip's chatter names the registry that it asks


def _python_in(home: Path) -> str:
    return str(home / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))


def _nox_is_here() -> bool:
    """Tell whether this Python has a nox that is young enough; a distribution's often is not."""
    try:
        return metadata.version("nox") >= "2025"
    except metadata.PackageNotFoundError:
        return False


def _install_nox(home: Path) -> None:
    """Make an environment with nox in it, by the pip that Python brings or else the system's."""
    bundled = find_spec("ensurepip") is not None
    if not bundled and find_spec("pip") is None:
        sys.exit("This Python lacks pip; on Debian and Ubuntu, apt install python3-venv brings it.")
    venv.create(home, clear=True, symlinks=os.name != "nt", with_pip=bundled)
    pip = [_python_in(home), "-m", "pip"]
    if not bundled:
        pip = [sys.executable, "-m", "pip", "--python", str(home)]
    subprocess.run([*pip, "install", "nox>=2025"], check=True, stderr=subprocess.PIPE, text=True)


def _own_python() -> str:
    """Return the Python of our own environment, made anew unless it is whole and this Python's."""
    home = ROOT / ".nox" / ".bootstrap"
    whole = home / "whole"
    made_by = f"{sys.executable} {sys.version}"
    if not whole.is_file() or whole.read_text() != made_by:
        print("Installing nox under .nox/ ...", flush=True)
        _install_nox(home)
        whole.write_text(made_by)
    return _python_in(home)


def _become_nox() -> NoReturn:
    try:
        python = sys.executable if _nox_is_here() else _own_python()
    except subprocess.CalledProcessError as error:
        sys.exit(f"nox could not be installed.\n{error.stderr or error}")
    except KeyboardInterrupt:
        sys.exit(130)
    command = [python, "-m", "nox", "-f", __file__, *sys.argv[1:]]
    if os.name == "nt":  # where exec comes back to the shell at once
        sys.exit(subprocess.call(command))
    os.execv(python, command)


if __name__ == "__main__":
    _become_nox()

import nox  # noqa: E402  # from here on there is one
from packaging.requirements import Requirement  # noqa: E402

nox.needs_version = ">=2025"
nox.options.default_venv_backend = "virtualenv"
nox.options.sessions = ["tests", "lint", "typing"]

PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
RUN_TIME = {"aiohttp", "attrs", "cattrs", "multidict"}
TYPED = ["exotel_async", "noxfile.py", "examples", "tests/typing"]

INSTALLED_ONLY = {"PYTHONSAFEPATH": "1"}  # or Python finds the package in this folder first
IS_INSTALLED = """
import sys, exotel_async as found
if not found.__file__.startswith(sys.prefix):
    sys.exit(f"Not the installed package is imported but {found.__file__}")
"""


def _group(name: str) -> tuple[str, ...]:
    return nox.project.dependency_groups(PYPROJECT, name)


def _install(session: nox.Session, *packages: str) -> None:
    """Build and install the project, and see that this is what `import` finds."""
    session.install(".", *packages)
    session.run("python", "-c", IS_INSTALLED, env=INSTALLED_ONLY, log=False)


def _test(session: nox.Session, *packages: str) -> None:
    _install(session, *_group("tests"), *packages)
    workers = min(4, (os.cpu_count() or 1) + 1)  # many tests wait; `-- -n 0` has none, to debug
    session.run("python", "-m", "pytest", f"-n{workers}", *session.posargs, env=INSTALLED_ONLY)


@nox.session
def tests(session: nox.Session) -> None:
    """Test the built wheel on the Python that runs nox."""
    _test(session)


@nox.session
def lowest(session: nox.Session) -> None:
    """Test with the oldest run-time packages that pyproject.toml allows, those of extras too."""
    project = PYPROJECT["project"]
    needs = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    _test(session, *(need.replace(">=", "==", 1) for need in needs))


@nox.session(python=False)
def matrix(session: nox.Session) -> None:
    """Test on every Python from 3.11 to 3.15 that is on the PATH and starts."""
    there = [f"3.{minor}" for minor in range(11, 16) if _starts(f"python3.{minor}")]
    if not there:
        session.error("no python3.11 or later on the PATH")
    nested = [sys.executable, "-m", "nox", "-f", __file__, "-s", "tests"]
    session.run(*nested, "--force-pythons", *there, "--", *session.posargs)


def _starts(python: str) -> bool:
    """Tell whether this Python is there; a version manager may have put a stub in its place."""
    if shutil.which(python) is None:
        return False
    return subprocess.run([python, "-c", ""], capture_output=True).returncode == 0


@nox.session
def fuzz(session: nox.Session) -> None:
    """Try far more examples than the tests do, at random; minutes. Pytest's options follow --."""
    _install(session, *_group("tests"))
    seed = f"--hypothesis-seed={randrange(2**32)}"  # stands in the command that nox prints
    campaign = ["python", "-m", "pytest", "-q", "-m", "hypothesis", seed]
    session.run(*campaign, *session.posargs, env=INSTALLED_ONLY | {"EXOTEL_ASYNC_CAMPAIGN": "20"})


@nox.session
def load(session: nox.Session) -> None:
    """Play an account at its limit for an hour of the simulator's time; a minute or two of ours."""
    _install(session, *_group("tests"))
    campaign = ["python", "-m", "pytest", "-q", "-m", "load", "--durations=0"]
    session.run(*campaign, *session.posargs, env=INSTALLED_ONLY | {"EXOTEL_ASYNC_CAMPAIGN": "20"})


@nox.session
def bench(session: nox.Session) -> None:
    """Measure beside what a user would pick instead, and print one table of ratios; minutes.

    The rivals are installed for this alone. What follows -- names parts to have only those.
    """
    _install(session, *_group("bench"))
    session.run("python", "tests/benchmarks/table.py", *session.posargs, env=INSTALLED_ONLY)


@nox.session
def sizing(session: nox.Session) -> None:
    """Measure what durability costs, and what long lists take; half an hour."""
    _install(session, *_group("tests"))
    session.run("python", "tests/benchmarks/receiver.py", *session.posargs, env=INSTALLED_ONLY)
    for script in ("postgres.py", "pull.py", "export.py"):
        session.run("python", f"tests/benchmarks/{script}", env=INSTALLED_ONLY)


@nox.session
def chaos(session: nox.Session) -> None:
    """Kill the service hundreds of times, and print what was lost or doubled; minutes.

    EXOTEL_ASYNC_SEED has it kill elsewhere.
    """
    _install(session, *_group("tests"))
    campaign = ["python", "-m", "pytest", "-q", "-m", "chaos", "tests/chaos"]
    session.run(*campaign, *session.posargs, env=INSTALLED_ONLY | {"EXOTEL_ASYNC_CAMPAIGN": "25"})


@nox.session
def fleet(session: nox.Session) -> None:
    """Kill a fleet of ten processes on one PostgreSQL for half an hour of Exotel's time; minutes.

    EXOTEL_ASYNC_SEED has it kill elsewhere.
    """
    _install(session, *_group("tests"))
    campaign = ["python", "-m", "pytest", "-q", "-m", "fleet", "tests/fleet"]
    session.run(*campaign, *session.posargs, env=INSTALLED_ONLY | {"EXOTEL_ASYNC_CAMPAIGN": "25"})


@nox.session
def coverage(session: nox.Session) -> None:
    """Measure the branches that the tests take; pyproject.toml says how many they must."""
    _install(session, *_group("tests"))
    run = ["python", "-m", "coverage", "run", "-m", "pytest"]
    session.run(*run, *session.posargs, env=INSTALLED_ONLY)
    session.run("python", "-m", "coverage", "report")


@nox.session
def demo(session: nox.Session) -> None:
    """Run the main job, with nothing but the project and its command line installed."""
    session.install(".[cli]")
    session.run("python", "-c", IS_INSTALLED, env=INSTALLED_ONLY, log=False)
    session.run("python", "examples/demo.py", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check format and style."""
    session.install(*_group("lint"))
    session.run("ruff", "format", "--check")
    session.run("ruff", "check")


@nox.session
def typing(session: nox.Session) -> None:
    """Check the types, and that users of the package see every public one."""
    _install(session, *_group("typing"))
    session.run("python", "-m", "mypy", "--strict", *TYPED)
    verify = ["python", "-m", "pyright", "--verifytypes", "exotel_async", "--ignoreexternal"]
    with TemporaryDirectory() as elsewhere, session.chdir(elsewhere):  # so not this folder's
        session.run(*verify, env={"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"})


@nox.session
def build(session: nox.Session) -> None:
    """Build sdist and wheel, and import each in an environment of its own."""
    session.install(*_group("build"))
    with TemporaryDirectory() as folder:
        session.run("python", "-m", "build", "--outdir", folder, silent=True)
        for artifact in sorted(Path(folder).iterdir()):
            _import_alone(session, artifact, home=Path(folder) / "alone")


def _import_alone(session: nox.Session, artifact: Path, *, home: Path) -> None:
    session.run("python", "-m", "virtualenv", "-q", "--clear", "--no-periodic-update", str(home))
    install = ["python", "-m", "pip", "--python", str(home), "install", str(artifact)]
    session.run(*install, silent=True)
    session.run(_python_in(home), "-I", "-c", "import exotel_async", external=True)
    site = next(home.rglob("site-packages"))
    (project,) = metadata.distributions(name="exotel-async", path=[str(site)])
    lines = [line for line in project.requires or () if "extra ==" not in line]
    needs = {Requirement(line).name for line in lines}
    if needs != RUN_TIME:
        session.error(f"{artifact.name} needs {sorted(needs)} at run time")
    if not (site / "exotel_async" / "py.typed").is_file():
        session.error(f"{artifact.name} lacks py.typed")
