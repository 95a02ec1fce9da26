"""``crossagent view``, ``render`` and ``watch`` as a user types them."""

import json
import re
import shutil
import signal
import subprocess
import sys
import urllib.request

import pytest

from crossagent.cli import main


@pytest.fixture
def run(made_up, tmp_path):
    shutil.copytree(made_up, tmp_path / "made-up")
    return tmp_path / "made-up"


def test_view_writes_one_file_and_says_how_much_it_holds(run, tmp_path, capsys):
    assert main(["view", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": str(run / "viewer.html"), "shown": 70, "total": 70}
    assert main(["view", str(run), "-o", str(tmp_path / "few.html"), "--max", "10"]) == 0
    assert re.search(r"few.html: (8|9|10) of 70 trajectories", capsys.readouterr().out)


def test_view_opens_the_file_in_the_browser(run, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or False)
    assert main(["view", str(run), "--open"]) == 0
    assert opened == [(run / "viewer.html").resolve().as_uri()]
    assert "found no browser" in capsys.readouterr().err


def test_render_writes_where_it_is_told_or_into_the_run(run, tmp_path, capsys):
    assert main(["render", str(run), "mtrl/1/0.1"]) == 0
    assert (run / "episodes/mtrl-1-0.1.gif").read_bytes()[:6] == b"GIF89a"
    assert "3 frames" in capsys.readouterr().out
    assert main(["render", str(run), "mtrl/1/0.1", "-o", str(tmp_path / "a.gif"), "--seconds", "0.1"]) == 0
    assert (tmp_path / "a.gif").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["view", "{run}/sft"], "not a run of crossagent"),
        (["view", "{run}", "--max", "0"], "--max: got 0; expected at least 1"),
        (["render", "{run}", "mtrl/1/0.9"], "Did you mean '0."),
        (["render", "{run}", "mtrl/1/0.1", "-o", "a.png"], "expected a name that ends in .gif or .mp4"),
        (["render", "{run}", "mtrl/1/0.1", "--seconds", "nan"], "--seconds: got nan; expected 0.02 to 60"),
        (["watch", "{run}/../nothing"], "not a run of crossagent (no recipe.yaml there). Known: made-up."),
        (["watch", "{run}", "--port", "99999"], "--port 99999: cannot listen there"),
    ],
)
def test_what_is_the_user_s_to_fix_is_one_line_and_exit_code_2(run, capsys, words, message):
    before = sorted(run.rglob("*"))
    assert main([word.format(run=run) for word in words]) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert len(err.splitlines()) == 1
    assert out == ""
    assert sorted(run.rglob("*")) == before, "nothing half-written"


def test_watch_answers_until_ctrl_c(run):
    command = [sys.executable, "-m", "crossagent", "watch", str(run), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            said = process.stdout.readline()
            address = re.search(r"http://127\.0\.0\.1:\d+/", said)[0]
            with urllib.request.urlopen(address, timeout=10) as answer:
                assert b"made-up" in answer.read()
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0
            assert process.stderr.read() == ""
        finally:
            process.kill()


def test_looking_needs_neither_torch_nor_transformers(run):
    code = (
        "import sys; from crossagent.cli import main; main(['view', sys.argv[1]]); main(['render', sys.argv[1], 'mtrl/1/0.1']); "
        "assert not {'torch', 'transformers', 'lightning', 'mlflow'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(run)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
