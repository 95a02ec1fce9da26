"""Several processes for one run: who is who under which launcher, and that they end together, with one message."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from crossagent import launch
from crossagent.cli import main
from crossagent.errors import CrossAgentError
from crossagent.launch import Ending, Launch, lost_contact, start, supervise

TORCHRUN = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500",
            "TORCHELASTIC_RUN_ID": "none"}  # fmt: skip
FABRIC = {**TORCHRUN, "LT_DEVICES": "2", "LT_CLI_USED": "1"}
SRUN = {
    "SLURM_STEP_NUM_TASKS": "5", "SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_NODEID": "1", "SLURM_NTASKS": "5",
    "SLURM_STEP_NODELIST": "gpu[07-08,12]", "SLURM_STEP_TASKS_PER_NODE": "2(x2),1", "SLURM_JOB_ID": "12345",
    "SLURM_STEP_ID": "2",
}  # fmt: skip


# -- who is who -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("variables", "by"), [(TORCHRUN, "torchrun"), (FABRIC, "fabric run")])
def test_a_process_knows_its_launcher_and_its_place(variables: dict[str, str], by: str) -> None:
    environ = {**variables, "HOME": "/home/me", "RANKING": "kept"}
    assert Launch.current(environ) == Launch(by, 1, 2)
    assert environ == {**TORCHRUN, "HOME": "/home/me", "RANKING": "kept"}, "only Lightning's own are taken away"


def test_without_a_launcher_nothing_changes() -> None:
    environ = {"MASTER_PORT": "29500", "WORLD_SIZE": "2"}
    assert Launch.current(environ) == Launch("", 0, 1)
    assert environ == {"MASTER_PORT": "29500", "WORLD_SIZE": "2"}


def test_a_single_process_of_a_launcher_is_a_process_like_any_other() -> None:
    environ = {**FABRIC, "RANK": "0", "WORLD_SIZE": "1", "HOME": "/home/me"}
    assert Launch.current(environ) == Launch("fabric run", 0, 1)
    assert environ == {"HOME": "/home/me"}


def test_tasks_of_srun_get_what_torchrun_would_have_set() -> None:
    environ = dict(SRUN)
    assert Launch.current(environ) == Launch("srun", 3, 5)
    said = {name: environ[name] for name in environ.keys() - SRUN.keys()}
    assert said == {
        "RANK": "3", "WORLD_SIZE": "5", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "1",
        "MASTER_ADDR": "gpu07", "MASTER_PORT": str(15000 + (12345 * 31 + 2) % 10000), "TORCHELASTIC_RUN_ID": "slurm-12345",
    }  # fmt: skip
    last = {**SRUN, "SLURM_NODEID": "2", "MASTER_ADDR": "head", "MASTER_PORT": "1234"}
    Launch.current(last)
    assert (last["LOCAL_WORLD_SIZE"], last["MASTER_ADDR"], last["MASTER_PORT"]) == ("1", "head", "1234")


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu[07-09,12],login", "gpu07"),
        ("gpu[3]", "gpu3"),
        ("a,b", "a"),
        ("rack[1-2]-n", "rack1-n"),
        ("host5", "host5"),
    ],
)
def test_the_first_host_of_slurms_notation(nodes: str, first: str) -> None:
    environ = {**SRUN, "SLURM_STEP_NODELIST": nodes}
    Launch.current(environ)
    assert environ["MASTER_ADDR"] == first


def test_a_batch_script_is_no_step() -> None:
    environ = {"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "1"}
    assert Launch.current(environ).size == 1
    assert "RANK" not in environ


def test_strange_numbers_are_named() -> None:
    with pytest.raises(CrossAgentError, match=r"got RANK='first', WORLD_SIZE='2'; .* Fix: unset both"):
        Launch.current({"RANK": "first", "WORLD_SIZE": "2"})
    with pytest.raises(CrossAgentError, match=r"got SLURM_PROCID='x', .* that srun sets"):
        Launch.current({**SRUN, "SLURM_PROCID": "x"})


def test_what_is_no_training_is_done_by_rank_0_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert main(["plugins", "--json"]) == 0
    assert main(["run", "missing.yaml", "--dry-run"]) == 0
    assert capsys.readouterr() == ("", "")


def test_several_machines_need_a_launcher_which_is_named() -> None:
    with pytest.raises(CrossAgentError, match=r"torchrun --nnodes 2 --nproc-per-node 8 .* -m crossagent run x\.yaml"):
        start(["run", "x.yaml"], SimpleNamespace(devices=8, num_nodes=2))


def test_what_says_no_more_than_that_a_process_is_gone() -> None:
    import torch.distributed as dist

    assert lost_contact(dist.DistNetworkError("timed out"))
    assert lost_contact(RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:4711"))
    assert not lost_contact(RuntimeError("the size of tensor a must match"))
    assert not lost_contact(ValueError("gloo"))


def test_where_only_rank_0_could_keep_a_store_it_speaks_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "_PATIENCE_S", 0.0)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
        monkeypatch.setenv("MASTER_PORT", str(nobody.getsockname()[1]))
        assert [Launch("srun", rank, 3).says("error", "fix me", 2) for rank in range(3)] == [True, False, False]


def test_of_those_that_share_a_store_the_first_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.distributed import TCPStore

    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(store.port))
    assert [Launch("torchrun", rank, 3).says("error", "fix me", 2) for rank in (2, 0, 1)] == [True, False, False]
    assert not Launch("torchrun", 0, 3).says("lost", "somebody is gone", 1)


# -- ending together --------------------------------------------------------------------------------------------------
BODY = """
import json, os, pathlib, signal, sys, time
from crossagent.launch import Launch
here = Launch.current()
here.watch_launcher()
pathlib.Path({directory!r}, f"{{here.rank}}.pid").write_text(str(os.getpid()))
def end(kind, message, code):
    assert not here.says(kind, message, code), "the launcher says it"
    os._exit(code)
