# SPDX-License-Identifier: MIT
"""A QEMU under userkvm with a Linux guest in it: its console, its shell, its monitor.

The environment may set USERKVM (the command, build/userkvm by default), GUEST (the directory that
tools/guest filled), PROGRAMS (that of tests/pc/guest's programs) and ACCEL (tcg: QEMU's own
emulation, to see whether a test is right).
"""
import errno
import gzip
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tools"))
from patience import Clock  # noqa: E402

GUEST = os.environ.get("GUEST", os.path.join(TOP, "cache", "guest"))
USERKVM = os.environ.get("USERKVM", os.path.join(TOP, "build", "userkvm"))
PROGRAMS = os.environ.get("PROGRAMS", os.path.join(TOP, "build", "tests", "pc", "guest"))
ACCEL = os.environ.get("ACCEL", "kvm")

UP = "userkvm: guest is up"
SHELL = "'exit' powers it off"
PROMPT = "guest# "
BOOT_TIMEOUT = 300  # seconds, as patience.Clock counts them
COMMAND_TIMEOUT = 120
MIB = 1 << 20


class Failed(Exception):
    pass


def check(condition, what):
    if not condition:
        raise Failed(what)


def skip(why):
    print(why)
    sys.exit(77)


def wait_until(done, what, timeout=COMMAND_TIMEOUT):
    """Until done() is true, which is returned; `what` is the matter if it never is."""
    deadline = time.monotonic() + timeout
    while not (result := done()):
        check(time.monotonic() < deadline, what)
        time.sleep(0.05)
    return result


