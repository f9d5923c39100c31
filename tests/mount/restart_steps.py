"""The worker dies in front of each single step that outlives it (steps.c), one after the other, through a whole call
or several; whatever it was about has to come out as if it had not died. Behind it dies a second one at random."""
import errno
import fcntl
import mmap
import os
import random
import tempfile
import traceback

import common
from common import APACHE, t
from flags import set_flags
from lock_tools import Open, queue
from rename import EXCHANGE, renameat2
from restart import Own, crash
from restart_more import Call


CRASHED = "the worker crashed"


class Steps(Own):
    """A mount whose worker can be told when to die: `with Steps() as s`. s.d is its folder."""

    def __init__(self):
        self.file = tempfile.TemporaryFile(prefix="zkfs-steps-")
        self.file.truncate(mmap.PAGESIZE)
        self.word = memoryview(mmap.mmap(self.file.fileno(), mmap.PAGESIZE)).cast("Q")
        super().__init__("restarts=1000,timeo=30,timeout=30", program="tests/mount/zkfs_steps",
                         env={"ZKFS_STEPS": "/proc/%d/fd/%d" % (os.getpid(), self.file.fileno())})

    def __enter__(self):
        super().__enter__()
        self.arm(0, 0)
        return self

    def __exit__(self, *why):
        self.disarm()
        super().__exit__(*why)
        self.file.close()

    def arm(self, first, then):
        self.died = self.word[1]
        self.logged = self.m.log().count(CRASHED)
        self.word[0] = first | then << 32

    def disarm(self):
        """How many workers have died since it was armed."""
        self.word[0] = 0
        deaths = self.word[1] - self.died
        t.wait_for(lambda: self.m.log().count(CRASHED) >= self.logged + deaths, 20, "the supervisor knowing")
        return deaths

    def has_died(self):
        return self.word[1] > self.died

    def p(self, name):
        return os.path.join(self.m.path, name)

    def locks(self):
        """How many locks there are, of anybody."""
        return len(queue(self.d.zk))


def attempt(s, n, then, prepare, act, check, allowed):
    """One round of a sweep: the deaths that there were, and the errno."""
    name = "x%d-%d" % (n, then)
    what = prepare(s, name)
    s.arm(n, then)
    result, where = [], [""]

    def run():
        try:
            result.append(act(s, what))
        except OSError:
            where[0] = traceback.format_exc()
            raise
        finally:
            os.stat(s.m.path)  # behind it all of act's own steps are done
    errnum = Call(run).result()
    deaths = s.disarm()
    try:
        t.check(errnum in (0, *allowed) and (errnum != 0 or result), where[0])
        check(s, name, result[0] if result else None, errnum)
    except BaseException:
        t.note("death %d and %d\n%s" % (n, then, s.m.log()[-2000:]))
        raise
    return deaths, errnum


def sweep(prepare, act, check, allowed=()):
    """prepare(s, name) makes what act(s, what it gave) is about; check(s, name, act's result, its errno) looks at what
    became of it, and errno is 0 or one of `allowed`. Each is done for a name of its own, with a worker that dies later
    and later in act, until it does not."""
    seed = int.from_bytes(os.urandom(4), "little")
    t.note("seed %d" % seed)
    later = random.Random(seed)
    with Steps() as s:
        n, deaths, errors, successes = 0, 1, 0, 0
        while deaths > 0:
            n += 1
            for then in (0, later.randrange(1, 60)) if n % 3 == 0 else (0,):
                deaths, errnum = attempt(s, n, then, prepare, act, check, allowed)
                errors += errnum != 0
                successes += errnum == 0
        t.note("%d steps, %d errors" % (n - 1, errors))
        t.check(n > 5, "it did nothing")
        t.equal(errnum, 0, "without a death")
        t.check(successes * 3 > errors, "hardly anything but errors")


def sweep_twice(prepare, act, check, allowed, firsts, seconds):
    """Likewise, for each of these steps of a first worker with each of these of the next one."""
    with Steps() as s:
        for n in firsts:
            for then in seconds:
                attempt(s, n, then, prepare, act, check, allowed)


UNKNOWN = (errno.EIO,) if APACHE else ()  # what became of a write cannot be seen in the tree there


def writes(s, fd, *pieces):
    for piece in pieces:
        t.equal(os.write(fd, piece), len(piece))


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

    def check(s, name, value, errnum):
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


