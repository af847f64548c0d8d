"""A seccomp profile from traced runs, as `docker run --security-opt seccomp=FILE` reads it.

What was seen is allowed, with its kin: a C library takes `openat2` for `openat` in its next
release, and a server `writev` for `write` once an answer is larger. What starts a container, before
the app begins, is under the filter already, and is allowed always.
"""

from __future__ import annotations

import contextlib
import functools
import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlkit.errors import BadData, ServiceUnavailable
from mlkit.image.command.health import health_command
from mlkit.image.filesystem import build
from mlkit.image.options import Options
from mlkit.image.proof.compare import Difference, settle
from mlkit.image.proof.expected import note_expected
from mlkit.image.run.observation import Observation, Runner
from mlkit.image.run.trace import Trace

TRIALS = 4
"""How often the result is traced under its profile, until it asks for nothing new."""
FOREIGN = "foreign"
"""A system call of another architecture, as the tracer names it."""
ARCHITECTURES = {"amd64": "SCMP_ARCH_X86_64", "arm64": "SCMP_ARCH_AARCH64"}
KINDS = (
    "read pread64 readv preadv preadv2 lseek",
    "write pwrite64 writev pwritev pwritev2",
    "open openat openat2 creat close close_range",
    "stat lstat fstat newfstatat statx access faccessat faccessat2 readlink readlinkat",
    "statfs fstatfs",
    "getdents getdents64",
    "mkdir mkdirat",
    "rename renameat renameat2",
    "unlink unlinkat rmdir",
    "link linkat symlink symlinkat",
    "chmod fchmod fchmodat fchmodat2",
    "chown fchown lchown fchownat",
    "utime utimes utimensat futimesat",
    "truncate ftruncate fallocate",
    "fsync fdatasync sync_file_range msync",
    "dup dup2 dup3 fcntl pipe pipe2 eventfd eventfd2",
    "poll ppoll select pselect6",
    "epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2",
    (
        "socket socketpair bind connect listen accept accept4 getsockname getpeername shutdown"
        " sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg setsockopt getsockopt"
    ),
    "sendfile splice tee copy_file_range",
    "time gettimeofday clock_gettime clock_getres nanosleep clock_nanosleep",
    "timer_create timer_settime timer_gettime timer_getoverrun timer_delete",
    "timerfd_create timerfd_settime timerfd_gettime",
    "alarm setitimer getitimer",
    "fork vfork clone clone3 wait4 waitid execve execveat",
    "kill tkill tgkill",
    (
        "rt_sigaction rt_sigprocmask rt_sigpending rt_sigtimedwait rt_sigsuspend rt_sigreturn"
        " rt_sigqueueinfo sigaltstack signalfd signalfd4 pause"
    ),
    "mmap munmap mremap mprotect madvise brk mincore membarrier",
    "mlock mlock2 munlock",
    "getuid geteuid getgid getegid getgroups getresuid getresgid",
    "setuid setgid setgroups setreuid setregid setresuid setresgid setfsuid setfsgid",
    "getpid getppid gettid getpgid getpgrp getsid",
    "setpgid setsid",
    "getrlimit setrlimit prlimit64 getrusage sysinfo uname times",
    (
        "sched_yield sched_getaffinity sched_setaffinity sched_getparam sched_getscheduler"
        " sched_get_priority_max sched_get_priority_min getpriority setpriority getcpu"
    ),
    "futex futex_waitv get_robust_list set_robust_list set_tid_address rseq restart_syscall",
    "inotify_init inotify_init1 inotify_add_watch inotify_rm_watch",
    "getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr",
    "setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr",
    "shmget shmat shmctl shmdt",
    "semget semop semctl semtimedop",
    "io_setup io_destroy io_submit io_getevents io_pgetevents io_cancel",
    "io_uring_setup io_uring_enter io_uring_register",
    "memfd_create memfd_secret",
)
"""System calls that stand in for one another, or are used together."""
ALWAYS = (
    "execve exit exit_group futex read write close openat fstat newfstatat fcntl dup3 pipe2 mmap"
    " rt_sigaction nanosleep sched_yield tgkill getpid setuid epoll_ctl prctl arch_prctl capget"
    " capset chdir getcwd getdents64 statfs fchown umask ioctl getrandom uname seccomp"
)
"""What starts a container: the engine's own steps after the filter is in place, and the loader."""


