"""What a hostile answer does in the sandbox changes nothing outside, and never counts as a pass."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

from entropix.errors import TaskError
from entropix.evaluate import sandbox
from entropix.evaluate.sandbox import Ran, SandboxError

Run = Callable[..., Ran]
CONFIG: dict[str, Any] = {"seconds": 10, "memory": 1 << 30, "disk": 1 << 20, "processes": 32}
SECRET = "hunter2-the-secret"

pytestmark = pytest.mark.skipif(bool(sandbox.isolation()), reason=f"no isolation from {sandbox.isolation()} here")


@cache
def missing(without: tuple[str, ...]) -> tuple[str, ...]:
    return sandbox._run("", "", {**CONFIG, "without": list(without)}, 1000, unsafe=False)[1]


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], int]]:
    """Every test ends with no process of its own sandboxes left on the host."""
    jail = tmp_path / "jail" / "jail.py"
    jail.parent.mkdir()
    shutil.copy(sandbox.JAIL, jail)
    monkeypatch.setattr(sandbox, "JAIL", jail)

    def living() -> int:
        found = 0
        for process in Path("/proc").glob("[0-9]*"):
            try:
                found += str(jail).encode() in (process / "cmdline").read_bytes()
            except OSError:
                continue
        return found

    yield living
    end = time.monotonic() + 2
    while living() and time.monotonic() < end:
        time.sleep(0.02)
    assert living() == 0


@pytest.fixture(
    params=[(), ("landlock", "seccomp"), ("namespaces",)], ids=["everything", "namespaces", "landlock+seccomp"]
)
def run(request: pytest.FixtureRequest) -> Run:
    """The sandbox with all its layers, and with either half of them alone."""
    without: tuple[str, ...] = request.param
    if missing(without):
        pytest.skip(f"without {', '.join(without)} there is no isolation from {', '.join(missing(without))} here")
    return partial(sandbox.run, seconds=4.0, memory=256 << 20, without=without)


def test_right_passes_and_wrong_fails(run: Run) -> None:
    program = "def f(x):\n    print('said')\n    return x + 1"
    ran = run(program, "assert f(1) == 2")
    assert (ran.ok, ran.reason, ran.output) == (True, "passed", "said\n")
    ran = run(program, "assert f(1) == 2\nassert f(2) == 4")
    assert (ran.ok, ran.reason) == (False, "assertion")
    assert ran.detail == "AssertionError:  (tests, line 2: assert f(2) == 4)"


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("def f(:", "syntax"),
        ("x = 'a\0b'", "syntax"),
        ("x = '\ud800'", "syntax"),
        (r"raise ValueError('\ud800')", "error"),
        ("1 / 0", "error"),
        ("raise KeyboardInterrupt", "error"),
        ("def f(): f()\nf()", "error"),
        ("input()", "error"),
        ("import sys; sys.exit(0)", "exit"),
        ("raise SystemExit", "exit"),
        ("import os; os._exit(0)", "exit"),
        ("import ctypes; ctypes.string_at(0)", "crash"),
        ("import os; os.abort()", "crash"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "crash"),
    ],
)
def test_it_is_said_how_a_program_failed(program: str, reason: str) -> None:
    ran = sandbox.run(program, seconds=5.0)
    assert (ran.ok, ran.reason) == (False, reason)
    ran.detail.encode()


@pytest.mark.parametrize("end", ["sys.exit(0)", "os._exit(0)", "raise SystemExit(0)"])
def test_an_answer_that_ends_in_the_tests_has_not_passed(run: Run, end: str) -> None:
    ran = run(f"import os, sys\ndef f():\n    print('ok')\n    {end}", "assert f() == 1")
    assert (ran.ok, ran.reason) == (False, "exit")


def test_saying_that_it_passed_is_no_pass(run: Run) -> None:
    ran = run(
        "import os\nfor fd in range(1, 64):\n"
        '    try: os.write(fd, b\'["passed", "0"]\\n["passed", "\\xc3\\xa4"]\\npassed\\nok\\n\')\n'
        "    except OSError: pass\nos._exit(0)"
    )
    assert (ran.ok, ran.reason) == (False, "exit")


def test_replaced_built_ins_do_not_help_in_the_tests(run: Run) -> None:
    program = (
        "import builtins, json, os\nbuiltins.abs = lambda x: 0\nbuiltins.AssertionError = ZeroDivisionError\n"
        "builtins.all = lambda x: True\nbuiltins.exec = builtins.compile = lambda *_, **__: None\n"
        "os._exit = os.write = json.dumps = lambda *_: None\ndef f(): return 7"
    )
    assert run(program, "assert abs(f() - 3) < 1e-6").reason == "assertion"
    assert run(program, "assert all(x == 1 for x in [f()])").reason == "assertion"
    assert run(program, "assert abs(f() - 7) < 1e-6").ok


@pytest.mark.parametrize(
    "program",
    [
        "while True: pass",
        "import time\nwhile True: time.sleep(100)",
        "import time\nwhile True:\n    try: time.sleep(100)\n    except BaseException: pass",
        "import signal\nfor s in set(signal.Signals) - {9, 19}: signal.signal(s, signal.SIG_IGN)\nwhile True: pass",
        "import threading\nthreading.Thread(target=lambda: [1 for _ in iter(int, 1)]).start()\nwhile True: pass",
    ],
    ids=["loop", "sleep", "catches everything", "ignores signals", "threads"],
)
def test_what_does_not_end_is_ended(run: Run, program: str) -> None:
    begun = time.monotonic()
    ran = run(program, seconds=0.5)
    assert (ran.ok, ran.reason) == (False, "timeout")
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    "program",
    ["x = bytearray(100 << 30)", "x = []\nwhile True: x.append(bytearray(10000))", "x = [0] * 10**12"],
    ids=["one large", "many small", "list"],
)
def test_memory_is_bounded(run: Run, program: str) -> None:
    assert run(program, seconds=5.0).reason == "memory"


def test_memory_cannot_be_hidden_in_the_kernel(run: Run) -> None:
    ran = run(
        "import mmap, os\nfor n in range(40):\n    fd = os.memfd_create(str(n))\n"
        "    while os.write(fd, bytes(1 << 20)): pass",
    )
    assert not ran.ok  # refused, or bounded by the size of a file
    assert run("import mmap\nx = mmap.mmap(-1, 1 << 40)").reason in ("error", "memory")


def test_a_fork_bomb_is_bounded(run: Run, nothing_left: Callable[[], int]) -> None:
    most, over = [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            most[0] = max(most[0], nothing_left())

    watcher = threading.Thread(target=watch)
    watcher.start()
    ran = run("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", seconds=0.7)
    over.set()
    watcher.join()
    assert ran.reason == "timeout"
    assert most[0] <= 40


def test_a_daemon_does_not_survive(run: Run) -> None:
    run(
        "import os, time\nfor n in range(3):\n    if os.fork() == 0:\n        os.setsid()\n"
        "        if os.fork() == 0:\n            for fd in range(64):\n                try: os.close(fd)\n"
        "                except OSError: pass\n            time.sleep(60)\n        os._exit(0)"
    )  # that it is gone is asserted by the fixture


def test_threads_are_allowed_and_bounded(run: Run) -> None:
    thread = "import threading\nt = threading.Thread(target=print, args=('hi',)); t.start(); t.join()"
    assert run(thread).output == "hi\n"
    ran = run(
        "import threading, time\nfor n in range(10**5): threading.Thread(target=time.sleep, args=(9,), daemon=True)"
        ".start()"
    )
    assert not ran.ok


def test_a_flood_of_output_is_cut(run: Run) -> None:
    ran = run("while True: print('x' * 10**6)", seconds=10.0)
    assert ran.reason == "output"
    assert len(ran.output) <= 4000
    assert run("import os\nwhile True:\n    for fd in range(2, 9):\n        try: os.write(fd, b'x' * 9999)\n"
               "        except OSError: pass", seconds=10.0).reason == "output"  # fmt: skip


@pytest.mark.parametrize(
    "program",
    [
        "with open('big', 'wb') as f:\n    while True: f.write(bytes(1 << 20))",
        "for n in range(10**6):\n    with open(f'f{n}', 'wb') as f: f.write(bytes(1 << 20))",
        "for n in range(10**6): open(f'f{n}', 'wb').close()",
        "import os\nwith open('sparse', 'wb') as f: f.truncate(1 << 40)",
    ],
    ids=["huge", "many", "empty", "sparse"],
)
def test_the_disk_is_not_filled(run: Run, program: str) -> None:
    before = shutil.disk_usage("/").free
    ran = run(program, seconds=5.0)
    assert (ran.ok, ran.reason) == (False, "error")
    assert shutil.disk_usage("/").free > before - (500 << 20)  # others write too


def unread(path: Path) -> tuple[int, ...]:
    """What is kept of a file but for the time of the last access."""
    found = path.stat()
    return found.st_mode, found.st_uid, found.st_nlink, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def test_files_outside_can_neither_be_written_nor_deleted(run: Run, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("as it was")
    os.chmod(kept, 0o666)
    os.chmod(tmp_path, 0o777)
    before = unread(kept)
    acts = [
        f"open({str(kept)!r}, 'w').write('x')",
        f"os.remove({str(kept)!r})",
        f"os.rename({str(kept)!r}, {str(kept) + '2'!r})",
        f"os.truncate({str(kept)!r}, 0)",
        f"os.chmod({str(kept)!r}, 0)",
        f"os.utime({str(kept)!r}, (0, 0))",
        f"os.link({str(kept)!r}, {str(tmp_path / 'link')!r})",
        f"os.symlink('/', {str(tmp_path / 'symlink')!r})",
        f"os.mkdir({str(tmp_path / 'made')!r})",
        f"open({str(tmp_path / 'new')!r}, 'w').write('x')",
        f"open({str(Path.home() / '.entropix-sandbox-test')!r}, 'w').write('x')",
        f"open({str(Path(__file__).with_name('written'))!r}, 'w').write('x')",
        "open('/answer/../entropix-sandbox-test', 'w').write('x')",
        "open('/tmp/entropix-sandbox-test', 'w').write('x')",
        f"shutil.rmtree({str(tmp_path)!r})",
    ]
    code = "import os, shutil\ndone = []\n" + "".join(
        f"try:\n    {act}\n    done.append({n})\nexcept OSError: pass\n" for n, act in enumerate(acts)
    )
    ran = run(code + "print(done)")
    assert (ran.ok, ran.output) == (True, "[]\n")
    assert kept.read_text() == "as it was"
    assert unread(kept) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["jail", "kept"]
    for path in (
        Path.home() / ".entropix-sandbox-test",
        Path(__file__).with_name("written"),
        Path("/entropix-sandbox-test"),
        Path("/tmp/entropix-sandbox-test"),
    ):
        assert not path.exists()


def test_its_directory_is_empty_and_gone_afterwards(run: Run) -> None:
    ran = run(
        "import os\nprint(os.getcwd())\ntry: open('a', 'w').write('b'); print(os.listdir())\nexcept OSError: pass"
    )
    assert ran.ok
    where = ran.output.split("\n")[0]
    assert not Path(where).exists()
    assert run("print(open('a').read())").reason == "error"


def test_secrets_are_not_read(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", SECRET)
    file = tmp_path / "token"
    file.write_text(SECRET)
    file.chmod(0o666)
    mine = os.getpid()
    ran = run(
        "import glob, os, sys\nseen = [repr(dict(os.environ))]\n"
        f"paths = [{str(file)!r}, {__file__!r}, '/etc/passwd', '/etc/shadow', '/proc/self/environ',\n"
        f"    '/proc/1/environ', '/proc/{mine}/environ', '/proc/{mine}/root{file}', '/proc/{mine}/mem',\n"
        f"    '../' * 20 + '{file}'[1:]]\n"
        "for path in paths + glob.glob('/proc/*/environ') + glob.glob('/proc/*/cmdline'):\n"
        "    try: seen.append(path + ' is ' + open(path).read())\n    except OSError: pass\n"
        f"for d in ['/proc', '/sys', '/dev/shm', '/var', '/run', {str(tmp_path)!r}, '{Path.home()}/.cache']:\n"
        "    try: seen.append(d + ' lists ' + repr(os.listdir(d)))\n    except OSError: pass\n"
        "print('\\n'.join(seen))"
    )
    assert ran.ok
    assert len(ran.output.splitlines()) == 1
    assert SECRET not in ran.output + ran.detail
    assert "API_TOKEN" not in ran.output


def test_nothing_of_the_host_is_open_in_it(run: Run, tmp_path: Path) -> None:
    with open(tmp_path / "open", "w+") as file:
        os.set_inheritable(file.fileno(), True)
        ran = run(
            "import os, stat\nfor fd in range(200):\n"
            "    try: mode = os.fstat(fd).st_mode\n    except OSError: continue\n"
            "    print(fd, stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISSOCK(mode))"
        )
    assert ran.ok
    assert "True" not in ran.output


@pytest.mark.parametrize("family", ["tcp", "udp", "unix", "unix datagram", "abstract"])
def test_there_is_no_network(run: Run, tmp_path_factory: pytest.TempPathFactory, family: str) -> None:
    directory = tmp_path_factory.mktemp("s")
    kind = socket.SOCK_DGRAM if family in ("udp", "unix datagram") else socket.SOCK_STREAM
    where: Any = {"abstract": f"\0entropix-{os.getpid()}"}.get(family, str(directory / "s"))
    area = socket.AF_UNIX
    if family in ("tcp", "udp"):
        area, where = socket.AF_INET, ("127.0.0.1", 0)
    with socket.socket(area, kind) as listener:
        listener.bind(where)
        if area == socket.AF_UNIX and family != "abstract":
            os.chmod(directory, 0o777)
            os.chmod(where, 0o777)
        if kind == socket.SOCK_STREAM:
            listener.listen()
        address = listener.getsockname()
        ran = run(
            f"import socket\nfor make in (lambda: socket.socket({int(area)}, {int(kind)}),"
            f" lambda: socket.socketpair(socket.AF_UNIX, {int(kind)})[0]):\n"
            f"    for act in (lambda s: s.connect({address!r}), lambda s: s.sendto(b'x', {address!r})):\n"
            "        try:\n            act(make())\n            print('reached')\n"
            "        except (OSError, TypeError): pass\n"
        )
        assert (ran.ok, ran.output) == (True, "")
        listener.settimeout(0.05)
        with pytest.raises(TimeoutError):
            listener.accept() if kind == socket.SOCK_STREAM else listener.recv(10)


def test_other_processes_cannot_be_harmed(run: Run) -> None:
    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"])
    before = os.getpriority(os.PRIO_PROCESS, victim.pid)
    try:
        for target in (victim.pid, os.getpid(), "os.getppid()", 1, 0, -1, -os.getpgrp()):
            ran = run(
                f"import os, resource, signal\ntarget = {target}\n"
                "acts = [lambda: os.kill(target, 9), lambda: os.kill(target, 15), lambda: os.killpg(abs(target), 9),\n"
                "    lambda: os.setpriority(0, target, 19), lambda: os.sched_setaffinity(target, {0}),\n"
                "    lambda: resource.prlimit(target, resource.RLIMIT_CPU, (0, 0)) if target > 0 else None]\n"
                "for act in acts:\n    try: act()\n    except OSError: pass\n",
                seconds=5.0,
            )
            assert ran.reason in ("passed", "crash", "exit")
            assert victim.poll() is None
        assert os.getpriority(os.PRIO_PROCESS, victim.pid) == before
        assert len(os.sched_getaffinity(victim.pid)) == len(os.sched_getaffinity(0))
    finally:
        victim.kill()
        victim.wait()


def test_other_programs_cannot_be_started_with_more_rights(run: Run) -> None:
    assert not run("import os\nos.execv('/bin/sh', ['sh', '-c', 'exit 0'])").ok
    assert not run("import os\nos.setuid(0)\nos.chroot('/')").ok


def test_all_ends_when_entropix_is_killed(nothing_left: Callable[[], int]) -> None:
    code = (
        "from pathlib import Path\nfrom entropix.evaluate import sandbox\n"
        f"sandbox.JAIL = Path({str(sandbox.JAIL)!r})\nsandbox.run('while True: pass', seconds=200)"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    end = time.monotonic() + 60
    while nothing_left() < 3 and time.monotonic() < end:
        time.sleep(0.05)
    assert nothing_left() >= 3
    process.send_signal(signal.SIGKILL)
    process.wait()  # that nothing is left is asserted by the fixture


def test_useful_modules_work(run: Run) -> None:
    ran = run(
        "import asyncio, collections, dataclasses, decimal, functools, hashlib, heapq, itertools, json, math, re\n"
        "@dataclasses.dataclass\nclass P:\n    x: 'int' = 1\n"
        "async def f(): return P().x\nif __name__ == '__main__': input()\ndef g(): return asyncio.run(f())",
        "assert g() == 1",
        seconds=10.0,
    )
    assert (ran.reason, ran.detail) == ("passed", "")


def test_without_isolation_nothing_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o777)
    harm = f"open({str(tmp_path / 'harm')!r}, 'w').close()"
    off = ("namespaces", "landlock", "seccomp")
    with pytest.raises(TaskError, match=r"cannot keep it from the network, the files, the processes.*ENTROPIX_UNSAFE"):
        sandbox.run(harm, without=off)
    assert not (tmp_path / "harm").exists()
    monkeypatch.setattr(sandbox, "isolation", lambda: ("network",))
    with pytest.raises(TaskError, match="cannot keep it from the network"):
        sandbox.require()
    monkeypatch.setenv("ENTROPIX_UNSAFE_CODE", "1")
    sandbox.require()
    assert sandbox.run("def f(): return 1", "assert f() == 1", without=off).ok
    assert sandbox.run("while True: pass", seconds=0.3, without=off).reason == "timeout"
    assert sandbox.run("x = bytearray(100 << 30)", without=off).reason == "memory"
    sandbox.run("import os\nos.fork()\nwhile True: pass", seconds=0.3, without=off)


def test_a_sandbox_that_cannot_start_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit")
    monkeypatch.setattr(sandbox, "JAIL", broken)
    with pytest.raises(SandboxError, match="ended before it was ready"):
        sandbox.run("")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(SandboxError, match="cannot be started"):
        sandbox.run("")


def test_open_files_do_not_pile_up() -> None:
    sandbox.run("")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        sandbox.run("1 / 0")
    assert len(os.listdir("/proc/self/fd")) <= before