@t.test("crash at each step: a lock that is waited for, and upgraded")
def _():
    def prepare(s, name):
        s.d.zk.create(s.d.z(name), b"old")
        held, waits = os.open(s.p(name), os.O_RDWR), os.open(s.p(name), os.O_RDWR)
        fcntl.flock(held, fcntl.LOCK_EX)
        return held, waits

    def act(s, fds):
        held, waits = fds
        call = Call(lambda: fcntl.flock(waits, fcntl.LOCK_SH))
        t.wait_for(lambda: s.locks() == 2, 20, "the second lock")
        os.pwrite(held, b"new", 0)
        fcntl.flock(held, fcntl.LOCK_SH)
        t.equal(call.result(), 0)
        value = os.pread(waits, 20, 0)
        fcntl.flock(held, fcntl.LOCK_UN)
        fcntl.flock(waits, fcntl.LOCK_EX)
        common.fails_with(errno.EAGAIN, fcntl.flock, held, fcntl.LOCK_SH | fcntl.LOCK_NB)
        os.close(waits)
        fcntl.flock(held, fcntl.LOCK_EX)
        os.close(held)
        return value

    def check(s, name, value, errnum):
        t.equal(value, b"new")
        t.equal(s.d.version(name), 1)
        t.wait_for(lambda: s.locks() == 0, 10, "the end of all locks")
    sweep(prepare, act, check)


@t.test("crash at each step: fcntl locks of ranges, split and joined")
def _():
    def prepare(s, name):
        s.d.zk.create(s.d.z(name), b"")
        return Open(s.m, name), Open(s.m, name)

    def act(s, files):
        a, b = files
        t.check(a.ofd(fcntl.F_WRLCK, 0, 100) and b.ofd(fcntl.F_RDLCK, 200, 10))
        t.check(a.ofd(fcntl.F_UNLCK, 40, 20))
        t.check(not b.ofd(fcntl.F_RDLCK, 39, 1) and not b.ofd(fcntl.F_RDLCK, 60, 1))
        t.check(b.ofd(fcntl.F_WRLCK, 40, 20))
        t.check(a.ofd(fcntl.F_RDLCK, 0, 40))
        t.check(b.ofd(fcntl.F_RDLCK, 39, 1) and not b.ofd(fcntl.F_WRLCK, 39, 1))
        a.close()
        t.wait_for(lambda: b.ofd(fcntl.F_WRLCK, 0, 0), 10, "the end of the other's locks")
        b.close()
        return True

    def check(s, name, value, errnum):
        t.wait_for(lambda: s.locks() == 0, 10, "the end of all locks")
    sweep(prepare, act, check)


@t.test("crash at each step: a file is created, written, appended to, truncated and removed")
def _():
    def prepare(s, name):
        return s.p(name)

    def act(s, path):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        writes(s, fd, b"one\n")
        os.ftruncate(fd, 2)
        os.close(fd)
        fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        writes(s, fd, b"two\n")
        os.fsync(fd)
        writes(s, fd, b"three\n")
        os.close(fd)
        with open(path, "rb") as f:
            value = f.read()
        version = s.d.version(os.path.basename(path))
        os.truncate(path, 1)
        with open(path, "wb") as f:
            f.write(b"end")
        size = os.stat(path).st_size
        os.unlink(path)
        return value, version, size

    def check(s, name, result, errnum):
        if errnum == 0:
            t.equal(result, (b"ontwo\nthree\n", 4, 3))
            t.check(not s.d.zk.exists(s.d.z(name)))
    sweep(prepare, act, check, UNKNOWN)


@t.test("crash at each step: a long value, written in pieces")
def _():
    text = os.urandom(10000)

    def prepare(s, name):
        s.d.zk.create(s.d.z(name), b"old")
        return s.p(name)

    def act(s, path):
        with open(path, "r+b", buffering=0) as f:
            writes(s, f.fileno(), text[:4096], text[4096:8192], text[8192:])
            value = os.pread(f.fileno(), 20000, 0)
        fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
        writes(s, fd, text[:4096])
        os.close(fd)
        return value

    def check(s, name, value, errnum):
        if errnum == 0:
            t.equal(value, text)
            t.equal((s.d.get(name), s.d.version(name)), (text[:4096], 2))
        else:
            value = s.d.get(name)
            t.check(value in (b"old", text), "%d bytes that nobody wrote: %r" % (len(value), value[:10]))
    sweep(prepare, act, check, (errno.EIO,))


