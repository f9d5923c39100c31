"""Owners of ephemerals: gone within a second of the owner's end, never before, and with the session at the latest."""
import errno
import os
import random
import signal
import subprocess
import time

import common
from common import Dir, fails_with, mount, t
from fault import Faulty, go_on, stop
from flags import is_ephemeral, make, set_flags
from gate import Gate, Gated, Script, waiting_in_mount

LAST_PID = "/proc/sys/kernel/ns_last_pid"


class Owned(Dir):
    """A folder whose children are ephemerals with this owner."""

    def __init__(self, owner, more=""):
        self.words = "ephemeral owner=%s %s" % (owner, more)

    def __enter__(self):
        super().__enter__()
        set_flags(self.path, self.words)
        return self

    def there(self, *names):
        for name in names:
            t.check(self.zk.exists(self.z(name)), name + " is there")

    def gone(self, name):
        t.wait_for(lambda: not self.zk.exists(self.z(name)), 15, name + " being gone")


@t.test("owner=open: there while the descriptor is open, gone with close, and with kill -9 of its process")
def _():
    with Owned("open") as d, Script(d.path) as s:
        s.do("exec 9> member && echo 10.0.0.1:80 >&9")
        s.do("exec 8> other")
        d.there("member", "other")
        t.equal(d.get("member"), b"10.0.0.1:80\n")
        s.do("exec 8>&-")
        d.gone("other")
        d.there("member")
        s.kill()
        d.gone("member")


@t.test("owner=open: copies of the descriptor, dup and inherited, keep the znode until the last is closed")
def _():
    with Owned("open") as d, Script(d.path) as s, Script(d.path) as witness:
        witness.do("exec 9> witness")
        s.do("exec 9> member")
        s.do("exec 8>&9 && exec 9>&-")
        s.do("read line < <(echo x) && coproc { read line; }")
        s.do("exec 8>&-")
        witness.do("exec 9>&-")
        d.gone("witness")
        d.there("member")
        s.do("kill -9 $COPROC_PID; wait $COPROC_PID", "137")
        d.gone("member")


@t.test("owner=open: another descriptor of the same file owns nothing, neither does a second open with O_CREAT")
def _():
    with Owned("open") as d:
        fd = os.open(d.p("m"), os.O_CREAT | os.O_WRONLY)
        other = os.open(d.p("m"), os.O_CREAT | os.O_RDWR)
        fails_with(errno.EEXIST, make, d.p("m"))
        os.close(other)
        make(d.p("witness"))
        d.gone("witness")
        d.there("m")
        os.close(fd)
        d.gone("m")


@t.test("owner=open: touch's file is gone when it has ended; mkdir and mknod have no descriptor: EPERM, and a log line")
def _():
    with Owned("open") as d:
        d.sh("touch f")
        d.gone("f")
        for command in ("mkdir x", "python3 -c 'import os; os.mknod(\"x\")'"):
            d.fails(command, "Operation not permitted")
        t.check("makes no descriptor" in d.m.log())
        t.equal(d.zk.children(d.znode), [])


@t.test("owner=open: what was held back is committed before the znode goes, and a write to a gone one fails")
def _():
    with Owned("open") as d:
        fd = os.open(d.p("m"), os.O_CREAT | os.O_RDWR)
        os.write(fd, b"x" * 4096)
        os.close(fd)
        d.gone("m")
        fd = os.open(d.p("m"), os.O_CREAT | os.O_RDWR)
        d.zk.delete(d.z("m"))
        fails_with(errno.ENOENT, os.write, fd, b"x")
        os.close(fd)


@t.test("owner=mount: stays when descriptor, caller and parent have ended, and goes with the session")
def _():
    with Owned("mount") as d, mount.Mount("127.0.0.1:%d" % common.PORT) as m:
        with Script(os.path.join(m.path, d.name)) as s:
            s.do("exec 9> f && mkdir d && touch g")
        set_flags(d.path, "ephemeral owner=open")
        make(d.p("witness"))
        d.gone("witness")
        d.there("f", "g", "d")
        t.check(m.unmount())
        for name in "fgd":
            d.gone(name)


