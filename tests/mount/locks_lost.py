"""Locks while the server is away, and after the session has expired."""
import errno
import fcntl
import os
import signal
import time

import common
import fault
from common import mount, t
from gate import Gate
from lock_tools import LOCKS, Hosts, Open, Child, holder, wait_locked, end, kill


@t.test("a lock outlives a lost connection; waiters go on waiting beyond timeo, and get it")
def _():
    with Hosts(2, "timeo=1,timeout=20") as h:
        with Open(h.mounts[0]) as a:
            a.flock(fcntl.LOCK_EX)
            os.pwrite(a.fd, b"v", 0)
            waiter = holder(h.mounts[1])
            h.wait_queue(2)
            h.server.kill()
            time.sleep(2.5)  # longer than timeo
            t.check(waiter.poll() is None, "it waits")
            h.server.start()
            h.zk = t.Session(common.FAULT_PORT, timeout_ms=60000)
            t.equal(len(h.wait_queue(2)), 2)
            os.pwrite(a.fd, b"w", 0)
            a.flock(fcntl.LOCK_UN)
            wait_locked(waiter)
            h.server.kill()
            began = time.monotonic()
            common.fails_with(errno.EIO, a.flock, fcntl.LOCK_EX)
            t.check(time.monotonic() - began < 20, "what was never sent fails after timeo")
            t.check(h.mounts[0].run("flock -n f true")[0] != 0)
            h.server.start()
            h.zk = t.Session(common.FAULT_PORT, timeout_ms=60000)
            t.equal(end(waiter), 0)
            h.wait_queue(0)


@t.test("waiters can be killed while the server is away, and are gone from the queue when it is back")
def _():
    with Hosts(2, "timeo=60,timeout=30") as h:
        with Open(h.mounts[0]) as a:
            a.flock(fcntl.LOCK_EX)
            waiters = [holder(h.mounts[1]) for _ in range(3)]
            h.wait_queue(4)
            fault.stop(h.server)
            began = time.monotonic()
            for w in waiters:
                kill(w)
            t.check(time.monotonic() - began < 20, "they end at once")
            fault.go_on(h.server)
            h.wait_queue(1)


@t.test("an expired session has lost its locks: the holder's descriptor fails, a waiter queues up anew")
def _():
    with Hosts(2, "timeo=20,timeout=1", minSessionTimeout=500) as h:
        a, b = h.mounts
        a.sh("touch g h")
        held, other, waits = Open(a), Open(a), Open(a, "g")
        held.flock(fcntl.LOCK_EX)
        with Open(b, "g") as g, Open(b) as f:
            g.flock(fcntl.LOCK_EX)
            waiter = holder(a, name="g")
            h.wait_queue(3)
            os.pwrite(held.fd, b"x" * 4096, 0)  # held back
            with a.paused():
                f.flock(fcntl.LOCK_EX)  # when the session has expired
                os.pwrite(f.fd, b"mine", 0)
            t.wait_for(lambda: "expired" in a.log(), 20, "the expiry told")
            common.fails_with(errno.ESTALE, os.pwrite, held.fd, b"x", 0)
            common.fails_with(errno.EIO, os.pread, held.fd, 1, 0)
            common.fails_with(errno.ESTALE, os.ftruncate, held.fd, 0)
            common.fails_with(errno.ESTALE, held.flock, fcntl.LOCK_EX)
            common.fails_with(errno.ESTALE, held.flock, fcntl.LOCK_UN)
            common.fails_with(errno.ESTALE, fcntl.lockf, held.fd, fcntl.LOCK_SH)
            os.pread(other.fd, 1, 0)
            t.check(not other.try_flock(fcntl.LOCK_SH), "b has it")
            t.equal(os.pread(f.fd, 100, 0), b"mine")
            h.wait_queue(3)
            b.sh("cat f", "mine")
            g.flock(fcntl.LOCK_UN)
            wait_locked(waiter)
            t.equal(b.run("flock -n g true")[0], 1)
            t.equal(end(waiter), 0)
            t.check("a lock was lost" in a.log(), a.log())
        try:
            held.close()
        except OSError as e:
            t.equal(e.errno, errno.ESTALE)
        other.close()
        waits.close()
        a.sh("flock -n f true && echo ok > f && cat f", "ok\n")


@t.test("a write of a holder that waits for a server is not made after its session has expired")
def _():
    with Hosts(2, "timeo=30,timeout=1", minSessionTimeout=500) as h:
        a, b = h.mounts

        def write(me):
            fd = os.open(a.path + "/f", os.O_RDWR | os.O_TRUNC)
            fcntl.flock(fd, fcntl.LOCK_EX)
            os.pwrite(fd, b"0", 0)
            me.tell("locked")
            me.hear()
            try:
                os.pwrite(fd, b"late", 0)
                me.tell("written")
            except OSError as e:
                me.tell(errno.errorcode[e.errno])
        child = Child(write)
        t.equal(child.line(), "locked")
        # The connection is cut for as long as it takes: the mount's packets go nowhere.
        os.kill(a.worker(), signal.SIGSTOP)
        child.go()
        with Open(b) as f:
            f.flock(fcntl.LOCK_EX)
            before = h.zk.get("/f")
            os.kill(a.worker(), signal.SIGCONT)
            t.check(child.line() in ("ESTALE", "EIO"))
            t.equal(h.zk.get("/f"), before)
        child.end()