@t.test("crash at each step: pieces that are written by themselves behind O_TRUNC, and the value is never emptied")
def _():
    def prepare(s, name):
        s.d.zk.create(s.d.z(name), b"old")
        fd = os.open(s.p(name), os.O_WRONLY | os.O_TRUNC)
        writes(s, fd, b"x" * 4096)
        return name, fd

    def act(s, what):
        name, fd = what
        t.wait_for(lambda: s.has_died() or s.d.version(name) == 1, 20, "the commit")
        os.close(fd)
        return True

    def check(s, name, result, errnum):
        t.check(s.d.get(name) in ((b"x" * 4096,) if errnum == 0 else (b"old", b"x" * 4096)), s.d.get(name)[:10])
    sweep(prepare, act, check, (errno.EIO,))


@t.test("crash at each step: that pieces were lost is told, and once")
def _():
    def prepare(s, name):
        s.d.zk.create(s.d.z(name), b"old")
        fds = [os.open(s.p(name), os.O_WRONLY | how) for how in (0, os.O_TRUNC, 0)]
        for fd in fds:
            writes(s, fd, b"x" * 4096)
        crash(s.m)
        return fds

    def act(s, fds):
        common.fails_with(errno.EIO, os.fsync, fds[0])
        common.fails_with(errno.EIO, os.close, fds[1])
        common.fails_with(errno.EIO, os.write, fds[2], b"y")
        os.close(fds[0])
        os.close(fds[2])
        return True

    def check(s, name, result, errnum):
        t.equal((s.d.get(name), s.d.version(name)), (b"old", 0))
    sweep(prepare, act, check)


@t.test("crash at each step: a truncation that nothing follows, and one whose write is refused")
def _():
    def prepare(s, name):
        for file in (name, name + "b"):
            s.d.zk.create(s.d.z(file), b"old")
        return s.p(name)

    def act(s, path):
        fd = os.open(path + "b", os.O_WRONLY | os.O_TRUNC)
        common.fails_with(errno.EFBIG, os.pwrite, fd, b"x", 2 << 20)
        os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))
        os.close(fd)
        return True

    def check(s, name, result, errnum):
        t.wait_for(lambda: s.d.get(name) == b"", 10, "the truncation")
        t.equal((s.d.version(name), s.d.get(name + "b")), (1, b"old"))
    sweep(prepare, act, check)


@t.test("crash at each step: directories are made, listed and removed")
def _():
    def prepare(s, name):
        return s.p(name)

    def act(s, path):
        os.makedirs(path + "/a")
        found = os.listdir(path)
        common.fails_with(errno.ENOTEMPTY, os.rmdir, path)
        os.rmdir(path + "/a")
        os.rmdir(path)
        return found

    def check(s, name, found, errnum):
        if errnum == 0:
            t.equal(found, ["a"])
            t.check(not s.d.zk.exists(s.d.z(name)))
    sweep(prepare, act, check, UNKNOWN)


@t.test("crash at each step: a directory gets another name, and what is open in it goes along")
def _():
    def prepare(s, name):
        os.makedirs(s.p(name) + "/a")
        s.d.zk.create(s.d.z(name) + "/a/f", b"value")
        return s.p(name)

    def act(s, path):
        fd = os.open(path + "/a/f", os.O_RDWR)
        os.rename(path + "/a", path + "/b")
        value = os.pread(fd, 20, 0)
        os.pwrite(fd, b"V", 0)
        os.close(fd)
        common.fails_with(errno.ENOENT, os.rename, path + "/a", path + "/b")
        return value

    def check(s, name, value, errnum):
        if errnum == 0:
            t.equal(value, b"value")
        t.equal(s.d.zk.children(s.d.z(name)), ["b"])
        t.equal(s.d.get(name + "/b/f"), b"Value" if errnum == 0 else b"value")
    sweep(prepare, act, check, UNKNOWN)


@t.test("crash at each step: a file takes another's place, and two change places")
def _():
    def prepare(s, name):
        os.mkdir(s.p(name))
        for file in ("f", "g", "h"):
            s.d.zk.create("%s/%s" % (s.d.z(name), file), file.encode())
        return s.p(name)

    def act(s, path):
        f = os.open(path + "/f", os.O_RDWR)
        h = os.open(path + "/h", os.O_RDWR)
        os.rename(path + "/f", path + "/g")
        renameat2(path + "/g", path + "/h", EXCHANGE)
        os.pwrite(f, b"1", 1)
        os.pwrite(h, b"2", 1)
        values = os.pread(f, 20, 0), os.pread(h, 20, 0)
        os.close(f)
        os.close(h)
        return values

    def check(s, name, values, errnum):
        t.equal(sorted(s.d.zk.children(s.d.z(name))), ["g", "h"])
        if errnum == 0:
            t.equal(values, (b"f1", b"h2"))
            t.equal((s.d.get(name + "/g"), s.d.get(name + "/h")), (b"h2", b"f1"))
    sweep(prepare, act, check, UNKNOWN)