@t.test("owner=caller: gone when the process that made it has ended, not when its descriptor or thread has")
def _():
    with Owned("caller") as d:
        code = ("import os, sys, threading\n"
                "def work():\n"
                "    os.mkdir('d'); os.close(os.open('f', os.O_CREAT | os.O_WRONLY)); os.mknod('n')\n"
                "w = threading.Thread(target=work); w.start(); w.join()\n"
                "print('made', flush=True)\n"
                "sys.stdin.readline()\n")
        p = subprocess.Popen(["/usr/bin/python3", "-c", code], cwd=d.path, stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True, preexec_fn=t._die_with_parent)
        try:
            t.equal(p.stdout.readline(), "made\n")
            d.sh("mkdir short")  # its caller has ended at once
            d.gone("short")
            d.there("d", "f", "n")
        finally:
            p.kill()
            p.communicate()
        for name in "dfn":
            d.gone(name)


@t.test("owner=caller: a shell's own redirection belongs to the shell, whatever it runs and however it ends")
def _():
    with Owned("caller") as d, Script(d.path) as s:
        s.do("echo v > f && true | cat && mkdir gone")
        d.gone("gone")
        d.there("f")
        s.do("exec sleep 1000 & wait_for=$!; kill -9 $wait_for; wait $wait_for", "137")
        d.there("f")
        s.process.stdin.close()
        s.process.wait()
        d.gone("f")


@t.test("owner=parent: what a script's mkdir made is there while the script runs, and gone with kill -9 of it")
def _():
    with Owned("parent") as d, Script(d.path) as s:
        s.do("mkdir lock && /bin/true && touch file")
        with Script(d.path) as other:
            other.do("mkdir lock", "1")
            other.do("mkdir lock2")
            d.there("lock", "lock2")
        d.gone("lock2")
        d.there("lock", "file")
        s.kill()
        d.gone("lock")
        d.gone("file")


@t.test("owner=parent: a process of another session than its parent's could be an orphan: ESRCH, and a log line")
def _():
    with Owned("parent") as d:
        d.fails("exec mkdir x", "No such process")  # the tests start each shell in a session of its own
        d.sh("setsid true && mkdir y && test -d y && setsid -w sh -c 'mkdir z && test -d z; true'")
        d.gone("y")
        d.gone("z")
        t.check("cannot be watched" in d.m.log())


@t.test("owner=parent: the init of a container owns nothing, what it started can")
def _():
    with Owned("parent") as d:
        inside = "unshare --pid --fork --mount-proc sh -c '%s'"
        d.fails(inside % "mkdir x; exit $?", "No such process")
        d.sh(inside % 'sh -c "mkdir y && test -d y; exit \\$?"; exit $?')
        d.gone("y")


@t.test("owner=parent: scripts killed at random, while the server stops and goes on, leave nothing behind")
def _():
    chance = random.Random(5)
    with Faulty("timeo=20,timeout=20") as (server, m):
        m.sh("mkdir d && setfattr -n user.zk.create -v 'ephemeral sequential owner=parent' d")
        with t.Session(common.FAULT_PORT) as zk:
            for i in range(40):
                scripts = [Script(m.path + "/d") for _ in range(3)]
                for s in scripts:
                    s.process.stdin.write("while true; do mkdir x- || exit; done\n")
                    s.process.stdin.flush()
                count = chance.randrange(1, 8)
                t.wait_for(lambda: len(zk.children("/d")) > count, 10, "znodes")
                if i % 2:
                    stop(server)
                for s in scripts:
                    time.sleep(chance.random() * 0.003)
                    s.process.kill()
                if i % 2:
                    go_on(server)
                for s in scripts:
                    s.kill()
                t.wait_for(lambda: zk.children("/d") == [], 15, "round %d: nothing being left" % i)


