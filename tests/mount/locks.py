"""flock(2) between mounts, what a lock does to its descriptor, and programs that use locks."""
import ctypes
import errno
import fcntl
import os
import signal
import threading
import time

import common
from common import mount, t
from gate import Gate
from lock_tools import Hosts, LOCKS, Open, Child, holder, start, wait_locked, end, kill


@t.test("flock: an exclusive lock keeps other mounts out, -n fails, -w gives up, and they follow when it ends")
def _():
    with Hosts(3) as h:
        a, b, c = h.mounts
        first = holder(a)
        wait_locked(first)
        for m in h.mounts:
            t.equal(m.run("flock -n f true")[0], 1)
            t.equal(m.run("flock -n -s f true")[0], 1)
            t.equal(m.run("flock -w 0.3 f true")[0], 1)
        t.equal(len(h.queue()), 1)
        second, third = holder(b), None
        h.wait_queue(2)
        third = holder(c)
        h.wait_queue(3)
        t.equal(end(first), 0)
        wait_locked(second)
        t.equal(len(h.wait_queue(2)), 2)
        t.equal(end(second), 0)
        wait_locked(third)
        t.equal(end(third), 0)
        h.wait_queue(0)
        a.sh("flock -n f true")


@t.test("the directory of a file's locks is the server's to remove, and made again for the next lock")
def _():
    with Hosts(2, **mount.FAST) as h:
        a, b = h.mounts
        for m in (a, b, a):
            m.sh("flock -n f true")
            t.wait_for(lambda: h.zk.children(LOCKS) == [], 10, "the end of the directory of locks")
        first = holder(a)
        wait_locked(first)
        t.equal(len(h.zk.children(LOCKS)), 1)
        t.equal(end(first), 0)
        t.wait_for(lambda: h.zk.children(LOCKS) == [], 10, "the end of the directory of locks")


@t.test("flock: readers share, a writer waits for all of them, later readers wait behind it")
def _():
    with Hosts(3) as h:
        a, b, c = h.mounts
        readers = [holder(a, "-s"), holder(b, "-s")]
        for r in readers:
            wait_locked(r)
        t.equal(c.run("flock -n f true")[0], 1)
        c.sh("flock -n -s f true")
        h.wait_queue(2)
        writer = holder(c, "-x")
        h.wait_queue(3)
        late = holder(a, "-s")
        h.wait_queue(4)
        t.equal(end(readers[0]), 0)
        t.equal([n.partition("-")[0] for n in h.wait_queue(3)], ["read", "write", "read"])
        t.equal(end(readers[1]), 0)
        wait_locked(writer)
        h.wait_queue(2)
        t.equal(end(writer), 0)
        wait_locked(late)
        t.equal(end(late), 0)


@t.test("flock: conversions up and down, unlock, and the failed non-blocking one that loses the lock")
def _():
    with Hosts() as h:
        with Open(h.mounts[0]) as a, Open(h.mounts[1]) as b, Open(h.mounts[1]) as b2:
            a.flock(fcntl.LOCK_EX)
            a.flock(fcntl.LOCK_EX)
            t.equal(len(h.queue()), 1)
            t.check(not b.try_flock(fcntl.LOCK_SH))
            a.flock(fcntl.LOCK_SH)
            t.check(b.try_flock(fcntl.LOCK_SH))
            t.check(not a.try_flock(fcntl.LOCK_EX), "b reads")
            t.equal(len(h.wait_queue(1)), 1, "a has lost its own")
            t.check(b.try_flock(fcntl.LOCK_EX))
            t.check(not b2.try_flock(fcntl.LOCK_SH), "another open file of the same mount")
            b.flock(fcntl.LOCK_UN)
            b.flock(fcntl.LOCK_UN)
            h.wait_queue(0)
            t.check(b2.try_flock(fcntl.LOCK_EX))
            b2.flock(fcntl.LOCK_UN)
            copy = os.dup(a.fd)
            a.flock(fcntl.LOCK_EX)
            a.close()
            t.check(not b.try_flock(fcntl.LOCK_SH), "a copy of the descriptor keeps the lock")
            os.close(copy)
            t.wait_for(lambda: b.try_flock(fcntl.LOCK_SH), 10, "the lock after the last close")


