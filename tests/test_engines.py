"""The contract of engines, which each of them is held to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from hgobench.engines import Engine, Failure, Limits, open_engine
from hgobench.engines.base import Observable, tried_twice
from hgobench.engines.local import Inline, Local
from hgobench.engines.meter import Meter
from tests import calls
from tests.cluster import Cluster
from tests.conftest import ROOT

linux = pytest.mark.skipif(sys.platform != "linux", reason="another machine's signals and memory")


@pytest.fixture(scope="module", params=["local", pytest.param("dask", marks=pytest.mark.long)])
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    if request.param == "local":
        with closing(open_engine("local", jobs=2)) as opened:
            yield opened
        return
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        cluster.add_worker()
        cluster.add_worker()
        with closing(open_engine("dask", address=cluster.address)) as opened:
            yield opened


@pytest.fixture(params=["another", "inline"])
def any_engine(request: pytest.FixtureRequest, engine: Engine) -> Engine:
    """Each engine, the one in this process too, which pickles nothing and has no limits."""
    return Inline() if request.param == "inline" else engine


def only(engine: Engine, name: Any, **limits: Any) -> Any:
    ((item, answer),) = engine.map(calls.call, [name], limits=Limits(**limits))
    assert item == name
    return answer


def test_answers_are_those_of_this_process(any_engine: Engine) -> None:
    assert isinstance(any_engine, Engine)
    assert isinstance(any_engine, Observable)
    answers = dict(any_engine.map(calls.call, range(20)))
    assert answers == {number: calls.squares(number) for number in range(20)}
    assert list(any_engine.map(calls.call, [])) == []


def test_a_call_that_raises_is_a_failure_of_its_own(any_engine: Engine) -> None:
    names: list[str | int] = ["divide", 1, "leave_politely", "no_memory", 2]
    answers = dict(any_engine.map(calls.call, names))
    assert [answers[number] == calls.squares(number) for number in (1, 2)] == [True, True]
    divided = answers["divide"]
    assert (divided.kind, divided.how) == ("raised", "ZeroDivisionError: division by zero")
    assert isinstance(divided.error, ZeroDivisionError)
    assert answers["leave_politely"].how == "SystemExit: bye"
    assert answers["no_memory"] == Failure("memory", "no memory was left to it")


def test_ctrl_c_is_no_failure_of_a_call_in_this_process() -> None:
    answers = Inline().map(lambda error: (_ for _ in ()).throw(error), [KeyboardInterrupt()])
    with pytest.raises(KeyboardInterrupt):
        next(answers)


def test_what_a_call_raises_is_told_and_the_rest_goes_on(engine: Engine) -> None:
    names: list[str | int] = ["divide", 1, "odd", "unpicklable", 2, "leave_politely", "no_memory"]
    answers = dict(engine.map(calls.call, names))
    assert answers[1] == calls.squares(1)
    assert answers[2] == calls.squares(2)
    divided = answers["divide"]
    assert (divided.kind, divided.how) == ("raised", "ZeroDivisionError: division by zero")
    assert isinstance(divided.error, ZeroDivisionError)
    assert "in divide" in divided.error.__notes__[0]
    assert (answers["odd"].how, answers["odd"].error) == ("Unpicklable: two arguments", None)
    assert answers["unpicklable"].kind == "raised"
    assert "cannot pickle '_thread.lock' object" in answers["unpicklable"].how
    assert answers["leave_politely"].how == "SystemExit: bye"
    assert answers["no_memory"] == Failure("memory", "no memory was left to it")


@pytest.mark.long
@linux
@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("leave", "exit status 7"),
        ("kill", "signal SIGKILL"),
        ("crash", "signal SIGSEGV"),
        ("start_another", "exit status 3"),
    ],
)
def test_a_call_whose_process_dies_takes_nothing_along(engine: Engine, name: str, how: str) -> None:
    answers = dict(engine.map(calls.call, [1, name, 2, 3]))
    assert answers.pop(name) == Failure("died", how)
    assert answers == {number: calls.squares(number) for number in (1, 2, 3)}


@pytest.mark.long
@linux
def test_c_code_that_computes_without_end_is_ended(engine: Engine) -> None:
    names: list[str | int] = ["compute_in_c", "backtrack", 1]
    answers = dict(engine.map(calls.call, names, limits=Limits(cpu=0.3)))
    assert answers.pop(1) == calls.squares(1)
    assert set(answers.values()) == {Failure("time", "computed longer than 0.3 s")}


@linux
def test_c_code_that_waits_without_end_is_ended(engine: Engine) -> None:
    assert only(engine, "wait_in_c", idle=0.5) == Failure("time", "waited longer than 0.5 s")


@linux
def test_a_process_that_stops_itself_is_ended(engine: Engine) -> None:
    """Nothing tells it to go on: its driver is not stopped."""
    answer = only(engine, "stop_itself", idle=0.5)
    assert answer == Failure("time", "was stopped longer than 0.5 s")


@linux
@pytest.mark.parametrize("how", ["start_session_and_die", "start_session"])
def test_what_a_call_has_started_in_a_session_of_its_own_ends_with_its_process(
    how: str, tmp_path: Path
) -> None:
    """At once if the process dies, else with it, at the latest when its driver ends."""
    code = (
        "from hgobench.engines.local import Local; from tests import calls\n"
        f"((_, answer),) = Local(1).map(calls.{how}, [{str(tmp_path)!r}])\n"
        "print(answer and answer.how)"
    )
    driver = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert driver.stdout == ("None\n" if how == "start_session" else "exit status 3\n"), driver
    (name,) = os.listdir(tmp_path)
    assert gone(int(name))


@linux
def test_what_a_process_has_started_is_found_below_it(tmp_path: Path) -> None:
    """Neither a group nor a variable tells whose it is; its parent in between is gone."""
    name = str(tmp_path)
    started = Local(1).map(calls.start_session_without_environment, [name], limits=Limits(idle=0.5))
    ((_, answer),) = started
    assert answer == Failure("time", "waited longer than 0.5 s")
    (number,) = os.listdir(tmp_path)
    assert gone(int(number))
    ((_, answer),) = Local(1).map(calls.start_without_environment_and_die, [name])
    assert answer == Failure("died", "exit status 3")
    assert len(numbers := os.listdir(tmp_path)) == 2
    assert all(gone(int(number)) for number in numbers)


@linux
def test_what_a_process_has_started_counts_as_its_memory(engine: Engine) -> None:
    """What a fork shares with its parent counts once."""
    answer = only(engine, "start_a_large_one", memory=2**29)
    assert answer == Failure("memory", "held more than 0.5 GiB")
    assert only(engine, "fork_a_large_one", memory=700 << 20) is True


@linux
def test_a_call_that_takes_too_much_memory_is_ended(engine: Engine) -> None:
    answer = only(engine, "grow", memory=2**29)
    assert answer == Failure("memory", "held more than 0.5 GiB")


def test_a_million_items_never_wait(any_engine: Engine) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(10**6):
            taken += 1
            yield number % 200

    answers = any_engine.map(calls.call, items())
    ahead = []
    for count in range(1, 6):
        next(answers)
        ahead.append(taken - count)
    answers.close()
    # Dask sends several short calls as one task, how many depends on how long they take.
    assert max(ahead) < 1_000


@linux
def test_closing_early_ends_what_is_under_way(engine: Engine, tmp_path: Path) -> None:
    answers = engine.map(calls.endless, ["", str(tmp_path)])
    assert next(answers) == ("", None)
    wait_for(lambda: os.listdir(tmp_path))
    answers.close()
    (name,) = os.listdir(tmp_path)
    assert gone(int(name))
    assert only(engine, 3) == calls.squares(3)


def test_it_tells_how_far_its_calls_are(engine: Engine, tmp_path: Path) -> None:
    """From outside, while they compute; what has ended is not under way."""
    assert isinstance(engine, Observable)
    seen: list[float] = []

    def watch() -> None:
        begun = time.monotonic()
        while time.monotonic() - begun < 30 and (not seen or seen[-1] < 5.0):
            seen.append(engine.under_way())
            time.sleep(0.01)
        (tmp_path / "go").touch()

    watcher = threading.Thread(target=watch)
    watcher.start()
    answers = list(engine.map(calls.half, [str(tmp_path / "go")] * 2))
    watcher.join()
    assert [answer for _, answer in answers] == [None] * 2
    assert seen[-1] == 5.0
    assert engine.under_way() == 0.0


def wait_for(what: Callable[[], Any], seconds: float = 30.0) -> None:
    for _ in range(int(seconds / 0.02)):
        if what():
            return
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds:g} s")


def gone(pid: int) -> bool:
    """Say whether a process ends within a few seconds."""
    with suppress(psutil.NoSuchProcess):
        with suppress(AssertionError):
            wait_for(lambda: psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, 5.0)
            return True
        return False
    return True


def test_calls_are_made_where_the_driver_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HGOBENCH_TEST", "here")
    monkeypatch.syspath_prepend(str(tmp_path))
    ((_, answer),) = Local(1).map(calls.place, [None])
    assert answer == (str(tmp_path), "here", str(tmp_path))


def test_what_is_printed_is_no_answer(engine: Engine, capfd: pytest.CaptureFixture[str]) -> None:
    assert list(engine.map(calls.printed, ["some words"])) == [("some words", "")]
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("name", "kinds"), [("leave", ["died"] * 2), ("no_memory", ["memory"] * 2)]
)
def test_what_ends_with_its_process_is_tried_in_pieces(
    engine: Engine, name: str, kinds: list[str]
) -> None:
    items: list[list[Any]] = [[1, name, name], [2, 3]]
    answers = list(tried_twice(engine, calls.several, items, lambda one: [[name] for name in one]))
    values = {str(item): answer for item, answer in answers}
    assert values["[1]"] == [calls.squares(1)]
    assert values["[2, 3]"] == [calls.squares(2), calls.squares(3)]
    assert [answer.kind for _, answer in answers if isinstance(answer, Failure)] == kinds


def test_a_module_that_was_edited_is_imported_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    module = tmp_path / "edited_module.py"
    for text in ("first", "second text"):
        module.write_text(f"text = {text!r}\n")
        ((_, answer),) = Local(1).map(calls.text_of, ["edited_module"])
        assert answer == text


ENDINGS = [
    [signal.SIGKILL], [signal.SIGTERM], [signal.SIGHUP], [signal.SIGINT] * 4, [signal.SIGSTOP, signal.SIGKILL],
]  # fmt: skip


@linux
@pytest.mark.parametrize("how", ENDINGS, ids=lambda how: f"{how[0].name}-{len(how)}")
def test_processes_end_with_the_driver_however_it_ends(
    how: list[signal.Signals], tmp_path: Path
) -> None:
    """Even while C code holds the interpreter's lock."""
    code = (
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # which nohup ignores
        "from hgobench.engines.local import Local; from tests import calls\n"
        f"list(Local(2).map(calls.endless, [{str(tmp_path)!r}] * 2))"
    )
    driver = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for(lambda: len(os.listdir(tmp_path)) == 2)
    for number in how:
        driver.send_signal(number)
        time.sleep(0.1)
    driver.wait(20)
    assert all(gone(int(name)) for name in os.listdir(tmp_path))


