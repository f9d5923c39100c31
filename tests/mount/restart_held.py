"""A crash of the worker under what the session holds for its callers: locks, ephemerals with an owner, streams."""
import errno
import fcntl
import os
import random
import select
import signal
import subprocess
import time

import common
from common import mount, t
from fault import Faulty, go_on, stop
from flags import set_flags
from gate import Gate, Gated, Script
from lock_tools import Child, Hosts, Open, end, holder, kill, wait_locked
from restart import Own, crash, done_unheard, in_flight
from streams import output, parked, waits

OPTIONS = "timeo=20,timeout=20,restarts=1000"


def lock(fd, kind, start, length, wait=False):
    fcntl.lockf(fd, kind | (0 if wait else fcntl.LOCK_NB), length, start)


@t.test("crash: flocks stay with their holders, waiters keep their places, and unlock, close and death let go")
def _():
    with Hosts(2, OPTIONS) as h:
        a, b = h.mounts
        a.sh("touch g")
        holding = holder(a)
        wait_locked(holding)
        waiter = holder(b)
        h.wait_queue(2)
        second, fd = holder(a), Open(a, "g")
        h.wait_queue(3)
        fd.flock(fcntl.LOCK_EX)
        before = h.wait_queue(4)
        for _ in range(3):
            crash(a)
            fd.flock(fcntl.LOCK_EX)
            t.equal(b.run("flock -n g true")[0], 1)
            t.equal(sorted(h.wait_queue(4)), sorted(before))
        os.pwrite(fd.fd, b"v", 0)
        fd.flock(fcntl.LOCK_UN)
        b.sh("flock -n g cat g", "v")
        h.wait_queue(3)
        t.equal(end(holding), 0)
        wait_locked(waiter)
        crash(a)
        t.check(waits(second), "the second waits")
        t.equal(end(waiter), 0)
        wait_locked(second)
        crash(a)
        t.equal(b.run("flock -n f true")[0], 1)
        kill(second)
        h.wait_queue(0)
        fd.close()
        for how in ("close", "die", "leave"):
            with Open(b) as other:
                other.flock(fcntl.LOCK_EX)
                p = holder(a)
                h.wait_queue(2)
                crash(a)
                if how == "leave":
                    kill(p)
                    h.wait_queue(1)
            if how != "leave":
                wait_locked(p)
                t.equal(end(p), 0) if how == "close" else kill(p)
            h.wait_queue(0)


@t.test("crash: what is done to locks while no worker is there is done by the next one")
def _():
    with Hosts(2, OPTIONS) as h:
        a, b = h.mounts
        for what in ("close", "unlock", "kill", "killed waiter"):
            with Open(b) as other:
                if what == "killed waiter":
                    other.flock(fcntl.LOCK_EX)
                p = start_child(a)
                if what != "killed waiter":
                    t.equal(p.line(), "locked")
                else:
                    h.wait_queue(2)
                a.process.send_signal(signal.SIGSTOP)
                os.kill(a.worker(), signal.SIGKILL)
                if what in ("kill", "killed waiter"):
                    os.kill(p.pid, signal.SIGKILL)
                else:
                    os.write(p.orders, what[0].encode())
                time.sleep(0.3)
                a.process.send_signal(signal.SIGCONT)
                if what in ("close", "unlock"):
                    t.equal(p.line(), what)
                    h.wait_queue(0)
                p.end(-signal.SIGKILL if what in ("kill", "killed waiter") else 0)
            h.wait_queue(0)
            b.sh("flock -n f true")


def start_child(m):
    def run(me):
        fd = os.open(m.path + "/f", os.O_RDWR)
        fcntl.flock(fd, fcntl.LOCK_EX)
        me.tell("locked")
        order = me.hear()
        if order == b"c":
            os.close(fd)
            me.tell("close")
        elif order == b"u":
            fcntl.flock(fd, fcntl.LOCK_UN)
            me.tell("unlock")
        me.hear()
    return Child(run)