@t.test("a znode deleted and made again by another is not deleted with the owner of the first")
def _():
    with Owned("open") as d:
        fds = {name: os.open(d.p(name), os.O_CREAT | os.O_RDWR) for name in "ab"}
        d.zk.delete(d.z("a"))
        d.zk.create(d.z("a"), b"another's")
        os.close(fds["a"])
        os.close(fds["b"])
        d.gone("b")
        make(d.p("witness"))
        d.gone("witness")
        d.there("a")
        # One that was changed meanwhile is still the owner's.
        fd = os.open(d.p("c"), os.O_CREAT | os.O_RDWR)
        for i in range(5):
            d.zk.set(d.z("c"), b"%d" % i)
        os.close(fd)
        d.gone("c")


@t.test("sequential ephemerals with an owner: deleted by the name that the server gave")
def _():
    with Owned("open", "sequential") as d, Script(d.path) as s:
        s.do("exec 7> m- 8> m- 9> m-")
        t.equal(sorted(d.zk.children(d.znode)), ["m-000000000%d" % i for i in range(3)])
        s.do("exec 8>&-")
        d.gone("m-0000000001")
        d.there("m-0000000000", "m-0000000002")
        s.kill()
        d.gone("m-0000000000")
        d.gone("m-0000000002")


@t.test("many znodes of one process take one descriptor of the frontend, and all go with it")
def _():
    with Owned("caller") as d:
        def count():
            return len(os.listdir("/proc/%d/fd" % d.m.worker()))
        with Script(d.path) as s:
            before = count()
            s.do("for i in {1..300}; do : > f$i; done")
            t.equal(len(d.zk.children(d.znode)), 300)
            t.check(count() <= before + 2, "descriptors: %d before, %d after" % (before, count()))
            began = time.monotonic()
        t.wait_for(lambda: d.zk.children(d.znode) == [], 15, "all being gone")
        t.note("300 znodes of a killed process were gone after %.2f s" % (time.monotonic() - began))
        t.wait_for(lambda: count() <= before, 15, "the descriptor being closed")


def with_pid(pid, command):
    """A process that has this pid, or None when somebody else was faster."""
    with open(LAST_PID, "w") as f:
        f.write("%d" % (pid - 1))
    p = subprocess.Popen(command, preexec_fn=t._die_with_parent)
    if p.pid == pid:
        return p
    p.kill()
    p.wait()
    return None


@t.test("a pid that is given away again fools nobody: the old owner's znode goes, the new one's stays")
def _():
    with Owned("caller") as d:
        for attempt in range(20):
            old = "old%d" % attempt
            s = Script(d.path)
            s.do(": > " + old)
            # The frontend does not see the end of the owner before another process has its pid.
            os.kill(d.m.worker(), signal.SIGSTOP)
            try:
                s.kill()
                heir = with_pid(s.process.pid, ["bash", "-c", "cd %s && : > heir && exec sleep 1000" % d.path])
            finally:
                os.kill(d.m.worker(), signal.SIGCONT)
            d.gone(old)
            if heir is None:
                continue
            try:
                t.wait_for(lambda: d.zk.exists(d.z("heir")), 15, "the heir's znode")
                make(d.p("witness"))
                d.there("heir", "witness")
            finally:
                heir.kill()
                heir.wait()
            d.gone("heir")
            return
        raise t.Failed("no process got the pid in 20 attempts")


