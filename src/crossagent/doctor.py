"""``crossagent doctor``: what is installed, what the machine has, what is missing and what that would enable.

Never raises, loads no torch, asks no network. A probe that fails says so in its place.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from crossagent import __version__
from crossagent.plugin_version import CONTRACT
from crossagent.registry.plugin_set import load_plugins

_PROBE_S = 1.5
"""A program that does not say its version in this time is listed without one."""
_SHOWN = (
    "torch",
    "lightning",
    "transformers",
    "tokenizers",
    "peft",
    "mlflow",
    "omegaconf",
    "pluggy",
    "numpy",
    "pyarrow",
)
"""Packages whose version is listed; of the other requirements only what is missing or too old."""


@dataclass(frozen=True, slots=True)
class Part:
    """Something optional."""

    name: str
    enables: str
    install: str
    programs: tuple[str, ...] = ()
    """Names of the program, the first that is there counts."""
    package: str = ""
    """Or the Python distribution."""


def _packages(apt: str, brew: str, dnf: str = "") -> str:
    """Return the command that installs a system package on this machine."""
    if shutil.which("brew"):
        return f"brew install {brew}"
    if shutil.which("dnf") and not shutil.which("apt-get"):
        return f"sudo dnf install {dnf or apt}"
    return f"sudo apt-get install {apt}"


def parts() -> tuple[Part, ...]:
    """Return every optional part, in the order of the list."""
    return (
        Part("deepspeed", "trainer.strategy=deepspeed_…: training over several GPUs with sharded states", "pip install 'crossagent[deepspeed]'", package="deepspeed"),
        Part("liger-kernel", "trainer.liger=true: Liger's kernels, on GPUs", "pip install 'crossagent[liger]'", package="liger-kernel"),
        Part("llguidance", "rollout.constrained: responses that are always an action", "pip install 'crossagent[constrained]'", package="llguidance"),
        Part("vllm", "samplers that run in vLLM, on GPUs", "pip install 'crossagent[vllm]'", package="vllm"),
        Part("ray", "rollout.pool=ray: worlds on several machines", "pip install 'crossagent[ray]'", package="ray"),
        Part("minerl", "worlds of MineRL in this environment (crossagent-minerl keeps MineRL in one of its own: crossagent minerl install)", "pip install 'crossagent[minerl]'", package="minerl"),
        Part("crossagent-lightning-cli", "the command `lightning run RECIPE`", "pip install ./plugins/crossagent-lightning-cli  (in a checkout)", package="crossagent-lightning-cli"),
        Part("pytest", "the contract suites of crossagent.testing in a package's own tests", "pip install 'pytest>=8'", package="pytest"),
        Part("Node", "worlds that are driven through Node, such as a Minecraft client; tests of page scripts", _packages("nodejs", "node"), programs=("node", "nodejs")),
        Part("Chromium", "worlds in a web browser; tests that look at rendered pages", _packages("chromium", "--cask chromium"), programs=("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")),
        Part("Java", "worlds that run Minecraft itself (MineRL wants version 8, Minecraft 1.16.5 runs on 8 to 16)", _packages("openjdk-8-jdk", "openjdk@8", "java-1.8.0-openjdk"), programs=("java",)),
        Part("git", "the commit in a run's records", _packages("git", "git"), programs=("git",)),
    )  # fmt: skip


def examine() -> dict[str, Any]:
    """Return everything ``crossagent doctor --json`` prints; see the keys there. Takes a second or two, never raises."""
    known = parts()
    with ThreadPoolExecutor(max_workers=len(known) + 1) as threads:
        gpus = threads.submit(_safely, _nvidia_gpus, [])
        found = [threads.submit(_safely, lambda part=part: _find(part), None) for part in known]  # type: ignore[misc]
        report: dict[str, Any] = {
            "crossagent": {"version": __version__, "contract": CONTRACT, "path": str(Path(__file__).parent)},
            "python": {
                "version": platform.python_version(),
                "executable": sys.executable,
                "platform": platform.platform(),
            },
            "packages": _safely(_required, []),
            "machine": {
                "cpus": _safely(_cpus, None),
                "memory_bytes": _safely(_memory, None),
                "memory_available_bytes": _safely(_memory_available, None),
                "disk_free_bytes": _safely(lambda: shutil.disk_usage(Path.cwd()).free, None),
                "directory": _safely(lambda: str(Path.cwd()), None),
            },
            "plugins": _safely(lambda: load_plugins().listing(), {"spaces": [], "environments": [], "failures": []}),
            "parts": [
                {"name": part.name, "found": place.result(), "enables": part.enables, "install": part.install}
                for part, place in zip(known, found, strict=True)
            ],
        }
        report["devices"] = _safely(lambda: _devices(gpus.result()), [])
    return report


def describe(report: dict[str, Any]) -> list[str]:
    """Return the report in lines for people: what is there, then what is missing, with the command that installs it."""
    machine, plugins = report["machine"], report["plugins"]
    names = {kind: ", ".join(row["name"] for row in plugins[kind]) or "none" for kind in ("spaces", "environments")}
    lines = [
        f"crossagent    {report['crossagent']['version']}, plugin contract {report['crossagent']['contract']}",
        f"python        {report['python']['version']} at {report['python']['executable']}",
        f"platform      {report['python']['platform']}",
        f"machine       {machine['cpus'] or '?'} CPUs, {_gib(machine['memory_available_bytes'])} of "
        f"{_gib(machine['memory_bytes'])} memory free, {_gib(machine['disk_free_bytes'])} of disk free here",
        *(f"device        {device['name']}: {device['state']}" for device in report["devices"]),
        f"spaces        {names['spaces']}",
        f"environments  {names['environments']}",
    ]
    lines += [
        f"package       {p['name']} {p['version']}" for p in report["packages"] if p["version"] and not p["problem"]
    ]
    lines += [f"found         {part['name']}: {part['found']}" for part in report["parts"] if part["found"]]
    lines += [
        f"PROBLEM       {p['name']}: {p['problem']}. Fix: {p['install']}" for p in report["packages"] if p["problem"]
    ]
    lines += [
        f"PROBLEM       plugin {f['name']} of {f['distribution'] or 'an unknown distribution'}: {f['reason']}"
        for f in plugins["failures"]
    ]
    lines += [f"PROBLEM       {d['name']}: {d['problem']}" for d in report["devices"] if d["problem"]]
    for part in report["parts"]:
        if not part["found"]:
            lines += [f"missing       {part['name']}, for {part['enables']}", f"              {part['install']}"]
    return lines


# -- probes --------------------------------------------------------------------------------------------------------
def _safely(probe: Callable[[], Any], otherwise: Any) -> Any:
    try:
        return probe()
    except Exception:  # the doctor is asked when something is broken; it must not break too
        return otherwise


def _required() -> list[dict[str, Any]]:
    """Return the packages we need: version, and what is wrong with it."""
    from packaging.requirements import Requirement

    rows = []
    for line in requires("crossagent") or []:
        need = Requirement(line)
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        have = _version(need.name)
        problem = ""
        if have is None:
            problem = "is not installed"
        elif not need.specifier.contains(have, prereleases=True):
            problem = f"version {have} is installed; expected {need.specifier}"
        if problem or need.name in _SHOWN:
            install = f"pip install '{need.name}{need.specifier}'"
            rows.append({"name": need.name, "version": have, "problem": problem, "install": install})
    return rows


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _find(part: Part) -> str | None:
    """Return where or in which version a part is there; None when it is not."""
    if part.package:
        return _version(part.package)
    for program in part.programs:
        path = shutil.which(program)
        if path is not None:
            said = _said([path, "-version" if program == "java" else "--version"])
            return f"{said} at {path}" if said else path
    return None


def _said(command: Sequence[str]) -> str:
    """Return the first line a program prints; empty when it says nothing in time."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PROBE_S, text=True, errors="replace"
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    lines = (done.stdout.strip() or done.stderr.strip()).splitlines()  # Java says its version on stderr
    return lines[0][:120] if lines and done.returncode == 0 else ""


