"""The worker dies in front of each single step that outlives it (steps.c), one after the other, through a whole call
or several; whatever it was about has to come out as if it had not died. Behind it dies a second one at random."""
import errno
import fcntl
import mmap
import os
import random
import struct
import tempfile

import common
from common import APACHE, Dir, mount, t
from lock_tools import LOCKS
from restart import source
from restart_more import Call


class Steps:
    """A mount whose worker can be told when to die: `with Steps() as s`. s.d is its folder."""

    def __enter__(self):
        self.d = Dir()
        self.d.__enter__()
        self.file = tempfile.TemporaryFile(prefix="zkfs-steps-")
        self.file.truncate(mmap.PAGESIZE)
        self.map = mmap.mmap(self.file.fileno(), mmap.PAGESIZE)
        env = {"ZKFS_STEPS": "/proc/%d/fd/%d" % (os.getpid(), self.file.fileno())}
        self.m = mount.Mount(source(self.d), "restarts=1000,timeo=30,timeout=30", env=env,
                             program="tests/mount/zkfs_steps")
        return self

    def __exit__(self, *why):
        self.arm(0, 0)
        try:
            self.m.close()
        finally:
            self.file.close()
            self.d.renew()
            self.d.__exit__(*why)

    def arm(self, first, then):
        self.map[:8] = struct.pack("ii", first, then)

    def left(self):
        return struct.unpack_from("ii", self.map)

    def p(self, name):
        return os.path.join(self.m.path, name)

    def locks(self):
        """How many locks there are, of anybody."""
        try:
            self.d.zk.sync()
            return sum(len(self.d.zk.children(LOCKS + "/" + x)) for x in self.d.zk.children(LOCKS))
        except t.ZkError:
            return 0


def sweep(prepare, act, check):
    """prepare(s, name) makes what act(s, what it gave) is about; check(s, name, its result) looks at what became of
    it. Each is done for a name of its own, with a worker that dies later and later in act, until it does not."""
    seed = int.from_bytes(os.urandom(4), "little")
    t.note("seed %d" % seed)
    random_steps = random.Random(seed)
    with Steps() as s:
        n, deaths = 0, 1
        while deaths > 0:
            n += 1
            for then in (0, random_steps.randrange(1, 60)):
                name = "x%d-%d" % (n, then)
                what = prepare(s, name)
                before = s.m.log().count("the worker crashed")
                s.arm(n, then)
                result = []

                def run():
                    result.append(act(s, what))
                    os.stat(s.m.path)  # behind it all of act's own steps are done
                call = Call(run)
                where = "death %d and %d\n%s" % (n, then, s.m.log()[-2000:])
                errnum = call.result()
                s.arm(0, 0)
                t.check(errnum == 0 and result, "%s in %s" % (os.strerror(errnum), where))
                deaths = s.m.log().count("the worker crashed") - before
                try:
                    check(s, name, result[0])
                except BaseException:
                    t.note(where)
                    raise
        t.note("%d steps" % (n - 1))
        t.check(n > 10, "it did nothing")


def lock_round(take):
    def prepare(s, name):
        s.d.zk.create(s.d.z(name), b"old")
        fd = os.open(s.p(name), os.O_RDWR)
        s.d.zk.set(s.d.z(name), b"7")  # by who had the lock before
        return fd

    def act(s, fd):
        take(fd, fcntl.LOCK_EX)
        value = os.pread(fd, 20, 0)
        os.pwrite(fd, b"%d\n" % (int(value) + 1), 0)
        os.close(fd)
        return value

    def check(s, name, value):
        t.equal(value, b"7")
        t.equal(s.d.get(name), b"8\n")
        t.equal(s.d.version(name), 2)
        t.wait_for(lambda: s.locks() == 0, 10, "the end of all locks")
    sweep(prepare, act, check)


@t.test("crash at each step: a value that is read and written under flock")
def _():
    lock_round(fcntl.flock)


@t.test("crash at each step: a value that is read and written under fcntl")
def _():
    lock_round(fcntl.lockf)