class Monitor:
    """QEMU's machine protocol (QMP) on a socket that QEMU listens on."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        wait_until(lambda: self.socket.connect_ex(path) == 0, "QEMU does not open its monitor")
        self.socket.settimeout(COMMAND_TIMEOUT)
        self.file = self.socket.makefile("rw")
        self.events = []
        json.loads(self.file.readline())  # the greeting
        self.call("qmp_capabilities")

    def read(self):
        line = self.file.readline()
        if not line:
            raise Failed("QEMU closed its monitor")
        return json.loads(line)

    def call(self, command, **arguments):
        self.file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.file.flush()
        while True:
            answer = self.read()
            if "event" in answer:
                self.events.append(answer["event"])
            elif "error" in answer:
                raise Failed(f"{command}: {answer['error']['desc']}")
            else:
                return answer["return"]

    def human(self, line):
        """A line for the monitor people type at; most commands there say nothing when all is well."""
        return self.call("human-monitor-command", **{"command-line": line}).strip()

    def wait_migration(self, timeout=COMMAND_TIMEOUT):
        """It must complete; what QEMU says of it then."""
        def completed():
            info = self.call("query-migrate")
            status = info.get("status")
            check(status not in ("failed", "cancelled"), f"migration {status}: {info}")
            return status == "completed" and info
        return wait_until(completed, "the migration does not end", timeout)

    def wait_event(self, name):
        while name not in self.events:
            answer = self.read()
            if "event" in answer:
                self.events.append(answer["event"])
        self.events.remove(name)


class Console:
    """What a program prints, as it prints it, and lines typed at it."""

    def __init__(self, process):
        self.process = process
        self.text = ""
        self.seen = 0  # what expect() has already gone past
        self.changed = threading.Condition()
        self.ended = False
        self.reader = threading.Thread(target=self.pump, daemon=True)
        self.reader.start()

    def pump(self):
        while True:
            try:
                chunk = os.read(self.process.stdout.fileno(), 65536)
            except OSError as e:
                if e.errno not in (errno.ECONNRESET, errno.EIO):  # a socket's, a terminal's end
                    raise
                chunk = b""
            with self.changed:
                self.text += chunk.decode(errors="replace").replace("\r", "")
                self.ended = not chunk
                self.changed.notify_all()
            if not chunk:
                return

    def expect(self, wanted, timeout=COMMAND_TIMEOUT):
        """Wait for text on the console after what was waited for before; what came before it."""
        clock = Clock(self.process.pid)
        with self.changed:
            while True:
                at = self.text.find(wanted, self.seen)
                if at >= 0:
                    before, self.seen = self.text[self.seen:at], at + len(wanted)
                    return before
                if self.text.find("Kernel panic", self.seen) >= 0:
                    raise Failed(f"the guest panicked before {wanted!r}")
                if self.ended or clock.seconds() >= timeout:
                    raise Failed(f"{'QEMU ended' if self.ended else 'timeout'} before {wanted!r}")
                self.changed.wait(0.5)

    def type(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()


def newc_member(name, path=None):
    """A member of a cpio archive that the kernel unpacks (its buffer-format.rst), executable."""
    content = b""
    if path:
        with open(path, "rb") as f:
            content = f.read()
    fields = [0, 0o100755 if path else 0, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0]
    head = b"070701" + "".join(f"{x:08x}" for x in fields).encode() + name.encode() + b"\0"
    return pad4(pad4(head) + content)


def pad4(data):
    return data + bytes(-len(data) % 4)


class Machine(Console):
    """One QEMU. Use it as a context manager: nothing outlives the block."""

    def __init__(self, machine, *arguments, append="", shell=False, drivers=None, programs=(),
                 kernel="vmlinuz", initramfs="initramfs", accel=ACCEL, pass_fds=(), sockets=None):
        self.dir = tempfile.TemporaryDirectory(prefix="userkvm-pc.")
        self.initramfs = initramfs
        # The watchdogs of the guest's kernel measure how busy the host is: a virtual processor may wait
        # for a real one for as long as they allow.
        boot = ["nowatchdog rcupdate.rcu_cpu_stall_suppress=1",
                "quiet userkvm.shell" if shell else "earlyprintk=ttyS0", append]
        self.command = ([USERKVM, "run", "--"] if accel.startswith("kvm") else []) + [
            "qemu-system-x86_64", "-accel", accel, "-M", machine,
            "-kernel", os.path.join(GUEST, kernel), "-initrd", self.initrd(drivers, programs),
            "-append", " ".join(["console=ttyS0"] + boot).strip(), "-nodefaults", "-nographic",
            "-serial", "stdio",
            "-qmp", f"unix:{self.socket_path('monitor')},server=on,wait=off"] + list(arguments)
        for name, options in (sockets or {}).items():
            self.command += ["-chardev", f"socket,id={name},path={self.socket_path(name)},{options}"]
        self.started = time.monotonic()
        super().__init__(subprocess.Popen(self.command, stdin=subprocess.PIPE,
                                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                          pass_fds=pass_fds))
        self._monitor = None

    def socket_path(self, name):
        return os.path.join(self.dir.name, name)

    def initrd(self, drivers, programs):
        """The initramfs, with an archive of drivers and with programs, which go to its /bin."""
        if not drivers and not programs:
            return os.path.join(GUEST, self.initramfs + ".gz")
        path = os.path.join(self.dir.name, "initrd")
        with open(path, "wb") as out:
            for name in [self.initramfs] + ([drivers] if drivers else []):
                with open(os.path.join(GUEST, name + ".gz"), "rb") as f:
                    out.write(f.read())
            # An archive that is not compressed would have to begin at a multiple of 4.
            out.write(gzip.compress(b"".join(
                [newc_member("bin/" + p, os.path.join(PROGRAMS, p)) for p in programs] +
                [newc_member("TRAILER!!!")]), 1))
        self.drivers = drivers
        return path

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind and issubclass(kind, Exception):
            print("--- the end of the console:\n" + self.text[-3000:] + "\n---", flush=True)
        self.process.kill()
        self.process.wait()
        self.dir.cleanup()

    @property
    def monitor(self):
        if not self._monitor:
            self._monitor = Monitor(self.socket_path("monitor"))
        return self._monitor

    def boot(self):
        """To the line that every boot test looks for; the seconds it took."""
        self.expect(UP, BOOT_TIMEOUT)
        return time.monotonic() - self.started

    def shell(self):
        """To the prompt of a guest that was given shell=True."""
        took = self.boot()
        self.expect(SHELL)
        self.expect(PROMPT)
        return took

    def sh(self, line, timeout=COMMAND_TIMEOUT):
        """A command in the guest's shell that must succeed; its output."""
        # The quotes tell what is printed from the line's own echo.
        self.type(f"echo be''gin; {line}; echo sta''tus $?")
        self.expect("begin\n")
        out = self.expect("status ", timeout)
        status = self.expect("\n")
        self.expect(PROMPT)
        if status != "0":
            raise Failed(f"{line!r} in the guest: status {status}: {out}")
        return out.strip()

    def load_drivers(self):
        self.sh(f"for m in $(cat /modules/{self.drivers}); do insmod /modules/$m || exit; done")

    def wait(self, timeout=COMMAND_TIMEOUT):
        """QEMU must end by itself, and well."""
        clock = Clock(self.process.pid)
        while (status := self.process.poll()) is None:
            check(clock.seconds() < timeout, "QEMU does not end")
            time.sleep(0.05)
        self.reader.join()
        if status:
            raise Failed(f"QEMU ended with status {status}")

    def power_off(self):
        self.type("exit")
        self.expect("reboot: Power down")
        self.wait()


def main(cases):
    """A test program of one argument, the case; without one, all of them."""
    names = sys.argv[1:] or list(cases)
    for name in names:
        if name not in cases:
            sys.exit(f"usage: {sys.argv[0]} [{' | '.join(cases)}]...")
        started = time.monotonic()
        try:
            cases[name]()
        except (Failed, OSError, subprocess.SubprocessError) as e:
            print(f"{name}: FAILED: {e}", flush=True)
            sys.exit(1)
        print(f"{name}: ok, {time.monotonic() - started:.1f} s", flush=True)