@t.test("sessions that expire again and again under contenders: who lost a lock is told, all others go on")
def _():
    with Hosts(3, "timeo=30,timeout=1", minSessionTimeout=500) as h:
        def contend(m):
            def work(me):
                lost = 0
                for i in range(20):
                    fd = os.open(m.path + "/f", os.O_RDWR)
                    try:
                        fcntl.flock(fd, (fcntl.LOCK_EX, fcntl.LOCK_SH)[i % 2])
                        fcntl.lockf(fd, fcntl.LOCK_EX, 10, 0)
                        fcntl.lockf(fd, fcntl.LOCK_UN, 2, 4)
                        fcntl.lockf(fd, fcntl.LOCK_SH, 12, 0)
                        os.pwrite(fd, b"%d" % i, 0)
                        time.sleep(0.02)
                        fcntl.flock(fd, fcntl.LOCK_UN)
                    except OSError as e:
                        if e.errno not in (errno.ESTALE, errno.EIO, errno.EDEADLK):
                            raise
                        lost += 1
                    finally:
                        try:
                            os.close(fd)
                        except OSError as e:
                            t.check(e.errno in (errno.ESTALE, errno.EIO), e)
                me.tell("done %d" % lost)
            return work
        workers = [Child(contend(m)) for m in h.mounts * 2]
        for i in range(4):
            m = h.mounts[i % 2]
            expired = m.log().count("expired")
            m.sh("touch g%d" % i)
            with Open(m, "g%d" % i, os.O_RDONLY) as mine, Open(h.mounts[2], "g%d" % i, os.O_RDONLY) as f:
                mine.flock(fcntl.LOCK_EX)
                with m.paused():
                    f.flock(fcntl.LOCK_EX)  # when the stopped one's session has expired
                t.wait_for(lambda: m.log().count("expired") > expired, 20, "the expiry told")
        t.equal([c.line().split()[0] for c in workers], ["done"] * 6)
        for c in workers:
            c.end()
        h.wait_queue(0)
        for m in h.mounts:
            m.sh("flock -n f true")


@t.test("a lock whose creation is under way at the umount: the mount ends as ever")
def _():
    with Hosts(1) as h:
        gate = Gate(common.FAULT_PORT)
        m = mount.Mount("127.0.0.1:%d" % gate.port, "timeo=20,timeout=20")
        try:
            m.sh("flock f true")
            gate.hold = Gate.CREATE2
            waiter = holder(m)
            t.check(gate.held.wait(10), "the create came")
            m.process.send_signal(signal.SIGTERM)
            time.sleep(1.3)  # calls have a second to end
            gate.hold = None
            gate.go.set()
            t.equal(m.process.wait(20), 0, m.log()[-2000:])
            kill(waiter)
            h.wait_queue(0)
        finally:
            gate.close()
            m.close()


@t.test("an expired session: a process is told through each descriptor that it locked with, and lets go of the others")
def _():
    with Hosts(2, "timeo=20,timeout=1", minSessionTimeout=500) as h:
        a, b = h.mounts

        def work(me):
            first, second, third = (os.open(a.path + "/f", os.O_RDWR) for _ in range(3))
            fcntl.lockf(first, fcntl.LOCK_EX)
            fcntl.lockf(second, fcntl.LOCK_EX)  # it is locked already
            me.tell("locked")
            me.hear()
            for fd in (first, second):
                common.fails_with(errno.ESTALE, os.pwrite, fd, b"x", 0)
            fcntl.lockf(third, fcntl.LOCK_EX)
            me.tell("again")
            me.hear()
            common.fails_with(errno.ESTALE, fcntl.lockf, first, fcntl.LOCK_UN)
            me.tell("unlocked")
            me.hear()
        child = Child(work)
        t.equal(child.line(), "locked")
        with a.paused():
            other = Child(lambda me: (fcntl.lockf(os.open(b.path + "/f", os.O_RDWR), fcntl.LOCK_EX), me.tell("got")))
            t.equal(other.line(), "got")
            other.end()
        t.wait_for(lambda: "expired" in a.log(), 20, "the expiry told")
        child.go()
        t.equal(child.line(), "again")
        h.wait_queue(1)
        child.go()
        t.equal(child.line(), "unlocked")
        h.wait_queue(0)
        child.go()
        child.end()


@t.test("a range lock whose znode was removed by hand: found out when it is changed, and what was held back is dropped")
def _():
    with Hosts(1) as h:
        m, = h.mounts

        def work(me):
            first, second = (os.open(m.path + "/f", os.O_RDWR) for _ in range(2))
            fcntl.lockf(first, fcntl.LOCK_EX)
            fcntl.lockf(second, fcntl.LOCK_EX)
            me.tell("locked")
            me.hear()
            os.pwrite(second, b"x" * 4096, 0)  # a whole page: held back
            common.fails_with(errno.ESTALE, fcntl.lockf, first, fcntl.LOCK_UN, 10, 10)
            me.tell("lost")
            me.hear()
            common.fails_with(errno.ESTALE, os.fsync, second)
        child = Child(work)
        t.equal(child.line(), "locked")
        folder, = h.zk.children(LOCKS)
        lock, = h.queue()
        h.zk.delete("%s/%s/%s" % (LOCKS, folder, lock))
        child.go()
        t.equal(child.line(), "lost")
        time.sleep(1.5)  # nothing is held back for longer
        t.equal(h.zk.get("/f")[0], b"")
        child.go()
        child.end()
        h.wait_queue(0)