@linux
@pytest.mark.parametrize("end", ["close", "kill"])
def test_where_the_kernel_does_not_a_thread_ends_processes_with_their_driver(
    end: str, tmp_path: Path
) -> None:
    """The pipe that calls come through is closed, by hand or as the driver is killed."""
    code = (
        "import os, sys, hgobench.engines.child as child\n"
        "child._end_with = lambda parent: None\n"
        "child.main(os.getppid(), sys.argv[1])"
    )
    page = tmp_path / "page"
    Meter(page, create=True).close()
    driver = (
        "import os, pickle, subprocess, sys, time\n"
        "from hgobench.engines import child\n"
        "from tests import calls\n"
        f"started = subprocess.Popen([sys.executable, '-c', {code!r}, {str(page)!r}], "
        "stdin=subprocess.PIPE)\n"
        "child.write_frame(started.stdin, pickle.dumps(sys.path))\n"
        "called = [pickle.dumps(one) for one in (calls.compute_in_python, sys.argv[1])]\n"
        "place = sys.path, os.getcwd(), dict(os.environ)\n"
        "child.write_frame(started.stdin, pickle.dumps((*place, *called)))\n"
        "sys.stdin.read()\n"
        "started.stdin.close()\n"
        "time.sleep(60)\n"
    )
    (folder := tmp_path / "called").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", driver, str(folder)], cwd=ROOT, stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for(lambda: os.listdir(folder))
        if end == "close":
            process.communicate(b"", timeout=0.5)
    except subprocess.TimeoutExpired:
        pass
    finally:
        (name,) = os.listdir(folder)
        if end == "kill":
            process.kill()
            process.communicate()
        ended = gone(int(name))
        process.kill()
        process.communicate()
    assert ended