@t.test("crash: fcntl locks stay with their ranges, F_GETLK and EDEADLK know them, and parts are let go")
def _():
    with Hosts(2, OPTIONS) as h:
        a, b = h.mounts
        with Open(a) as mine, Open(b) as other:
            t.check(mine.ofd(fcntl.F_WRLCK, 0, 100))
            t.check(mine.ofd(fcntl.F_UNLCK, 40, 20))
            crash(a)
            t.check(other.ofd(fcntl.F_WRLCK, 40, 20) and other.ofd(fcntl.F_UNLCK, 40, 20))
            t.check(not other.ofd(fcntl.F_RDLCK, 39, 1) and not other.ofd(fcntl.F_RDLCK, 60, 1))
            t.equal(other.ofd(fcntl.F_WRLCK, 0, 200, fcntl.F_OFD_GETLK)[:4], (fcntl.F_WRLCK, 0, 0, 40))
            t.check(mine.ofd(fcntl.F_RDLCK, 10, 10))
            crash(a)
            t.check(other.ofd(fcntl.F_RDLCK, 10, 10) and not other.ofd(fcntl.F_RDLCK, 9, 1))
            t.check(other.ofd(fcntl.F_UNLCK, 10, 10))
            t.check(mine.ofd(fcntl.F_UNLCK, 0, 60))
            crash(a)
            t.check(other.ofd(fcntl.F_WRLCK, 0, 60) and not other.ofd(fcntl.F_WRLCK, 60, 1))
        h.wait_queue(0)

        def posix(me):
            fd = os.open(a.path + "/f", os.O_RDWR)
            lock(fd, fcntl.LOCK_EX, 0, 10)
            me.tell("locked")
            me.hear()
            os.close(os.open(a.path + "/f", os.O_RDONLY))  # fcntl(2): lets go of all
            me.tell("closed")
            me.hear()
        for how in ("closed", "killed"):
            p = Child(posix)
            t.equal(p.line(), "locked")
            crash(a)
            with Open(b) as other:
                t.check(not other.ofd(fcntl.F_WRLCK, 0, 10))
            if how == "closed":
                p.go()
                t.equal(p.line(), "closed")
                h.wait_queue(0)
                p.go()
                p.end()
            else:
                p.kill()
            h.wait_queue(0)


@t.test("crash: a session that expired while no worker was there has lost its locks and ephemerals, and who had them is told")
def _():
    with Hosts(2, "timeo=20,timeout=1,restarts=1000", minSessionTimeout=500) as h:
        a, b = h.mounts
        a.sh("mkdir d && setfattr -n user.zk.create -v ephemeral d && : > d/e")
        with Open(a) as held, Open(a, "d/e") as member, Open(b) as other:
            held.flock(fcntl.LOCK_EX)
            a.process.send_signal(signal.SIGSTOP)
            os.kill(a.worker(), signal.SIGKILL)
            other.flock(fcntl.LOCK_EX)
            a.process.send_signal(signal.SIGCONT)
            t.wait_for(lambda: "a lock was lost" in a.log(), 20, "the loss")
            common.fails_with(errno.ESTALE, os.pwrite, held.fd, b"x", 0)
            common.fails_with(errno.EIO, os.pread, held.fd, 1, 0)
            common.fails_with(errno.ESTALE, os.pread, member.fd, 1, 0)
            crash(a)
            common.fails_with(errno.ESTALE, os.pwrite, held.fd, b"x", 0)
            common.fails_with(errno.ESTALE, os.pwrite, member.fd, b"x", 0)
            common.fails_with(errno.ESTALE, os.pread, member.fd, 1, 0)
        h.wait_queue(0)


def expire(h, m, left):
    """m's worker is killed, and the next one comes when the session has expired; so many locks are left then."""
    m.process.send_signal(signal.SIGSTOP)
    os.kill(m.worker(), signal.SIGKILL)
    h.wait_queue(left)
    m.process.send_signal(signal.SIGCONT)


@t.test("crash: the loss of a lock is told to each descriptor through which its process has locked")
def _():
    with Hosts(1, "timeo=20,timeout=1,restarts=1000", minSessionTimeout=500) as h:
        m = h.mounts[0]
        held = [Open(m), Open(m)]
        for x in held:
            lock(x.fd, fcntl.LOCK_EX, 0, 10)
        expire(h, m, 0)
        t.wait_for(lambda: m.log().count("a lock was lost") == 2, 20, "the loss")
        for x in held:
            common.fails_with(errno.EIO, os.pread, x.fd, 1, 0)
            common.fails_with(errno.ESTALE, os.pwrite, x.fd, b"x", 0)
            try:
                x.close()
            except OSError as e:
                t.equal(e.errno, errno.ESTALE)


@t.test("crash: a lock that waits, and whose session has expired while no worker was there, is made again once")
def _():
    with Hosts(2, "timeo=20,timeout=1,restarts=1000", minSessionTimeout=500) as h:
        a, b = h.mounts
        with Open(b) as held:
            held.flock(fcntl.LOCK_EX)
            waits = holder(a)
            before = h.wait_queue(2)
            expire(h, a, 1)
            after = h.wait_queue(2)
            t.equal(len(after[1]), len(before[1]), after)
            held.flock(fcntl.LOCK_UN)
            wait_locked(waits)
            h.wait_queue(1)
            t.equal(end(waits), 0)
            h.wait_queue(0)


