"""The inside of the sandbox: a script that shuts itself in and then runs an answer. Standard library only.

Started by `entropix.evaluate.sandbox` as `python -I -S jail.py`, with a length and a JSON object on its standard
input. Three processes, each the parent of the next:

- the keeper stays outside. It ends everything when the answer has ended or its standard input closes, which happens
  also when Entropix dies;
- the first of the new PID namespace waits for the answer and says how it ended. When it dies, the kernel kills every
  process of the namespace, also one that called setsid();
- the answer. It gives up its rights, then runs the program and the tests.

Lines on standard error say what happened; nothing the answer prints comes there unless it looks for the way.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import stat
import struct
import sys
from collections.abc import Iterable
from typing import Any

NEED = {"network": {"net", "seccomp"}, "files": {"root", "landlock"}, "processes": {"pid", "seccomp"}}
"""What must be shut off, and the layers of which any one does it."""

NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
RDONLY, NOSUID, NODEV, REMOUNT, BIND, REC, PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
PDEATHSIG, DUMPABLE, NO_NEW_PRIVS, SET_SECCOMP = 1, 4, 38, 22
SCRATCH = "/answer"  # not /tmp, in which a Python installation may stand
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")
MOUNT_SETATTR, LANDLOCK = 442, 444  # the same number on every architecture
NOBODY = 65534

libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def call(name: str, *args: Any) -> int:
    """A function of the C library. Raises OSError where it says -1."""
    done: int = getattr(libc, name)(*args)
    if done == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return done


def syscall(number: int, *args: Any) -> int:
    plain = (ctypes.c_long(a) if isinstance(a, int) else a for a in args)
    return call("syscall", ctypes.c_long(number), *plain)


def prctl(option: int, value: int | Any = 0) -> None:
    call("prctl", option, *(ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)))


# --- namespaces and a root of its own -------------------------------------------------------------------------------


def separate(config: dict[str, Any], got: set[str]) -> None:
    """Leave the host's network, processes and files, as far as this system lets us; `got` says how far."""
    kinds = NEWNS | NEWUTS | NEWIPC | NEWPID | NEWNET
    uid, gid = os.getuid(), os.getgid()
    try:
        try:
            call("unshare", kinds)  # root needs no user namespace, and can become another user later
        except OSError:
            call("unshare", kinds | NEWUSER)
            for file, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
                with open(f"/proc/self/{file}", "w") as f:
                    f.write(text)
    except OSError:
        return
    got |= {"net", "pid"}
    with contextlib.suppress(OSError):
        new_root(config["root"], config["readable"], config["disk"])
        got.add("root")


def new_root(root: str, readable: Iterable[str], disk: int) -> None:
    """Make `root` the root directory: of the host only `readable`, read-only; SCRATCH takes `disk` bytes."""
    mount(None, "/", None, REC | PRIVATE)
    mount("tmpfs", root, "tmpfs", NOSUID | NODEV, "size=1m,nr_inodes=1000,mode=755")
    for path in [*readable, *DEVICES]:
        target = root + path
        if os.path.lexists(target):
            continue  # a part of what is there already
        if os.path.isdir(path):
            os.makedirs(target)
        elif os.path.exists(path):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
        else:
            continue
        mount(path, target, None, BIND | REC)
        if path not in DEVICES:
            read_only(target)
    os.makedirs(root + SCRATCH)
    mount("tmpfs", root + SCRATCH, "tmpfs", NOSUID | NODEV, f"size={disk},nr_inodes=256,mode=777")
    mount(None, root, None, REMOUNT | BIND | RDONLY | NOSUID | NODEV)
    os.chdir(root)
    call("pivot_root", b".", b".")
    call("umount2", b".", 2)  # MNT_DETACH: the host's files
    os.chdir(SCRATCH)


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    texts = [None if t is None else t.encode("utf-8", "surrogateescape") for t in (source, target, kind, data)]
    call("mount", *texts[:3], ctypes.c_ulong(flags), texts[3])


def read_only(target: str) -> None:
    attributes = struct.pack("QQQQ", RDONLY | NOSUID, 0, 0, 0)
    try:
        syscall(MOUNT_SETATTR, -100, os.fsencode(target), 0x8000, attributes, len(attributes))  # AT_RECURSIVE
    except OSError:  # Linux before 5.12
        kept = os.statvfs(target).f_flag & 0x40E  # nosuid, nodev, noexec, noatime cannot be taken away
        mount(None, target, None, REMOUNT | BIND | RDONLY | NOSUID | kept)


# --- rights ----------------------------------------------------------------------------------------------------------