def test_a_platform_that_lacks_a_mechanism_has_another() -> None:
    """Without process groups and SIGHUP limits hold all the same."""
    code = (
        "import os, signal\n"
        "del os.killpg, signal.SIGHUP\n"
        "from hgobench.engines import Limits\n"
        "from hgobench.engines.local import Local\n"
        "from hgobench.engines.signals import ASKING, gentle\n"
        "from tests import calls\n"
        "with gentle():\n"
        "    answers = dict(Local(2).map(calls.call, [1, 'compute_in_c'], limits=Limits(cpu=0.2)))\n"
        "print(answers[1] == calls.squares(1), answers['compute_in_c'].kind, len(ASKING))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (ended.stdout, ended.returncode) == ("True time 1\n", 0), ended.stderr


@linux
def test_ctrl_z_pauses_what_computes_too(tmp_path: Path) -> None:
    code = (
        "from hgobench.engines.local import Local; from tests import calls\n"
        "from hgobench.engines.signals import gentle\n"
        f"with gentle(): list(Local(1).map(calls.endless, [{str(tmp_path)!r}]))"
    )
    driver = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, process_group=0)
    wait_for(lambda: os.listdir(tmp_path))
    (name,) = os.listdir(tmp_path)
    both = [psutil.Process(int(name)), psutil.Process(driver.pid)]
    try:
        driver.send_signal(signal.SIGTSTP)
        wait_for(lambda: all(one.status() == psutil.STATUS_STOPPED for one in both))
        driver.send_signal(signal.SIGCONT)
        wait_for(lambda: all(one.status() != psutil.STATUS_STOPPED for one in both))
    finally:
        driver.kill()
        driver.wait()
    assert gone(int(name))