@t.test("crash: counters under flock and fcntl over two mounts count each round, whose workers crash at random")
def _():
    with Hosts(2, OPTIONS) as h:
        a, b = h.mounts
        for m in (a, b):
            m.sh("touch n1 n2")
        stop = a.folder + "/stop"

        def count(m, name, take):
            def run(me):
                rounds = 0
                while not os.path.exists(stop):
                    fd = os.open("%s/%s" % (m.path, name), os.O_RDWR)
                    take(fd)
                    value = int(os.read(fd, 20) or b"0")
                    os.pwrite(fd, b"%d\n" % (value + 1), 0)
                    os.close(fd)
                    rounds += 1
                me.tell(str(rounds))
            return Child(run)
        takes = {"n1": lambda fd: fcntl.flock(fd, fcntl.LOCK_EX), "n2": lambda fd: fcntl.lockf(fd, fcntl.LOCK_EX, 1)}
        counters = [(name, count(m, name, takes[name])) for name in takes for m in (a, a, b)]
        seed = int.from_bytes(os.urandom(4), "little")
        t.note("seed %d" % seed)
        moments = random.Random(seed)
        for _ in range(30):
            time.sleep(moments.uniform(0.02, 0.25))
            crash(moments.choice((a, b)))
        with open(stop, "w"):
            pass
        done = {name: 0 for name in takes}
        for name, child in counters:
            done[name] += int(child.line() or -1)
            child.end()
        for name in takes:
            t.equal(int(h.zk.get("/" + name)[0]), done[name], "rounds of " + name)
        h.wait_queue(0)
        t.note("%s rounds" % done)


@t.test("crash: ephemerals of a descriptor, a caller and a parent are there as long as these, and no longer")
def _():
    with Own(OPTIONS) as (d, m):
        m.sh("mkdir open caller parent")
        for owner in ("open", "caller", "parent"):
            set_flags(m.path + "/" + owner, "ephemeral owner=" + owner)

        def is_there(name):
            return d.zk.exists(d.z(name))
        with Script(m.path) as s, Script(m.path) as late:
            s.do("exec 9> open/x && echo v >&9")
            s.do("exec 8> caller/x")
            s.do("mkdir parent/x")
            late.do("exec 9> open/y && exec 8> caller/y && mkdir parent/y")
            for _ in range(3):
                crash(m)
                m.sh("cat open/x", "v\n")
                t.check(all(is_there(o + "/" + n) for o in ("open", "caller", "parent") for n in ("x", "y")))
            s.do("exec 8>&-; echo w >&9; exec 9>&-")
            t.wait_for(lambda: not is_there("open/x"), 15, "the end of open/x")
            t.check(is_there("caller/x") and is_there("parent/x"))
            s.kill()
            t.wait_for(lambda: not is_there("caller/x") and not is_there("parent/x"), 15, "the end of x")
            t.check(is_there("caller/y"))
            m.process.send_signal(signal.SIGSTOP)
            os.kill(m.worker(), signal.SIGKILL)
            late.process.kill()  # its end waits for the mount
            time.sleep(0.2)
            m.process.send_signal(signal.SIGCONT)
            late.kill()
            for o in ("open", "caller", "parent"):
                t.wait_for(lambda o=o: not is_there(o + "/y"), 15, "the end of %s/y" % o)


@t.test("crash: creations with an owner that were at the server are the caller's, and end with it")
def _():
    for owner, words, command in (("open", "", "exec 9> d/x"), ("caller", "", "exec 9> d/x; exec 9>&-"),
                                  ("parent", "", "mkdir d/x; true"), ("open", "sequential", "exec 9> d/x")):
        before = "mkdir d && setfattr -n user.zk.create -v 'ephemeral owner=%s %s' d && ls -A d" % (owner, words)
        check = " && [ $(ls d | wc -l) = 1 ] && echo there"
        for how in (in_flight, done_unheard):
            status, out, err, log = how(before, command + check,
                                        "for i in {1..50}; do [ -z \"$(ls d)\" ] && exit; sleep 0.1; done; exit 1")
            t.equal((status, out, err), (0, "there\n", ""), "%s %s %s\n%s" % (how.__name__, owner, words, log))


@t.test("crash: creations with an owner whose callers are killed before or after it leave nothing behind")
def _():
    for owner, words in (("open", ""), ("caller", ""), ("caller", "sequential")):
        for after in (False, True):
            with Faulty(OPTIONS) as (server, m):
                m.sh("mkdir d && setfattr -n user.zk.create -v 'ephemeral owner=%s %s' d && ls -A d" % (owner, words))
                stop(server)
                waiting = m.start("exec 9> d/x; sleep 1000")
                time.sleep(0.3)
                if after:
                    crash(m)
                    time.sleep(0.2)
                os.killpg(waiting.pid, signal.SIGKILL)
                m.finish(waiting)
                if not after:
                    crash(m)
                go_on(server)
                m.sh("for i in {1..100}; do [ -z \"$(ls d)\" ] && exit; sleep 0.1; done; exit 1")
                t.check("unknown whether" not in m.log(), m.log())
                time.sleep(0.3)
                m.sh("ls d", "")