@t.test("an owner that ends while the server is away: its znode is deleted when the server is back")
def _():
    with Faulty("timeo=2,timeout=20") as (server, m):
        m.sh("mkdir d && setfattr -n user.zk.create -v 'ephemeral owner=open' d")
        keeps = os.open(m.path + "/d/keeps", os.O_CREAT | os.O_WRONLY)
        fd = os.open(m.path + "/d/goes", os.O_CREAT | os.O_WRONLY)
        server.kill()
        os.close(fd)
        t.wait_for(lambda: "connection is lost" in m.log(), 10, "the loss being noticed")
        server.start()
        with t.Session(common.FAULT_PORT) as zk:
            t.wait_for(lambda: not zk.exists("/d/goes"), 10, "the znode being gone")
            t.check(zk.exists("/d/keeps"))
            t.check("expired" not in m.log())
            os.close(keeps)
            t.wait_for(lambda: not zk.exists("/d/keeps"), 15, "the other being gone")


@t.test("a creation interrupted while the server has it: whichever way it ends, nothing is left of it")
def _():
    for owner in ("caller", "parent"):
        for drop in (False, True):
            with Gated(owner) as g:
                g.gate.hold = Gate.CREATE2
                g.start_mkdir()
                t.check(g.gate.held.wait(10), "the create came")
                g.kill_mkdir()
                g.gate.shut = drop
                g.gate.hold = None
                g.gate.go.set()
                if drop:  # the mount finds out, behind the reconnect, that it was not made, and makes it again or not
                    t.wait_for(lambda: "connection is lost" in g.m.log(), 10, "the loss")
                    g.gate.shut = False
                g.m.sh("sync d && ls d", "")
                t.check(g.next_number() <= 1)


@t.test("an owner that is killed while its creation is under way: deleted as soon as it is made")
def _():
    with Gated("parent") as g:
        g.gate.hold = Gate.CREATE2
        g.start_mkdir()
        t.check(g.gate.held.wait(10), "the create came")
        g.script.process.kill()
        g.script.process.wait()
        g.gate.go.set()
        g.m.sh("sync d")
        t.equal(g.next_number(), 1)


@t.test("a creation of which nobody can know whether it was made: EIO, a log line, and it lasts as long as the session")
def _():
    with Gated("open") as g, t.Session(common.FAULT_PORT) as zk:
        g.gate.lose = Gate.CREATE2
        shell = g.m.start("exec 9> .zk/create/ephemeral,owner=open/d/f")
        t.wait_for(lambda: g.gate.shut, 10, "the answer being lost")
        zk.set("/d/f", b"another's")
        g.gate.lose = g.gate.lost_xid = None
        g.gate.shut = False
        status, _, err = g.m.finish(shell)
        if common.APACHE:
            t.check(status != 0 and "Input/output error" in err, err)
            t.check("it is unknown whether an ephemeral znode was made" in g.m.log(), g.m.log())
            t.check(zk.exists("/d/f"))
            g.script.kill()
            t.check(g.m.unmount())
        else:  # ours remembers what it has answered
            t.equal(status, 0, err)
        t.wait_for(lambda: not zk.exists("/d/f"), 15, "its being gone")


def abandoned(view):
    """How many znodes are made by a creation whose caller goes while there is no connection."""
    with Gated("caller") as g:
        g.gate.cut_after = ["/d/x-"]
        g.start_mkdir(view)
        t.wait_for(lambda: "connection is lost" in g.m.log() and waiting_in_mount(g.script.process.pid), 10,
                   "mkdir's waiting without a connection")
        # What it waits for is the creation: the name had been looked up.
        t.check(g.gate.shut)
        g.kill_mkdir()
        g.gate.cut_xid = None
        g.gate.shut = False
        g.m.sh("sync d")
        return g.next_number()


@t.test("a creation that nobody waits for any more is not made when the server comes back")
def _():
    # Through the view it need not ask for flags: what waits is the create itself. It may have been written to the
    # connection just before its end was noticed: then it is made, and deleted.
    for view in ("", ".zk/create/ephemeral,sequential,owner=caller/"):
        t.check(any(abandoned(view) == 0 for _ in range(8)), "made each time")