def become_nobody(stdlib: str) -> bool:
    """Give up being root, where the Python installation can still be read afterwards. The user is one that nothing
    else runs as, because RLIMIT_NPROC counts the processes of a user."""
    if os.getuid() != 0 or not open_to_all(stdlib):
        return False
    for uid in (1_900_000_000 + os.getppid() % 100_000 + os.getpid() % 1000, NOBODY):
        with contextlib.suppress(OSError):
            with contextlib.suppress(OSError):
                os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            return True
    return False


def open_to_all(path: str) -> bool:
    while path != os.path.dirname(path):
        if not os.stat(path).st_mode & stat.S_IXOTH:
            return False
        path = os.path.dirname(path)
    return True


def drop_capabilities() -> None:
    prctl(NO_NEW_PRIVS, 1)
    call("capset", struct.pack("Ii", 0x20080522, 0), bytes(24))


def limit(config: dict[str, Any], counted: bool) -> None:
    """Set the limits. counted: whether processes are counted for this sandbox and not for all that the user runs."""
    try:
        import resource
    except ImportError:
        return
    seconds = int(config["seconds"]) + 1
    limits = {
        "CPU": (seconds, seconds + 1),
        "AS": (config["memory"],) * 2,
        "FSIZE": (config["disk"],) * 2,
        "NOFILE": (64, 64),
        "CORE": (0, 0),
    }
    if counted:
        limits["NPROC"] = (config["processes"],) * 2
    for name, (soft, hard) in limits.items():
        try:
            kind = getattr(resource, f"RLIMIT_{name}")
            top = resource.getrlimit(kind)[1]
            if top != resource.RLIM_INFINITY:
                soft, hard = min(soft, top), min(hard, top)
            resource.setrlimit(kind, (soft, hard))
        except (AttributeError, OSError, ValueError):
            if not config["unsafe"]:
                raise


# --- Landlock: files -------------------------------------------------------------------------------------------------


def landlock(readable: Iterable[str], writable: Iterable[str]) -> bool:
    """Only read `readable`, and also write `writable`, from here on."""
    try:
        version = syscall(LANDLOCK, None, 0, 1)
    except OSError:
        return False
    files = (1 << (13 + (version >= 2) + (version >= 3) + (version >= 5))) - 1
    attributes = [files] + [3] * (version >= 4) + [3] * (version >= 6)  # TCP; abstract sockets and signals
    packed = struct.pack(f"{len(attributes)}Q", *attributes)
    try:
        ruleset = syscall(LANDLOCK, packed, len(packed), 0)
        read = 0b1100
        for path, rights in [*((p, read) for p in readable), *((p, files & ~1) for p in writable)]:
            try:
                opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            if not stat.S_ISDIR(os.fstat(opened).st_mode):
                rights &= 0b110 | 3 << 14  # the others are rights to directories
            syscall(LANDLOCK + 1, ruleset, 1, struct.pack("=Qi", rights & files, opened), 0)
            os.close(opened)
        syscall(LANDLOCK + 2, ruleset, 0)
        os.close(ruleset)
    except OSError:
        return False
    return True


# --- seccomp: no sockets, no new processes, nothing done to another one ----------------------------------------------


def seccomp(filter_: list[list[int]] | None, own: int) -> bool:
    """Refuse system calls from here on, by a filter of `syscalls.calls_refused`, in which `own` stands for this
    process."""
    if not filter_:
        return False
    lines = [struct.pack("HBBI", *head, os.getpid() if value == own else value) for *head, value in filter_]
    program = ctypes.create_string_buffer(b"".join(lines))
    argument = struct.pack("HxxxxxxP", len(lines), ctypes.addressof(program))
    try:
        call("prctl", SET_SECCOMP, ctypes.c_ulong(2), argument, ctypes.c_ulong(0), ctypes.c_ulong(0))
    except OSError:
        return False
    return True


# --- the processes ---------------------------------------------------------------------------------------------------


def say(status: int, *words: str) -> None:
    os.write(status, json.dumps(words).encode() + b"\n")


def keep() -> None:
    """The keeper: start the rest, and end it."""
    (size,) = struct.unpack(">Q", take(8))
    config: dict[str, Any] = json.loads(take(size))
    os.environ.clear()
    os.environ.update(config["environment"])
    status = os.dup(2)
    os.dup2(1, 2)
    try:
        got: set[str] = set()
        if not hasattr(os, "fork"):
            answer(config, got, status)
        if libc is not None:
            if "namespaces" not in config["without"]:
                separate(config, got)
            prctl(DUMPABLE, 0)  # from here on its /proc belongs to root
        ended, alive = os.pipe()
        init = os.fork()
        if init == 0:
            first_process(config, got, status, alive)
        os.close(alive)
        select.select([0, ended], [], [])
        os.kill(init, signal.SIGKILL)
        os.waitpid(init, 0)  # with a PID namespace this returns when every process in it is gone
    except BaseException as error:
        say(status, "broken", f"{type(error).__name__}: {error}")
        os._exit(1)
    if "pid" not in got and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)  # the answer is in our group: it may neither leave it nor have children
    os._exit(0)