@t.test("flock(1) on a descriptor: -u lets go, children that inherited it keep it")
def _():
    with Hosts() as h:
        a, b = h.mounts
        w = start(a, "exec 9<f; flock 9; echo locked; read x; flock -u 9; echo free; read x")
        wait_locked(w)
        t.equal(b.run("flock -n f true")[0], 1)
        w.stdin.write("\n")
        w.stdin.flush()
        t.equal(w.stdout.readline(), "free\n")
        b.sh("flock -n f true")
        end(w)
        w = start(a, "exec 9<f; flock 9; sleep 100 & echo locked; read x")
        wait_locked(w)
        w.stdin.write("\n")
        w.stdin.flush()
        w.wait(10)
        t.equal(b.run("flock -n f true")[0], 1, "the child has it")
        kill(w)
        t.wait_for(lambda: b.run("flock -n f true")[0] == 0, 10, "the lock")


@t.test("locks of a holder and of a waiter that are killed, of a zkfs that is killed, and of an unmounted one are let go")
def _():
    with Hosts(3, "timeo=10,timeout=2", minSessionTimeout=500) as h:
        a, b, c = h.mounts
        first, waiter, last = holder(a), None, None
        wait_locked(first)
        waiter = holder(b)
        h.wait_queue(2)
        last = holder(c)
        h.wait_queue(3)
        kill(waiter)
        h.wait_queue(2)
        kill(first)
        wait_locked(last)
        for signum in (signal.SIGTERM, signal.SIGINT):
            waiter = holder(b)
            h.wait_queue(2)
            kill(waiter, signum)
            h.wait_queue(1)
        waiter = holder(b)
        h.wait_queue(2)
        c.kill_all()  # its session ends by its timeout
        wait_locked(waiter)
        kill(last)
        last = holder(a)
        h.wait_queue(2)
        mount.subprocess.run(["umount", "-l", b.path], check=True)
        b.process.terminate()
        wait_locked(last)
        kill(waiter)
        end(last)


@t.test("a signal that is caught ends a flock(2) that waits, at once")
def _():
    with Hosts() as h:
        with Open(h.mounts[0]) as a:
            a.flock(fcntl.LOCK_EX)
            out = h.mounts[1].sh("""python3 - <<'END'
import ctypes, os, signal, time
libc = ctypes.CDLL(None, use_errno=True)
signal.signal(signal.SIGALRM, lambda *_: None)
signal.siginterrupt(signal.SIGALRM, True)
fd = os.open("f", os.O_RDONLY)
signal.setitimer(signal.ITIMER_REAL, 0.3)
began = time.monotonic()
r = libc.flock(fd, 2)
print(r, ctypes.get_errno(), time.monotonic() - began < 1)
END""")
            t.equal(out, "-1 %d True\n" % errno.EINTR)
            t.equal(len(h.wait_queue(1)), 1)


@t.test("a descriptor that gets a lock sees what its last holder wrote, though it was opened before")
def _():
    with Hosts() as h:
        with Open(h.mounts[0]) as a, Open(h.mounts[1]) as b:
            a.flock(fcntl.LOCK_EX)
            os.pwrite(a.fd, b"x" * 4096, 0)  # whole pieces are held back (docs/fs-semantics.md)
            a.flock(fcntl.LOCK_UN)
            b.flock(fcntl.LOCK_EX)
            t.equal(os.pread(b.fd, 10000, 0), b"x" * 4096)
            os.pwrite(b.fd, b"two", 0)
            os.ftruncate(b.fd, 3)
            b.flock(fcntl.LOCK_UN)
            fcntl.lockf(a.fd, fcntl.LOCK_EX)
            os.pwrite(a.fd, b"T", 0)
            t.equal(os.pread(a.fd, 100, 0), b"Two")
            b.close()
        h.mounts[0].sh("cat f", "Two")


@t.test("a counter under flock, with descriptors that stay open, counts each round over three mounts")
def _():
    with Hosts(3) as h:
        h.mounts[0].sh("echo 0 > f")

        def count(m):
            def work(me):
                fd = os.open(m.path + "/f", os.O_RDWR)
                for _ in range(30):
                    fcntl.flock(fd, fcntl.LOCK_EX)
                    n = int(os.pread(fd, 100, 0))
                    os.pwrite(fd, b"%d\n" % (n + 1), 0)
                    fcntl.flock(fd, fcntl.LOCK_UN)
            return work
        for child in [Child(count(m)) for m in h.mounts * 2]:
            child.end()
        h.mounts[0].sh("cat f", "180\n")


