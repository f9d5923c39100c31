"""What the tests of locks share: several mounts, each a zkfs of its own, on one server; who holds, who waits."""
import errno
import fcntl
import os
import signal
import struct
import traceback

import common
from common import mount, t

LOCKS = "/zookeeper/zkfs/locks"


def queue(zk):
    """The znodes of all locks, in the order of their numbers."""
    def children(path):
        try:
            return zk.children(path)
        except t.ZkError:
            return []  # there is none yet, or it has been removed meanwhile
    zk.sync()
    return sorted((n for d in children(LOCKS) for n in children(LOCKS + "/" + d)), key=lambda n: n[-10:])


class Hosts:
    """A server and so many mounts of it, each with the same empty file f."""

    def __init__(self, count=2, options="timeo=10", **config):
        self.count = count
        self.options = options
        self.config = config

    def __enter__(self):
        self.server = mount.new_server(common.FAULT_PORT, **self.config)
        self.mounts = [mount.Mount("127.0.0.1:%d" % common.FAULT_PORT, self.options)
                       for _ in range(self.count)]
        self.mounts[0].sh("touch f")
        self.zk = t.Session(common.FAULT_PORT, timeout_ms=60000)
        return self

    def __exit__(self, *_):
        if self.server.process.poll() is None:
            self.server.process.send_signal(signal.SIGCONT)
        self.zk.sock.close()
        try:
            for m in self.mounts:
                m.close()
        finally:
            self.server.close()

    def queue(self):
        return queue(self.zk)

    def wait_queue(self, count):
        t.wait_for(lambda: len(self.queue()) == count, 20, "%d locks in the queue" % count)
        return self.queue()


class Open:
    """A descriptor of a file of a mount, in this process."""

    def __init__(self, m, name="f", flags=os.O_RDWR):
        self.fd = os.open(os.path.join(m.path, name), flags)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    def flock(self, operation):
        fcntl.flock(self.fd, operation)

    def try_flock(self, operation):
        """Whether it is granted without waiting."""
        return succeeds(fcntl.flock, self.fd, operation | fcntl.LOCK_NB)

    def ofd(self, kind, start=0, length=0, command=fcntl.F_OFD_SETLK):
        """An open file description's lock; False when another has it; with GETLK the type of the other's."""
        lock = struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0)
        try:
            return struct.unpack("hhqqi4x", fcntl.fcntl(self.fd, command, lock))
        except OSError as e:
            t.check(e.errno in (errno.EAGAIN, errno.EACCES), e)
            return False


def succeeds(fn, *args):
    try:
        fn(*args)
        return True
    except OSError as e:
        t.check(e.errno in (errno.EAGAIN, errno.EACCES), e)
        return False


def holder(m, options="", name="f", command="cat"):
    """flock(1) that has the lock until its standard input, or it itself, is ended."""
    return start(m, "exec flock %s %s sh -c 'echo locked; exec %s'" % (options, name, command))


def start(m, command):
    return mount.subprocess.Popen(["bash", "-c", command], cwd=m.path, start_new_session=True,
                                  stdin=mount.subprocess.PIPE, stdout=mount.subprocess.PIPE,
                                  stderr=mount.subprocess.STDOUT, text=True)


def wait_locked(process):
    line = process.stdout.readline()
    t.equal(line, "locked\n", "what the holder prints")


def end(process, timeout=20):
    """Lets a holder go; its status."""
    process.stdin.close()
    status = process.wait(timeout)
    process.stdout.close()
    return status


def kill(process, signum=signal.SIGKILL):
    os.killpg(process.pid, signum)
    process.stdin.close()
    process.stdout.close()
    process.wait(10)


class Child:
    """fn(self) in a process of its own; it tells lines, and waits to be told."""

    def __init__(self, fn):
        self.answers, tell = os.pipe()
        hear, self.orders = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                os.close(self.answers)
                os.close(self.orders)
                self.tell = lambda text: os.write(tell, (text + "\n").encode())
                self.hear = lambda: os.read(hear, 1)
                fn(self)
                status = 0
            except BaseException as e:
                where = traceback.extract_tb(e.__traceback__)[-1]
                os.write(2, ("# in a child: %r in line %d: %s\n" % (e, where.lineno, where.line)).encode())
            finally:
                os._exit(status)
        os.close(tell)
        os.close(hear)
        self.out = os.fdopen(self.answers)

    def line(self):
        return self.out.readline().strip()

    def go(self):
        os.write(self.orders, b"x")

    def end(self, want=0):
        os.close(self.orders)
        _, status = os.waitpid(self.pid, 0)
        self.out.close()
        t.equal(os.waitstatus_to_exitcode(status), want, "status of a child")

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        self.end(-signal.SIGKILL)
