"""The system calls that an answer may not make, as a program for seccomp: no sockets, no new processes, nothing done
to another one."""

from __future__ import annotations

import errno
import platform
import sys

OWN = 0xFFFFFFFE
"""Stands for the number of the process that the filter will hold."""

AUDIT = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Machine: its place in the tables below, and its number in the kernel."""

# fmt: off
REFUSED: dict[str, tuple[int | None, int]] = {
    "fork": (57, 220), "vfork": (58, 220),  # aarch64 has only clone, see below
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200),
    "execve": (59, 221), "execveat": (322, 281), "ptrace": (101, 117), "tkill": (200, 130),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "pidfd_open": (434, 434), "pidfd_send_signal": (424, 424),
    "pidfd_getfd": (438, 438), "setsid": (112, 157), "setpgid": (109, 154), "setpriority": (141, 140),
    "ioprio_set": (251, 30), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "unshare": (272, 97), "setns": (308, 268), "open_tree": (428, 428), "move_mount": (429, 429),
    "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "open_by_handle_at": (304, 265), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "bpf": (321, 280), "perf_event_open": (298, 241),
    "userfaultfd": (323, 282), "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    # memory that the limit on address space does not count
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "msgget": (68, 186),
    "semget": (64, 190), "mq_open": (240, 180), "personality": (135, 92),
}
# What Landlock leaves open: truncate (before its version 3), the mode, owner, times and attributes of files.
ATTRIBUTES = (
    (76, 90, 91, 92, 93, 94, 132, 188, 189, 190, 197, 198, 199, 235, 260, 261, 268, 280, 452, 463, 466, 469),
    (45, 52, 53, 54, 55, 88, 5, 6, 7, 14, 15, 16, 452, 463, 466, 469),
)
# fmt: on
CLONE, CLONE3, SOCKETPAIR = (56, 220), (435, 435), (53, 199)
ON_ITSELF = ((62, 129), (234, 131))  # kill, tgkill
ON_ITSELF_OR_0 = ((302, 261), (203, 122), (144, 119), (142, 118), (314, 274))  # prlimit64, sched_set…

Line = tuple[int, int, int, int]
"""An instruction: code, jump if true, jump if false, value."""


def calls_refused(*, attributes: bool) -> list[Line] | None:
    """The filter for this machine, None for a machine that is not known. attributes: whether the mode, owner, times
    and attributes of files may be changed."""
    if platform.machine() not in AUDIT or sys.maxsize < 2**32 or sys.byteorder != "little":
        return None
    column, audit = AUDIT[platform.machine()]
    load, equal, at_least, any_bit, mask, done = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
    allow, refuse, unknown, kill = 0x7FFF0000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS, 0x80000000
    number, first, second = 0, 16, 24  # places in seccomp_data; arguments take 8 bytes, the low half first
    either = [(done, 0, 0, allow), (done, 0, 0, refuse)]
    lines = [(load, 0, 0, 4), (equal, 1, 0, audit), (done, 0, 0, kill), (load, 0, 0, number)]
    if column == 0:
        lines += [(at_least, 0, 1, 0x40000000), (done, 0, 0, refuse)]  # the calls of x32
    refused = {n for numbers in REFUSED.values() if (n := numbers[column]) is not None and n != CLONE[column]}
    for n in sorted(refused | set(() if attributes else ATTRIBUTES[column])):
        lines += [(equal, 0, 1, n), (done, 0, 0, refuse)]
    lines += [(equal, 0, 1, CLONE3[column]), (done, 0, 0, unknown)]  # the C library then takes clone
    lines += [(equal, 0, 4, CLONE[column]), (load, 0, 0, first), (any_bit, 0, 1, 0x10000), *either]  # CLONE_THREAD
    # only pairs of streams, which asyncio needs: a datagram socket could send to the host's sockets by their path
    lines += [(equal, 0, 5, SOCKETPAIR[column]), (load, 0, 0, second), (mask, 0, 0, 0xF), (equal, 0, 1, 1), *either]
    for numbers in ON_ITSELF:
        lines += [(equal, 0, 4, numbers[column]), (load, 0, 0, first), (equal, 0, 1, OWN), *either]
    for numbers in ON_ITSELF_OR_0:
        lines += [(equal, 0, 5, numbers[column]), (load, 0, 0, first), (equal, 1, 0, OWN), (equal, 0, 1, 0), *either]
    return [*lines, (done, 0, 0, allow)]