def take(size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = os.read(0, size - len(data))
        if not part:
            os._exit(1)
        data += part
    return data


def first_process(config: dict[str, Any], got: set[str], status: int, alive: int) -> None:
    """Wait for the answer, and say how it ended."""
    try:
        if "pid" in got:
            os.setsid()  # kill(0, …) must not reach the keeper
        if libc is not None:
            prctl(PDEATHSIG, signal.SIGKILL)
            prctl(DUMPABLE, 0)
        child = os.fork()
        if child == 0:
            os.close(alive)
            answer(config, got, status)
        ended = -1
        while ended != child:
            ended, code = os.waitpid(-1, 0)
        say(status, *(("signal", str(os.WTERMSIG(code))) if os.WIFSIGNALED(code) else ("exit",)))
    except BaseException as error:
        say(status, "broken", f"{type(error).__name__}: {error}")
    finally:
        os._exit(0)


def answer(config: dict[str, Any], got: set[str], status: int) -> None:
    """Give up all rights, then run the program and its tests, and say what became of them."""
    try:
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.set_inheritable(status, False)
        sys.path += [path for path in config["packages"] if path not in sys.path]
        sys.argv = ["answer.py"]
        counted = False
        if libc is not None:
            counted = become_nobody(config["stdlib"]) or "pid" in got
        limit(config, counted)
        if libc is not None:
            drop_capabilities()
            inside = "root" in got
            if "landlock" not in config["without"]:
                paths = (["/"], [SCRATCH, "/dev/null"]) if inside else (config["readable"], ["/dev/null"])
                got |= {"landlock"} if landlock(*paths) else set()
            if "seccomp" not in config["without"]:
                got |= {"seccomp"} if seccomp(config["calls_refused"][inside], config["own"]) else set()
        missing = [what for what, layers in NEED.items() if not layers & got]
        say(status, "missing", *missing)
        if missing and not config["unsafe"]:
            os._exit(0)
        say(status, "ready", *sorted(got))
    except BaseException as error:
        say(status, "broken", f"{type(error).__name__}: {error}")
        os._exit(1)
    judge(config["program"], config["tests"], status, config["nonce"])


def judge(program: str, tests: str, status: int, nonce: str) -> None:
    """Run the program, then the tests with the built-in functions as they were before."""
    import builtins
    import types

    # kept here, so that an answer which replaces them in their modules gains nothing
    write, leave, out, dump, execute = os.write, os._exit, sys.stdout, json.dumps, exec
    anything, memory, assertion, left = BaseException, MemoryError, AssertionError, SystemExit
    quiet, full = contextlib.suppress(anything), b'["failed", "memory", ""]\n'
    passed = dump(["passed", nonce]).encode() + b"\n"
    before = dict(vars(builtins))
    module = types.ModuleType("answer")  # not __main__, whose part an answer would run as a script
    sys.modules["answer"] = module
    failed = "syntax"
    try:
        code = compile(program, "<answer>", "exec", dont_inherit=True)
        failed = "error"
        test = compile(tests, "<tests>", "exec", dont_inherit=True)
        execute(code, module.__dict__)
        execute(test, {**module.__dict__, "__builtins__": before})
        with quiet:
            out.flush()
        write(status, passed)
        leave(0)
    except memory:
        write(status, full)
        leave(1)
    except anything as error:
        raised = error
        failed = "assertion" if isinstance(error, assertion) else "exit" if isinstance(error, left) else failed
    try:
        with quiet:
            out.flush()
        write(status, dump(["failed", failed, described(raised, program, tests)]).encode() + b"\n")
    except memory:
        write(status, full)
    finally:
        leave(1)


def described(error: BaseException, program: str, tests: str) -> str:
    """The error in one line, with the line of the tests or the program at which it was raised."""
    text = f"{type(error).__name__}: {error}"[:300]
    sources, at, found = {"<answer>": program, "<tests>": tests}, error.__traceback__, ""
    while at is not None:
        name = at.tb_frame.f_code.co_filename
        lines = sources.get(name, "").split("\n")
        if 0 < at.tb_lineno <= len(lines) and not (name == "<answer>" and found):
            found = f"{name[1:-1]}, line {at.tb_lineno}: {lines[at.tb_lineno - 1].strip()[:200]}"
        at = at.tb_next
    return f"{text} ({found})" if found else text


if __name__ == "__main__":
    keep()