def both_are_here():
    while len(list(pathlib.Path({directory!r}).glob("*.pid"))) < 2: time.sleep(0.01)
both_are_here()
"""


def launched(directory: Path, *bodies: str) -> Ending:
    """Supervise two processes: each does its body."""
    code = BODY.format(directory=str(directory)) + "".join(
        f"\nif here.rank == {rank}:\n" + "".join(f"    {line}\n" for line in body.splitlines())
        for rank, body in enumerate(bodies)
    )
    ended = supervise([sys.executable, "-c", code], 2)
    for file in directory.glob("*.pid"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(file.read_text()), 0)
    return ended


def send(directory: Path, number: int, count: int = 1) -> threading.Thread:
    """Send this process a signal once both ranks are there; more, after a pause each."""

    def later() -> None:
        while len(list(directory.glob("*.ready"))) < 2:
            time.sleep(0.01)
        for _ in range(count):
            os.kill(os.getpid(), number)
            time.sleep(0.5)

    thread = threading.Thread(target=later)
    thread.start()
    return thread


READY = "pathlib.Path({directory!r}, f'{{here.rank}}.ready').touch()\n"


@pytest.fixture
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))


@pytest.mark.multiprocess
@pytest.mark.usefixtures("path")
class TestTheyEndTogether:
    def test_well(self, tmp_path: Path) -> None:
        assert launched(tmp_path, "pass", "pass") == Ending(0)

    def test_the_first_error_is_the_one_that_is_said(self, tmp_path: Path) -> None:
        waits = "def told(*_): end('lost', 'somebody is gone', 1)\nsignal.signal(signal.SIGTERM, told)\nwhile True: time.sleep(1)"
        assert launched(tmp_path, waits, "end('error', 'fix me', 2)") == Ending(2, "fix me")

    def test_of_errors_that_all_have_one_is_said(self, tmp_path: Path) -> None:
        every = "end('error', f'fix {here.rank}', 2)"
        assert launched(tmp_path, every, f"time.sleep(0.3)\n{every}") == Ending(2, "fix 0")

    def test_a_bug_is_a_traceback(self, tmp_path: Path) -> None:
        assert launched(tmp_path, "time.sleep(60)", "end('bug', 'Traceback', 1)") == Ending(1, "Traceback", bug=True)

    def test_one_that_is_killed_stops_all_and_is_named(self, tmp_path: Path) -> None:
        begun = time.monotonic()
        notices = (
            f"other = (pathlib.Path({str(tmp_path)!r}) / '1.pid').read_text()\n"
            "while os.path.exists(stat := f'/proc/{other}/stat') and ') Z ' not in open(stat).read(): time.sleep(0.01)\n"
            "end('lost', 'somebody is gone', 1)"
        )
        ended = launched(tmp_path, notices, "time.sleep(0.2)\nos.kill(os.getpid(), signal.SIGKILL)")
        assert ended.code == 128 + signal.SIGKILL
        assert ended.message.startswith("process 1 of 2 (pid ")
        assert "was killed by SIGKILL, so all were stopped" in ended.message
        assert "The same command goes on" in ended.message
        assert time.monotonic() - begun < 30

    def test_one_that_does_not_stop_is_killed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(launch, "GRACE_S", 0.5)
        deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(60)"
        assert launched(tmp_path, deaf, "time.sleep(0.5)\nend('error', 'fix me', 2)") == Ending(2, "fix me")

    def test_one_that_says_nothing_is_named(self, tmp_path: Path) -> None:
        ended = launched(tmp_path, "pass", "os._exit(7)")
        assert ended == Ending(7, "process 1 of 2 ended with exit code 7, and did not say why")

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_is_passed_on_and_means_what_it_means_to_one(self, tmp_path: Path, number: int) -> None:
        kind, code = ("stopped", 143) if number == signal.SIGTERM else ("interrupted", 130)
        body = (
            f"signal.signal({int(number)}, lambda *_: end({kind!r}, 'after step 3', {code}))\n"
            + READY.format(directory=str(tmp_path))
            + "while True: time.sleep(1)"
        )
        thread = send(tmp_path, number)
        expected = "after step 3" if number == signal.SIGTERM else launch.INTERRUPTION
        assert launched(tmp_path, body, body) == Ending(code, expected)
        thread.join()

    def test_a_second_signal_kills(self, tmp_path: Path) -> None:
        deaf = (
            "signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + READY.format(directory=str(tmp_path)) + "time.sleep(60)"
        )
        thread = send(tmp_path, signal.SIGINT, count=2)
        assert launched(tmp_path, deaf, deaf) == Ending(130, launch.INTERRUPTION)
        thread.join()

    def test_nobody_outlives_the_launcher(self, tmp_path: Path) -> None:
        code = BODY.format(directory=str(tmp_path)) + "time.sleep(60)"
        outer = f"import sys; from crossagent.launch import supervise; supervise([sys.executable, '-c', {code!r}], 2)"
        with subprocess.Popen([sys.executable, "-c", outer]) as launcher:
            while len(list(tmp_path.glob("*.pid"))) < 2:
                time.sleep(0.05)
            launcher.kill()
        pids = [int(file.read_text()) for file in tmp_path.glob("*.pid")]
        deadline = time.monotonic() + 20
        while any(Path(f"/proc/{pid}/stat").exists() and _alive(pid) for pid in pids):
            assert time.monotonic() < deadline
            time.sleep(0.1)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("devices", "nodes", "says"),
    [
        (1, 1, "crossagent run 'a b.yaml' seed=1"),
        (8, 1, "torchrun --standalone --nproc-per-node 8 -m crossagent run 'a b.yaml' seed=1"),
        (8, 2, "torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint FIRST_HOST:29500 -m crossagent "
               "run 'a b.yaml' seed=1"),
    ],
)  # fmt: skip
def test_the_command_line_is_what_the_devices_need(devices: int, nodes: int, says: str) -> None:
    wanted = SimpleNamespace(devices=devices, num_nodes=nodes)
    assert launch.command_line(["run", "a b.yaml", "seed=1"], wanted) == says
