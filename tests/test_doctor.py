"""``crossagent doctor`` answers on any machine, however little there is, and names what is broken with its fix."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crossagent import doctor
from crossagent.plugin_version import CONTRACT

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def program(directory: Path, name: str, code: str) -> None:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{code}\n")
    path.chmod(0o755)


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it but what a test puts there."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path / "bin"


def part(report: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [row for row in report["parts"] if row["name"] == name]
    return found


def test_the_command_says_versions_machine_plugins_and_what_is_missing(
    crossagent: Run, fake_plugin: Any, tmp_path: Path
) -> None:
    broken = fake_plugin(tmp_path / "broken", "broken", "import no_such_package_at_all\n")
    done = crossagent("doctor", path=[broken])
    assert done.returncode == 0, done.stderr
    for words in (
        f"crossagent    0.1.0, plugin contract {CONTRACT}",
        "package       torch 2.",
        "environments  craftworld",
        "CPUs",
    ):
        assert words in done.stdout
    assert "PROBLEM       plugin broken of crossagent-broken: ModuleNotFoundError" in done.stdout
    assert "install 'no_such_package_at_all'" in done.stdout

    report = json.loads(crossagent("doctor", "--json", path=[broken]).stdout)
    assert {"name": "torch", "problem": ""}.items() <= next(
        p for p in report["packages"] if p["name"] == "torch"
    ).items()
    assert [f["name"] for f in report["plugins"]["failures"]] == ["broken"]
    assert report["machine"]["disk_free_bytes"] > 0
    assert report["devices"][0]["name"] == "cpu"


def test_it_loads_no_torch() -> None:
    code = "import sys; from crossagent.doctor import examine; examine(); print('torch' in sys.modules)"
    env = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.stdout.strip() == "False", done.stderr


def test_every_missing_part_says_what_it_enables_and_how_to_get_it(bare: Path) -> None:
    report = doctor.examine()
    for name in ("Node", "Chromium", "Java", "git"):
        assert part(report, name)["found"] is None
    text = "\n".join(doctor.describe(report))
    for row in report["parts"]:
        assert row["enables"]
        assert (
            row["found"] or f"missing       {row['name']}, for {row['enables']}\n              {row['install']}" in text
        )
    assert "sudo apt-get install nodejs" in text


def test_the_install_command_is_the_machine_s_own(bare: Path) -> None:
    program(bare, "brew", "exit 0")
    assert part(doctor.examine(), "Node")["install"] == "brew install node"


def test_what_is_found_is_shown_with_its_version_wherever_it_says_it(bare: Path) -> None:
    program(bare, "node", "echo v20.1.0")
    program(bare, "java", "echo 'openjdk version \"17\"' >&2")
    program(bare, "google-chrome", "echo oops >&2; echo Chromium 123")
    report = doctor.examine()
    assert part(report, "Node")["found"] == f"v20.1.0 at {bare / 'node'}"
    assert part(report, "Java")["found"] == f'openjdk version "17" at {bare / "java"}'
    assert part(report, "Chromium")["found"] == f"Chromium 123 at {bare / 'google-chrome'}"


def test_programs_that_hang_or_fail_cost_a_moment_and_no_more(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_PROBE_S", 0.2)
    for name in ("node", "java", "chromium", "nvidia-smi"):
        program(bare, name, "exec /bin/sleep 60")
    program(bare, "git", "exit 3")
    began = time.monotonic()
    report = doctor.examine()
    assert time.monotonic() - began < 20
    assert part(report, "Node")["found"] == str(bare / "node")
    assert part(report, "git")["found"] == str(bare / "git")
    assert [device["name"] for device in report["devices"]] == ["cpu"]


def test_a_gpu_that_torch_cannot_reach_is_a_problem_with_its_fix(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(bare, "nvidia-smi", "echo 'NVIDIA H200, 143771 MiB'")
    monkeypatch.setattr(doctor, "_torch_cuda", lambda: None)
    assert "PROBLEM       cuda: NVIDIA H200, 143771 MiB: torch is built without CUDA. Fix: pip install" in "\n".join(
        doctor.describe(doctor.examine())
    )
    monkeypatch.setattr(doctor, "_torch_cuda", lambda: "12.8")
    (device,) = doctor.examine()["devices"][1:]
    assert (device["state"], device["problem"]) == ("the driver has it, torch is built for CUDA 12.8", "")


def test_packages_that_are_missing_or_too_old_are_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor, "requires", lambda _: ["torch>=99", "no-such-thing>=1", "numpy>=1", "ray; extra == 'ray'"]
    )
    report = doctor.examine()
    text = "\n".join(doctor.describe(report))
    assert "no-such-thing: is not installed. Fix: pip install 'no-such-thing>=1'" in text
    assert "expected >=99. Fix: pip install 'torch>=99'" in text
    assert [p["name"] for p in report["packages"]] == ["torch", "no-such-thing", "numpy"]


def test_no_probe_that_raises_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("broken machine")

    for name in (
        "requires",
        "version",
        "load_plugins",
        "find_spec",
        "_cpus",
        "_memory",
        "_memory_available",
        "_nvidia_gpus",
    ):
        monkeypatch.setattr(doctor, name, broken)
    monkeypatch.setattr("shutil.disk_usage", broken)
    report = doctor.examine()
    assert json.dumps(report)
    assert "? CPUs, ? of ? memory free" in "\n".join(doctor.describe(report))