@t.test("flags that are set while a creation has looked its name up, and not come yet, are obeyed")
def _():
    with Gated("mount") as g, t.Session(common.FAULT_PORT) as zk:
        g.m.sh("mkdir e && test -d e")
        czxid = os.getxattr(g.m.path + "/e", "user.zk.czxid").decode()[2:]
        g.gate.join_after = ["/e/x"]
        g.script.process.stdin.write("/bin/mkdir e/x; echo $?\n")
        g.script.process.stdin.flush()
        t.check(g.gate.keeps.wait(10), "the answer to the lookup")
        g.gate.hold = Gate.GET_CHILDREN2
        # The event comes right behind the answer; the flags it tells of cannot be read yet.
        zk.create("/zookeeper/zkfs/create/%2Fe@" + czxid, b"ephemeral")
        t.check(g.gate.held.wait(10), "the list being asked for")
        t.wait_for(lambda: waiting_in_mount(g.script.process.pid), 10, "mkdir's waiting")
        g.gate.go.set()
        t.equal(g.script.process.stdout.readline(), "0\n")
        t.check(is_ephemeral(g.m.path + "/e/x"))


@t.test("kill -9 of the frontend: its ephemerals are gone with its session, not before")
def _():
    with Dir() as d:
        m = mount.Mount("127.0.0.1:%d" % common.PORT, "timeout=2")
        try:
            set_flags(d.path, "ephemeral owner=open")
            fd = os.open(os.path.join(m.path, d.name, "f"), os.O_CREAT | os.O_WRONLY)
            set_flags(d.path, "persistent")
            m.kill_all()
            t.check(d.zk.exists(d.z("f")))
            t.wait_for(lambda: not d.zk.exists(d.z("f")), 10, "the session's end")
        finally:
            fails_with(errno.ENOTCONN, os.close, fd)
            m.close()


@t.test("after an expired session nothing is deleted that another has made meanwhile")
def _():
    with Faulty("timeo=15,timeout=1", minSessionTimeout=500) as (server, m):
        m.sh("mkdir d && setfattr -n user.zk.create -v 'ephemeral owner=open' d")
        fd = os.open(m.path + "/d/f", os.O_CREAT | os.O_WRONLY)
        with t.Session(common.FAULT_PORT) as zk:
            with m.paused():
                t.wait_for(lambda: not zk.exists("/d/f"), 20, "the session's end")
                zk.create("/d/f", b"another's")
            t.wait_for(lambda: "expired" in m.log(), 10, "the expiry being noticed")
            os.close(fd)
            m.sh("echo x > d/g")
            t.wait_for(lambda: not zk.exists("/d/g"), 15, "the witness being gone")
            t.equal(zk.get("/d/f")[0], b"another's")


@t.test("descriptors of a lost session's ephemerals fail with ESTALE, and of nothing else")
def _():
    with Faulty("timeo=15,timeout=1", minSessionTimeout=500) as (server, m):
        m.sh("mkdir d && setfattr -n user.zk.create -v ephemeral d; echo v > kept")
        fd = os.open(m.path + "/d/f", os.O_CREAT | os.O_RDWR)
        kept = os.open(m.path + "/kept", os.O_RDWR)
        os.write(fd, b"mine")
        held = os.open(m.path + "/d/f", os.O_RDWR)
        os.write(held, b"x" * 4096)  # a whole page: held back
        with t.Session(common.FAULT_PORT) as zk:
            with m.paused():
                t.wait_for(lambda: not zk.exists("/d/f"), 20, "the session's end")
            t.wait_for(lambda: "expired" in m.log(), 10, "the expiry being noticed")
            zk.create("/d/f", b"another's")
            fails_with(errno.ESTALE, os.write, fd, b"late")
            fails_with(errno.ESTALE, os.pread, fd, 10, 0)
            fails_with(errno.ESTALE, os.ftruncate, fd, 0)
            fails_with(errno.ESTALE, os.fsync, held)
            t.equal(os.pread(kept, 10, 0), b"v\n")
            t.equal(os.write(kept, b"w"), 1)
            for each in (fd, held, kept):
                os.close(each)
            t.equal(zk.get("/d/f")[0], b"another's")
            t.check("an ephemeral znode was lost with the session" in m.log(), m.log())