def list_allowed(calls: Iterable[str]) -> list[str]:
    """Return the names of the system calls that a profile allows, sorted.

    Args:
        calls: Those that were seen.
    """
    seen = {*calls, *ALWAYS.split()}
    kinds = (set(each.split()) for each in KINDS)
    return sorted(seen.union(*(each for each in kinds if each & seen)))


def profile(calls: Iterable[str], architecture: str) -> dict[str, Any]:
    """Return a profile: what is not allowed fails with EPERM.

    Args:
        calls: The system calls that were seen.
        architecture: As images name it.

    Raises:
        BadData: There are calls of another architecture, or this one has no profile.
    """
    calls = set(calls)
    if FOREIGN in calls or architecture not in ARCHITECTURES:
        hint = "leave out --seccomp"
        text = "--seccomp: it makes system calls of another architecture than the image's"
        raise BadData(text, hint=hint)
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": [ARCHITECTURES[architecture]],
        "syscalls": [{"names": list_allowed(calls), "action": "SCMP_ACT_ALLOW"}],
    }


@dataclass(frozen=True)
class Profiled:
    """A profile, and how a result behaves under it.

    Attributes:
        document: The profile.
        added: Calls that only runs under the profile have shown.
        differences: What the result does otherwise under it than the original does.
    """

    document: dict[str, Any]
    added: list[str]
    differences: list[Difference]

    def breaks(self, options: Options) -> list[Difference]:
        """Return what the profile breaks, but for what the user has asked for."""
        return [
            replace(each, what=f"under seccomp: {each.what}")
            for each in note_expected(self.differences, options)
            if each.effect == "broken"
        ]

    def encode(self) -> bytes:
        """Return the profile as a file holds it."""
        return (json.dumps(self.document, indent=2) + "\n").encode()

    @property
    def names(self) -> list[str]:
        """Return the calls that it allows."""
        return list(self.document["syscalls"][0]["names"])


def commands_of(runner: Runner, image: str) -> list[list[str]]:
    """List what is run in a container besides its app: its health check, probes by a command.

    No trace of the app shows these processes, and they are under the profile as well.
    """
    config = runner.engine.inspect(image)["Config"] or {}
    probed = [shlex.split(each.argument) for each in runner.settings.probes if each.kind == "exec"]
    return [each for each in (health_command(config), *probed) if each]


@dataclass(frozen=True)
class Prover:
    """Finds the profile of a result, and proves it.

    Attributes:
        runner: Runs the result.
        image: The result, in the engine.
        argv: What it starts.
        commands: What is run in it besides: its health check, probes by a command.
    """

    runner: Runner
    image: str
    argv: Sequence[str]
    commands: Sequence[Sequence[str]]

    def prove(
        self, trace: Trace, originals: Sequence[Observation], again: Callable[[], Observation]
    ) -> Profiled:
        """Trace the result under its profile until it asks for nothing new; compare it then.

        Args:
            trace: What runs of the original have called.
            originals: Runs of the original, without a profile of ours.
            again: Runs the original once more.

        Raises:
            ServiceUnavailable: The engine refuses ptrace.
            BadData: There are calls of another architecture.
        """
        if trace.method != "ptrace":
            hint = "see docs/image.md, where tracing is refused"
            raise ServiceUnavailable("--seccomp needs ptrace, which the engine refuses", hint=hint)
        calls = set(trace.calls) | self._trace(self.runner, self.argv)
        quiet = replace(self.runner, settings=replace(self.runner.settings, probes=(), watch=1.0))
        for each in self.commands:
            calls |= self._trace(quiet, each)
        begun = set(calls)
        for _ in range(TRIALS):
            with self._under(calls) as runner:
                new = self._trace(runner, self.argv) - calls
            if not new:
                break
            calls |= new
        with self._under(calls) as runner:
            run = functools.partial(runner.run, self.image, self.argv)
            _, found = settle(originals, again, lambda: replace(run(), look=originals[0].look))
        return Profiled(profile(calls, build.here()), sorted(calls - begun), found)

    def _trace(self, runner: Runner, argv: Sequence[str]) -> set[str]:
        seen = runner.run(self.image, argv, traced=True).trace
        return set(seen.calls) if seen else set()

    @contextlib.contextmanager
    def _under(self, calls: set[str]) -> Iterator[Runner]:
        """Return what runs containers under the profile of some calls."""
        document = json.dumps(profile(calls, build.here()))
        with self.runner.engine.use_profile(document) as option:
            settings = replace(self.runner.settings, security=[option])
            yield replace(self.runner, settings=settings)