@t.test("user.zk.fence of a locked file is greater for each later holder")
def _():
    with Hosts() as h:
        fences = []
        plain = h.mounts[0].sh("getfattr --only-values -n user.zk.fence f")
        for m in h.mounts * 2:
            fences.append(int(m.sh("flock f getfattr --only-values -n user.zk.fence f")))
        t.equal(fences, sorted(set(fences)))
        t.check(fences[0] > int(plain))
        t.equal(h.mounts[0].sh("getfattr --only-values -n user.zk.fence f"), plain)
        t.equal(h.mounts[0].sh("flock -s f getfattr --only-values -n user.zk.fence f"), plain)


@t.test("sqlite: two mounts write one database, and each sees what the other wrote")
def _():
    with Hosts() as h:
        script = """python3 - <<'END'
import sqlite3
db = sqlite3.connect("t.db", timeout=60)
for i in range(10):
    with db:
        db.execute("BEGIN IMMEDIATE")
        db.execute("CREATE TABLE IF NOT EXISTS t (n INTEGER)")
        db.execute("INSERT INTO t SELECT count(*) FROM t")
db.close()
END"""
        both = [m.start(script) for m in h.mounts]
        for m, p in zip(h.mounts, both):
            status, _, err = m.finish(p, 90)
            t.equal(status, 0, err)
        out = h.mounts[0].sh("""python3 -c '
import sqlite3
db = sqlite3.connect("t.db")
print([r[0] for r in db.execute("SELECT n FROM t ORDER BY n")] == list(range(20)))
print(db.execute("PRAGMA integrity_check").fetchone()[0])'""")
        t.equal(out, "True\nok\n")


@t.test("git: init, add, commit, and a clone")
def _():
    with Hosts(1) as h:
        h.mounts[0].sh("""set -e
export HOME=$PWD GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a
export GIT_COMMITTER_EMAIL=a@b
git init -q r; cd r
for i in 1 2 3; do echo $i > f$i; git add .; git commit -qm "c$i"; done
test $(git log --oneline | wc -l) = 3
git status --porcelain | wc -l | grep -qx 0
cd ..; git clone -q r s; test "$(cat s/f3)" = 3; git -C s fsck""", timeout=120)


@t.test("a lock file in a directory that is renamed, deleted, or in a subtree's mount")
def _():
    with Hosts() as h:
        a, b = h.mounts
        a.sh("mkdir d && touch d/g")
        sub = mount.Mount("127.0.0.1:%d/d" % common.FAULT_PORT, "timeo=10")
        with Open(a, "d/g") as f, Open(sub, "g") as g:
            f.flock(fcntl.LOCK_EX)
            t.check(not g.try_flock(fcntl.LOCK_SH), "the same file in a mount of a part")
            b.sh("rm d/g")
            t.check(not g.try_flock(fcntl.LOCK_SH), "a deleted file's lock holds for those who have it open")
            f.flock(fcntl.LOCK_UN)
            t.check(g.try_flock(fcntl.LOCK_SH))
            b.sh("touch d/g && flock -n d/g true")
        sub.close()


@t.test("the first read behind a lock follows a rename that is under way through the same mount")
def _():
    with Hosts(2) as h:
        gate = Gate(common.FAULT_PORT)
        m = mount.Mount("127.0.0.1:%d" % gate.port, "timeo=20,timeout=20")
        try:
            m.sh("echo old > f")
            with Open(m) as f:
                h.mounts[1].sh("echo new > f")
                f.flock(fcntl.LOCK_EX)
                gate.hold = Gate.MULTI
                mv = m.start("mv f g")
                t.check(gate.held.wait(10), "the rename came")
                read = []
                reader = threading.Thread(target=lambda: read.append(os.pread(f.fd, 10, 0)))
                reader.start()
                time.sleep(0.3)  # its request stands behind the rename
                gate.hold = None
                gate.go.set()
                reader.join(20)
                t.equal(m.finish(mv, 20)[0], 0)
                t.equal(read, [b"new\n"])
        finally:
            gate.close()
            m.close()