@t.test("unmounting ends the session, and with it what descriptors and processes own")
def _():
    with Dir() as d, mount.Mount("127.0.0.1:%d" % common.PORT) as m:
        for owner in ("caller", "parent"):
            set_flags(d.path, "ephemeral owner=" + owner)
            make(os.path.join(m.path, d.name, owner))
            t.check(is_ephemeral(d.p(owner)))
        t.check(m.unmount())
        t.wait_for(lambda: d.zk.children(d.znode) == [], 15, "all being gone")


@t.test("members that come and go while the server is killed again and again: each znode has its owner, none is left")
def _():
    worker = ("for i in {1..400}; do exec 9> d/m- || exit 1; "
              "getfattr --only-values -n user.zk.name /dev/fd/9; echo; exec 9>&-; done")
    with Faulty("timeo=30,timeout=20") as (server, m):
        m.sh("mkdir d && setfattr -n user.zk.create -v 'ephemeral sequential owner=open' d")
        shells = [m.start(worker) for _ in range(3)]
        kills = 0
        while any(shell.poll() is None for shell in shells) and kills < 8:
            server.kill()
            server.start()
            kills += 1
            m.sh("sync d")
        done = [m.finish(shell, 120) for shell in shells]
        t.equal([d[0] for d in done], [0] * 3, done[0][2])
        names = [name for d in done for name in d[1].split()]
        t.equal((len(names), len(set(names))), (1200, 1200))
        t.check(kills > 1, "kills: %d" % kills)
        with t.Session(common.FAULT_PORT) as zk:
            t.wait_for(lambda: zk.children("/d") == [], 15, "nothing being left")
            t.check("expired" not in m.log(), m.log())


@t.test("flags that others change while the mount is away or its session expires are obeyed afterwards")
def _():
    with Faulty("timeo=15,timeout=1", minSessionTimeout=500) as (server, m):
        m.sh("mkdir d e && setfattr -n user.zk.create -v ephemeral d")
        def kept_at(path):
            czxid = os.getxattr(os.path.join(m.path, path), "user.zk.czxid").decode()[2:]
            return "/zookeeper/zkfs/create/%2F" + path + "@" + czxid
        kept = {path: kept_at(path) for path in "de"}
        flagged, plain = "d", "e"
        with t.Session(common.FAULT_PORT) as zk:
            for away_s in (0, 4):  # the second time is longer than the server waits for the session
                with m.paused():
                    time.sleep(away_s)
                    zk.delete(kept[flagged])
                    zk.create(kept[plain], b"ephemeral")
                flagged, plain = plain, flagged
                m.sh("sync . && touch d/f e/f")
                t.check(is_ephemeral("%s/%s/f" % (m.path, flagged)), "away for %d s" % away_s)
                t.check(not is_ephemeral("%s/%s/f" % (m.path, plain)), "away for %d s" % away_s)
                m.sh("rm d/f e/f")
        t.check("expired" in m.log())


@t.test("an ephemeral ends within a second of its owner, a descriptor or a process, in most of 11 cases")
def _():
    def open_and_close(path):
        with open(path, "w"):
            pass

    def call_mkdir(path):
        subprocess.run(["mkdir", path], check=True)

    for owner, own in (("open", open_and_close), ("caller", call_mkdir)):
        waits = []
        with Owned(owner) as d:
            for _ in range(11):
                own(d.p("m"))
                began = time.monotonic()
                d.gone("m")
                waits.append(time.monotonic() - began)
        waits.sort()
        t.note("%s: half of them up to %.3f s, all up to %.3f s" % (owner, waits[5], waits[-1]))
        t.check(waits[5] < 1, (owner, waits))
