# SPDX-License-Identifier: MIT
"""The guest that the programs here boot: Debian's kernel, with the bench's own rows and programs as Debian ships
them (bench/guests/root), in QEMU under userkvm or under QEMU's own TCG."""
import atexit
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
BENCH = os.environ.get('BENCH_ROOT', os.path.join(TOP, 'cache', 'bench'))
GUEST = os.environ.get('GUEST', os.path.join(TOP, 'cache', 'guest'))
ALL = os.path.join(BENCH, 'initramfs')
SMALL = os.path.join(BENCH, 'initramfs-small')
Q35 = ['-M', 'q35', '-smp', '2', '-m', '1024']
# A network whose other end is a stream of zeroes.
NET = ['-netdev', 'user,id=n,guestfwd=tcp:10.0.2.100:80-cmd:head -c 67108864 /dev/zero',
       '-device', 'virtio-net-pci,netdev=n']
LIMIT = 1200  # seconds for one guest; nothing takes nearly as long


def make_ready(rows):
    """`rows` is the program of rows.c. What is said meanwhile goes to stderr: stdout is for figures."""
    for command in ([os.path.join(TOP, 'tools', 'guest')], [os.path.join(HERE, 'root'), rows]):
        subprocess.run(command, stdout=sys.stderr, check=True)


def names_of(program, which='-l'):
    return subprocess.run([program, which], stdout=subprocess.PIPE, text=True, check=True).stdout.split()


def names_of_programs():
    return names_of(os.path.join(HERE, 'work'))


def under(userkvm, *options):
    """What stands before a command that runs under userkvm."""
    return [userkvm, 'run', *options, '--']


def qemu(run, initramfs, machine, append=''):
    """QEMU's command. `run` is what under() gives; without it, TCG gets the processor model that
    gives it most."""
    accel = ['-accel', 'kvm', '-cpu', 'host'] if run else ['-accel', 'tcg', '-cpu', 'max']
    return [*run, 'qemu-system-x86_64', *accel, *machine, '-nodefaults', '-nographic', '-no-reboot', '-serial', 'stdio',
            '-kernel', os.path.join(GUEST, 'vmlinuz'), '-initrd', initramfs,
            '-append', f'console=ttyS0 quiet panic=-1 {append}']


class Guest:
    """A guest, and when it was started."""

    def __init__(self, command):
        self.command = command
        self.start = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        errors='replace')
        atexit.register(self.process.terminate) # when another one has failed

    def seconds_to(self, wanted):
        """From its start until it says so. The firmware's escape sequences may stand before that."""
        self.line(lambda line: wanted in line)
        return time.monotonic() - self.start

    def line(self, is_it):
        for line in self.process.stdout:
            if is_it(line):
                return line
        sys.exit(f'the guest did not finish: {" ".join(self.command)}')

    def row(self, name, ask=True):
        """The seconds of a row."""
        if ask:
            self.tell(name)
        return float(self.line(lambda line: line.startswith(f'row {name} ')).split()[2])

    def tell(self, text):
        self.process.stdin.write(text + '\n')
        self.process.stdin.flush()

    def end(self):
        self.process.stdin.close()
        self.process.stdout.read()
        self.process.wait(LIMIT)