@t.test("crash at each step: a sequential ephemeral of a descriptor has its name, and ends with it")
def _():
    def prepare(s, name):
        os.mkdir(s.p(name))
        set_flags(s.p(name), "ephemeral sequential owner=open")
        return s.p(name)

    def act(s, path):
        fd = os.open(path + "/m-", os.O_RDWR | os.O_CREAT)
        name = os.getxattr("/dev/fd/%d" % fd, "user.zk.name").decode()
        writes(s, fd, b"me")
        for _ in range(3):
            os.fsync(fd)  # should somebody be about to remove it, it has gone then
        there = s.d.zk.children(s.d.z(os.path.basename(path)))
        os.close(fd)
        return name, there

    def check(s, name, result, errnum):
        if errnum == 0:
            t.equal(result, ("m-0000000000", ["m-0000000000"]))
        if errnum == 0 or not APACHE:  # else its name is not known, and it may stay as long as the session
            t.wait_for(lambda: s.d.zk.children(s.d.z(name)) == [], 10, "the end of the ephemeral")
            os.rmdir(s.p(name))  # each one whose flags are watched would be a step more for the next worker
    sweep(prepare, act, check, UNKNOWN)
    # Where the first has made it and not answered, the next one makes it again, and may die on the way, too.
    sweep_twice(prepare, act, check, UNKNOWN, range(22, 30), range(12, 30))


@t.test("crash at each step: a counter by compare-and-set")
def _():
    def prepare(s, name):
        s.d.zk.create(s.d.z(name), b"1")
        return name

    def act(s, name):
        path = "%s/.zk/version/0/%s" % (s.m.path, name)
        with open(path, "wb", buffering=0) as f:  # python's own buffer is written again after an error
            f.write(b"2")
        common.fails_with(errno.ESTALE, open, path, "r+")
        return True

    def check(s, name, result, errnum):
        t.equal((s.d.get(name), s.d.version(name)), (b"2", 1))
    sweep(prepare, act, check, UNKNOWN)


@t.test("crash at each step: a change that is waited for is seen, and its reader ends")
def _():
    def prepare(s, name):
        s.d.zk.create(s.d.z(name), b"1")
        return name

    def act(s, name):
        lines = []
        with open("%s/.zk/wait/newer/0/%s" % (s.m.path, name)) as f:
            call = Call(lambda: lines.append(f.read()))
            with open(s.p(name), "w") as out:
                out.write("2")
            t.equal(call.result(), 0)
        return lines[0]

    def check(s, name, line, errnum):
        t.check(line.endswith(" newer /%s\n" % name), line)
        t.equal(s.d.version(name), 1)
    sweep(prepare, act, check)


@t.test("crash at each step: a watch ends with its line or a gap")
def _():
    def prepare(s, name):
        s.d.zk.create(s.d.z(name), b"1")
        return name

    def act(s, name):
        with open("%s/.zk/watch/%s" % (s.m.path, name)) as f:
            with open(s.p(name), "a") as out:
                out.write("2")
            return f.read()

    def check(s, name, text, errnum):
        if errnum == 0:
            t.check(text == "- gap\n" or text.endswith(" changed /%s\n" % name), text)
            t.equal((s.d.get(name), s.d.version(name)), (b"12", 1))
    sweep(prepare, act, check, UNKNOWN)


@t.test("crash at each step: ephemerals of a caller and of a parent are there as long as these")
def _():
    def prepare(s, name):
        os.mkdir(s.p(name))
        for owner in ("caller", "parent"):
            os.mkdir("%s/%s" % (s.p(name), owner))
            set_flags("%s/%s" % (s.p(name), owner), "ephemeral owner=" + owner)
        return s.p(name)

    def act(s, path):
        return s.m.sh("cd %s && : > caller/x && mkdir parent/x && echo caller/* parent/*" % path)

    def check(s, name, there, errnum):
        t.equal(there, "caller/x parent/x\n")
        for owner in ("caller", "parent"):
            t.wait_for(lambda o=owner: s.d.zk.children(s.d.z(name) + "/" + o) == [], 10, "the end of the ephemerals")
    sweep(prepare, act, check)