def _nvidia_gpus() -> list[tuple[str, str]]:
    """Return (name, memory) of the GPUs that the driver knows."""
    path = shutil.which("nvidia-smi")
    if path is None:
        return []
    command = [path, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * _PROBE_S, stdin=subprocess.DEVNULL)
    rows = [line.split(", ") for line in done.stdout.splitlines() if ", " in line]
    return [(row[0], row[1]) for row in rows] if done.returncode == 0 else []


def _devices(gpus: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    """Return what training can run on; reads for what torch was built instead of importing it."""
    rows = [{"name": "cpu", "state": "always there", "problem": ""}]
    built = _torch_cuda()
    for name, memory in gpus:
        usable = built is not None
        rows.append(
            {
                "name": f"cuda: {name}, {memory}",
                "state": f"the driver has it, torch is built for CUDA {built}" if usable else "out of torch's reach",
                "problem": ""
                if usable
                else "torch is built without CUDA. Fix: pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu128",
            }
        )
    if sys.platform == "darwin" and platform.machine() == "arm64":
        rows.append({"name": "mps", "state": "for trainer.accelerator=mps", "problem": ""})
    return rows


def _torch_cuda() -> str | None:
    """Return the CUDA version torch was built for, None for none; from its ``version.py``."""
    spec = find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        return None
    text = (Path(next(iter(spec.submodule_search_locations))) / "version.py").read_text(encoding="utf-8")
    found = re.search(r"^cuda\b[^=]*= *'([^']+)'", text, re.MULTILINE)
    return found[1] if found else None


def _cpus() -> int:
    """Return the CPUs this process may use: its affinity, within the quota of its container."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _safely(lambda: Path("/sys/fs/cgroup/cpu.max").read_text().split(), ["max"])
    return min(usable, max(1, int(quota[0]) // int(quota[1]))) if quota[0] != "max" else usable


def _memory() -> int:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _safely(lambda: Path("/sys/fs/cgroup/memory.max").read_text().strip(), "max")
    return min(total, int(limit)) if limit != "max" else total


def _memory_available() -> int:
    found = re.search(r"^MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    assert found is not None
    free = int(found[1]) * 1024
    limit = _safely(lambda: Path("/sys/fs/cgroup/memory.max").read_text().strip(), "max")
    if limit != "max":
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        free = min(free, max(0, int(limit) - used))
    return free


def _gib(size: int | None) -> str:
    return "?" if size is None else f"{size / 2**30:.1f} GiB"