@t.test("crash: a creation with an owner at the server, sent again, whose caller is killed before it comes to it, is undone")
def _():
    with Gated("caller") as g:
        g.gate.hold = Gate.CREATE2
        g.start_mkdir()
        t.check(g.gate.held.wait(10), "the creation is sent")
        stop(g.server)
        crash(g.m)
        time.sleep(0.3)
        g.kill_mkdir()
        time.sleep(0.2)
        g.gate.hold = None
        g.gate.go.set()
        go_on(g.server)
        for _ in range(2):
            t.wait_for(lambda: g.m.run("ls d")[:2] == (0, ""), 10, "nothing being left")
            crash(g.m)
        g.script.do("mkdir d/y-")
        t.check("damaged" not in g.m.log() and g.m.log().count("the worker crashed") == 3, g.m.log())


@t.test("crash: events go on behind a gap, a watch ends with one, a wait waits on; reports and listings are made anew")
def _():
    with Own(OPTIONS) as (d, m):
        m.sh("echo v > f && mkdir dir")
        view = lambda name, path: "%s/.zk/%s/%s" % (m.path, name, path)
        readers = [start_reader(*x) for x in (("cat", view("watch", "f")), ("cat", view("wait/present", "new")),
                                              ("cat", view("wait/newer/1", "f")))]
        events = os.open(view("events", "dir"), os.O_RDONLY)
        late = os.open(view("events", "dir"), os.O_RDONLY | os.O_NONBLOCK)
        told = os.open(view("watch", "f"), os.O_RDONLY)
        session = os.open(m.path + "/.zk/session", os.O_RDONLY)
        names, top = os.scandir(m.path + "/.zk"), os.open(m.path + "/.zk/wait", os.O_RDONLY)
        m.sh("touch dir/a")
        t.check(os.read(events, 1000).endswith(b" created /dir/a\n"))
        crash(m)
        t.equal(output(readers[0])[:2], (0, "- gap\n"))
        t.equal(os.read(events, 1000), b"- gap\n")
        poll = select.poll()
        poll.register(late, select.POLLIN)
        t.equal(len(poll.poll(5000)), 1)
        t.equal(os.read(late, 1000), b"- gap\n")
        t.equal(os.read(told, 100), b"- gap\n")
        t.equal(os.read(told, 100), b"")
        common.fails_with(errno.EAGAIN, os.read, late, 10)
        t.equal(len(poll.poll(0)), 0)
        m.sh("touch dir/b")
        t.check(os.read(events, 1000).endswith(b" created /dir/b\n"))
        t.check(len(poll.poll(5000)) == 1 and os.read(late, 1000).endswith(b" created /dir/b\n"))
        t.check(waits(readers[1], 0.2) and waits(readers[2], 0))
        crash(m)
        m.sh("touch new && echo w > f")
        t.check(output(readers[1])[1].endswith(" present /new\n"))
        t.check(output(readers[2])[1].endswith(" newer /f\n"))
        text = os.read(session, 4096)
        t.check(text.startswith(b"session 0x"), text)
        crash(m)
        t.equal(os.read(session, 4096), b"")
        t.check("wait" in {e.name for e in names})
        t.equal(sorted(os.listdir(top)), sorted(os.listdir(m.path + "/.zk/wait")))
        p = start_reader("cat", view("wait/present", "never"))
        crash(m)
        t.check(waits(p, 0.2))
        p.send_signal(signal.SIGTERM)
        p.wait(20)
        p.communicate()
        for fd in (events, late, told, session, top):
            os.close(fd)
        names.close()


def start_reader(*command):
    p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    t.wait_for(lambda: parked(p.pid) or p.poll() is not None, 10, "the reader waiting")
    return p


@t.test("crash: what is seen through version/N and sync stays what it was; create flags go on")
def _():
    with Own(OPTIONS) as (d, m):
        m.sh("echo v > f && mkdir q")
        set_flags(m.path + "/q", "sequential")
        old = os.open("%s/.zk/version/1/f" % m.path, os.O_RDWR)
        at = m.start("cd .zk/version/1 && until [ -e ../../../go ]; do sleep 0.05; done; echo w > f; cat f; echo x > f")
        time.sleep(0.2)
        crash(m)
        t.equal(os.pread(old, 10, 0), b"v\n")
        m.sh("touch go")
        status, out, err = m.finish(at)
        t.check(status != 0 and "Stale" in err, (status, out, err))
        common.fails_with(errno.ESTALE, os.pwrite, old, b"x", 0)
        os.close(old)
        m.sh(": > q/job- && : > q/job- && ls q", "job-0000000000\njob-0000000001\n")
