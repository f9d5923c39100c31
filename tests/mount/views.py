"""The views below .zk, but for the streams: what they show, and what they refuse."""
import errno
import os
import select
import socket
import subprocess
import sys
import tempfile
import time

import common
import ensemble
from common import Dir, fails_with, mount, t
from fault import Faulty, stop
from restart import crash
from streams import line_is, lines_until, output, start_reader, view


@t.test("views: .zk is found and not listed; in it only the words are")
def _():
    with Dir() as d:
        t.check(".zk" not in os.listdir(d.m.path))
        t.equal(sorted(os.listdir(d.m.path + "/.zk")), ["create", "ensemble", "events", "session", "sync", "version", "wait", "watch"])
        t.equal(sorted(os.listdir(d.m.path + "/.zk/wait")), ["absent", "newer", "present"])
        for name in ("watch", "events", "wait/present", "wait/newer", "wait/newer/3", "version", "create"):
            t.equal(os.listdir(d.m.path + "/.zk/" + name), [])
        fails_with(errno.ENOENT, os.stat, d.m.path + "/.zk/other")
        for name in ("x", "-1", "01", "+1", "4294967296", ""):
            if name:
                fails_with(errno.ENOENT, os.stat, d.m.path + "/.zk/version/" + name)
        d.m.sh("stat -c '%F %A %s' .zk .zk/session .zk/watch/a",
               "directory dr-xr-xr-x 0\nregular empty file -r--r--r-- 0\nregular empty file -r--r--r-- 0\n")


@t.test("views: find and grep -r over the mount end, and do not enter .zk")
def _():
    with Dir() as d:
        d.sh("echo needle > f")
        d.m.sh("timeout 20 grep -r needle .", "./%s/f:needle\n" % d.name)
        d.m.sh("timeout 20 find . -name .zk", "")
        d.m.sh("timeout 20 grep -rs nothing .zk/watch .zk/events .zk/wait .zk/version; timeout 20 find .zk -maxdepth 2 > /dev/null")


@t.test("views: nothing can be made, removed, renamed or written in .zk")
def _():
    with Dir() as d:
        root = d.m.path + "/.zk"
        d.sh("touch f")
        fails_with(errno.EPERM, os.mkdir, root + "/x")
        fails_with(errno.EPERM, os.mkdir, root + "/version/x")
        fails_with(errno.EEXIST, os.mkdir, root + "/watch/x")  # every path is there
        fails_with(errno.EPERM, os.rmdir, root)
        fails_with(errno.EPERM, os.unlink, root + "/session")
        fails_with(errno.EPERM, os.rename, root + "/session", root + "/s")
        fails_with(errno.EPERM, os.rename, d.p("f"), root + "/x")
        fails_with(errno.EPERM, os.rename, root + "/version/0" + d.z("f"), d.p("g"))
        fails_with(errno.EACCES, os.open, view(d, "watch", "f"), os.O_WRONLY)
        fails_with(errno.EACCES, os.open, view(d, "watch", "f"), os.O_RDWR | os.O_TRUNC)
        fails_with(errno.EACCES, os.truncate, root + "/session", 0)
        fails_with(errno.EPERM, os.chmod, root + "/session", 0o777)
        fails_with(errno.EPERM, os.setxattr, root + "/session", "user.zk.acl", b"world:anyone:r")
        t.check(not os.access(root + "/session", os.W_OK) and os.access(root, os.X_OK))
        os.close(os.open(root + "/session", os.O_RDONLY))


@t.test("version/N: reading and writing on condition of the version")
def _():
    with Dir() as d:
        d.sh("echo a > f")
        v = d.version("f")
        at = "../.zk/version/%d" + d.znode
        d.sh("cat %s/f" % (at % v), "a\n")
        d.fails("cat %s/f" % (at % (v + 1)), "Stale file handle")
        d.sh("echo b > %s/f && cat f" % (at % v), "b\n")
        t.equal(d.version("f"), v + 1)
        d.fails("echo c > %s/f" % (at % v), "Stale file handle")
        d.fails(": > %s/f" % (at % v), "Stale file handle")
        d.fails("echo c >> %s/f" % (at % v), "Stale file handle")
        d.fails("truncate -s 0 %s/f" % (at % v), "Stale file handle")
        d.fails("truncate -s 1 %s/f" % (at % v), "Stale file handle")
        d.sh("cat f", "b\n")
        d.sh("echo c >> %s/f && cat f" % (at % (v + 1)), "b\nc\n")
        d.sh("truncate -s 1 %s/f && cat f" % (at % (v + 2)), "b")
        d.sh("truncate -s 0 %s/f && cat f" % (at % (v + 3)), "")
        d.fails("unlink %s/f" % (at % v), "Stale file handle")
        d.sh("unlink %s/f && test ! -e f" % (at % (v + 4)))
        d.fails("echo x > %s/new" % (at % 0), "No such file")
        fails_with(errno.EPERM, os.mkdir, view(d, "version/0", "new"))


@t.test("version/N: a descriptor that was faster in opening is not in writing")
def _():
    with Dir() as d:
        d.zk.create(d.z("f"), b"a")
        for flags in (os.O_WRONLY | os.O_TRUNC, os.O_WRONLY | os.O_APPEND, os.O_RDWR):
            v = d.version("f")
            fd = os.open(view(d, "version/%d" % v, "f"), flags)
            d.zk.set(d.z("f"), b"faster")
            fails_with(errno.ESTALE, os.write, fd, b"mine")
            os.close(fd)
            t.equal(d.get("f"), b"faster")
        v = d.version("f")
        fd = os.open(view(d, "version/%d" % v, "f"), os.O_WRONLY | os.O_TRUNC)
        t.equal(d.version("f"), v, "the truncation waits for its write")
        os.write(fd, b"one")
        os.write(fd, b" two")
        os.close(fd)
        t.equal((d.get("f"), d.version("f")), (b"one two", v + 2))


@t.test("version/N: directories, .data, listings and rmdir")
def _():
    with Dir() as d:
        d.zk.create(d.z("d"), b"data")
        d.zk.create(d.z("d/c"), b"")
        at = d.m.path + "/.zk/version/%d" + d.znode
        t.equal(sorted(os.listdir(at % 7 + "/d")), [".data", "c"])
        with open(at % 0 + "/d/.data") as f:
            t.equal(f.read(), "data")
        fails_with(errno.ESTALE, os.unlink, at % 5 + "/d/.data")
        os.unlink(at % 0 + "/d/.data")
        t.equal(d.get("d"), None)
        d.zk.delete(d.z("d/c"))
        fails_with(errno.ESTALE, os.rmdir, at % 0 + "/d")
        os.rmdir(at % 1 + "/d")
        t.check(not os.path.exists(d.p("d")))
        t.check(os.stat(d.path).st_ino != os.stat(at % 0).st_ino)


@t.test("version/N: a counter by compare and set, from four processes, loses no step")
def _():
    with Dir() as d:
        d.sh("echo 0 > n")
        script = ("for i in {1..25}; do while :; do v=$(getfattr --only-values -n user.zk.version n); "
                  "x=$(cat ../.zk/version/$v%s 2> /dev/null) || continue; "
                  "echo $((x + 1)) 2> /dev/null > ../.zk/version/$v%s && break; done 2> /dev/null; done"
                  % (d.z("n"), d.z("n")))
        for p in [d.start(script) for _ in range(4)]:
            t.equal(d.m.finish(p, 120)[0], 0)
        d.sh("cat n", "100\n")


@t.test("sync: the tree, read behind a sync, and not written")
def _():
    with Dir() as d:
        d.sh("mkdir a && echo v > a/f")
        d.m.sh("cat .zk/sync%s && ls .zk/sync%s" % (d.z("a/f"), d.z("a")), "v\nf\n")
        for i in range(50):
            d.zk.set(d.z("a/f"), b"%d" % i)
            t.equal(d.m.sh("cat .zk/sync%s" % d.z("a/f")) if i % 10 == 0 else "%d" % i, "%d" % i)
        fails_with(errno.EROFS, os.mkdir, view(d, "sync", "b"))
        fails_with(errno.EROFS, os.open, view(d, "sync", "a/f"), os.O_WRONLY)
        fails_with(errno.EROFS, os.unlink, view(d, "sync", "a/f"))
        fails_with(errno.EROFS, os.truncate, view(d, "sync", "a/f"), 0)
        t.check(not os.access(view(d, "sync", "a/f"), os.W_OK))


def report(m, name):
    with open(m.path + "/.zk/" + name) as f:
        return dict(line.rstrip("\n").split(" ", 1) for line in f)


@t.test("session: what it says is so, before and after a restart of the server and an expiry")
def _():
    with Faulty("timeo=20,timeout=2") as (server, m):
        m.sh("mkdir d")
        s = report(m, "session")
        t.equal((s["state"], s["server"], s["expired"], s["names_left_out"]),
                ("connected", "127.0.0.1:%d" % common.FAULT_PORT, "0", "0"))
        t.check("session=%s" % s["session"] in m.log(), s)
        t.equal(s["last_zxid"], os.getxattr(m.path + "/d", "user.zk.mzxid").decode())
        t.check(abs(int(s["since"]) - time.time()) < 60 and int(s["timeout_ms"]) == 2000, s)
        server.kill()
        t.wait_for(lambda: report(m, "session")["state"] == "disconnected", 10, "the loss")
        t.equal(report(m, "session")["server"], "-")
        server.start()
        t.wait_for(lambda: report(m, "session")["state"] == "connected", 20, "the reconnect")
        t.equal(report(m, "session")["session"], s["session"])
        with m.paused():
            time.sleep(5)
        t.wait_for(lambda: report(m, "session")["expired"] == "1", 20, "the expiry")
        t.check(report(m, "session")["session"] != s["session"])


@t.test("session: names that listings leave out are counted")
def _():
    with Dir() as d:
        before = int(report(d.m, "session")["names_left_out"])
        d.zk.create(d.z("n" * 256), b"")
        t.equal(os.listdir(d.path), [])
        t.equal(int(report(d.m, "session")["names_left_out"]), before + 1)
        d.zk.delete(d.z("n" * 256))


@t.test("ensemble: the server and its role; one that does not answer is unreachable, and does not hold up others")
def _():
    with Dir() as d:
        text = d.m.sh("cat .zk/ensemble")
        name, where, role, zxid = text.split()
        t.equal((name, where, role), ("server", "127.0.0.1:%d" % common.PORT, "standalone"))
        t.check(int(zxid, 16) > 0)
    silent = socket.create_server(("127.0.0.1", common.FAULT_PORT))
    dead = socket.create_server(("127.0.0.1", 0))
    dead_port = dead.getsockname()[1]
    dead.close()
    servers = ["127.0.0.1:%d" % port for port in (common.PORT, common.FAULT_PORT, dead_port)]
    try:
        with mount.Mount(",".join(servers), "timeo=10,timeout=2") as m:
            p = m.start("cat .zk/ensemble")
            others = 0
            while p.poll() is None:
                os.listdir(m.path)
                others += 1
            t.check(others > 1, "others are held up")
            lines = [line.split() for line in m.finish(p)[1].splitlines()]
            t.equal([line[:3] for line in lines], [["server", servers[0], "standalone"],
                                                   ["server", servers[1], "unreachable"],
                                                   ["server", servers[2], "unreachable"]])
            for process in [m.start("exec cat .zk/ensemble") for _ in range(3)]:  # asking is given up
                process.kill()
                m.finish(process)
    finally:
        silent.close()


@t.test("ensemble: where no server answers that is the answer, and soon")
def _():
    with Faulty("timeo=20,timeout=10") as (server, m):
        where = "127.0.0.1:%d" % common.FAULT_PORT
        for away in (stop, lambda _: server.kill()):
            began = time.monotonic()
            away(server)
            with open(m.path + "/.zk/ensemble") as f:
                t.equal(f.read(), "server %s unreachable -\n" % where)
            t.check(time.monotonic() - began < 15, "it took the time of an operation")


@t.test("ensemble: of a name with several addresses each is tried")
def _():
    common.server()
    with tempfile.TemporaryDirectory() as folder:
        hosts, log = os.path.join(folder, "hosts"), os.path.join(folder, "log")
        with open(hosts, "w") as f:
            f.write("::1 both\n127.0.0.1 both\n")  # and nobody listens at the first
        os.mkdir(folder + "/zk")
        # In a mount namespace of its own, for the hosts.
        command = "mount --bind $1/hosts /etc/hosts && exec %s/fs/zkfs both:%d $1/zk -f" % (t.BUILD, common.PORT)
        with open(log, "wb") as out:
            p = subprocess.Popen(["unshare", "-m", "sh", "-c", command, "sh", folder], stderr=out, stdout=out)

        def mounted():
            with open(log) as f:
                text = f.read()
            t.check(p.poll() is None, text)
            return "mounted source=" in text
        try:
            t.wait_for(mounted, 30, "the mount")
            with open("/proc/%d/root%s/zk/.zk/ensemble" % (p.pid, folder)) as f:
                t.equal(f.read().split()[:3], ["server", "both:%d" % common.PORT, "standalone"])
        finally:
            p.terminate()
            p.wait(10)


# A caller whose path ends where a page does; for the next one the kernel asks the caller, who is silent.
SILENT = """
import ctypes, fcntl, mmap, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
memory = mmap.mmap(-1, 2 * 4096)
at = ctypes.addressof(ctypes.c_char.from_buffer(memory))
path = sys.argv[1].encode() + b"\\0"
memory[4096 - len(path):4096] = path
fd = libc.syscall(323, os.O_CLOEXEC)  # userfaultfd
fcntl.ioctl(fd, 0xc018aa3f, struct.pack("QQQ", 0xaa, 0, 0))  # UFFDIO_API
fcntl.ioctl(fd, 0xc020aa00, struct.pack("QQQQ", at + 4096, 4096, 1, 0))  # UFFDIO_REGISTER, missing pages
stat = ctypes.create_string_buffer(256)
result = libc.syscall(262, -100, ctypes.c_void_p(at + 4096 - len(path)), stat, 0)  # newfstatat
print(result, flush=True)
sys.stdin.read()
"""


@t.test("watch: callers whose memory does not answer hold up nobody, no next worker, no end of the mount")
def _():
    common.server()
    silent = []
    with mount.Mount("127.0.0.1:%d" % common.PORT, "timeo=10") as m:
        worker = m.worker()
        tasks = "/proc/%d/task" % worker
        usual = len(os.listdir("/proc/%d/fd" % worker))
        try:
            for i in range(3):
                silent.append(subprocess.Popen([sys.executable, "-c", SILENT, m.path + "/.zk/watch/a"],
                                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
                t.check(select.select([silent[i].stdout], [], [], 10)[0], "no answer")
                t.equal(silent[i].stdout.readline(), "0\n")
            m.sh("timeout 5 ls .zk/watch; timeout 5 stat -c %F .zk/watch/a", "directory\n")
            counts = sorted(len(os.listdir("%s/%s/fd" % (tasks, task))) for task in os.listdir(tasks))
            t.equal(counts[:2], [1, 1], "the threads that hang keep nothing open")
            t.check(counts[-1] <= usual + 2, counts)
            silent[0].kill()
            silent[0].wait()
            t.wait_for(lambda: m.sh("stat -c %F .zk/watch/a") == "regular empty file\n", 10, "asking again")
            silent.append(subprocess.Popen([sys.executable, "-c", SILENT, m.path + "/.zk/watch/a"],
                                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            silent[3].stdout.readline()
            crash(m)
            m.sh("timeout 5 ls .zk/watch")
            m.kill_all()
            fails_with(errno.ENOTCONN, os.listdir, m.path)
        finally:
            m.process.kill()  # else, should the mount hang, those do not end
            for p in silent:
                p.kill()
                p.wait()


@t.test("three servers: the ensemble's roles; sync waits for the leader; a leader's death loses no event")
def _():
    e = ensemble.Ensemble(3, port=common.PORT + 2)
    try:
        e.start()
        follower = e.followers()[0]
        with mount.Mount(e.servers(), "timeo=20,timeout=10") as m, \
                mount.Mount("%s:%d" % (follower.host, follower.port), "timeo=20,timeout=10") as near, \
                mount.Mount("%s:%d" % (follower.host, follower.port), "timeo=20,timeout=10") as other:
            lines = [line.split() for line in m.sh("cat .zk/ensemble").splitlines()]
            t.equal(sorted(line[1] for line in lines), sorted(e.servers().split(",")))
            t.equal({line[1]: line[2] for line in lines}, {"%s:%d" % (x.host, x.port): x.mode() for x in e.members})
            m.sh("mkdir d && echo 1 > d/f")
            near.sh("cat .zk/sync/d/f", "1\n")
            leader = e.leader()
            root = os.open(near.path + "/.zk/sync", os.O_RDONLY)
            leader.freeze()
            at_root = other.start("timeout 0.5 stat .zk/sync; echo $?")
            near.sh("timeout 1 cat d/f; timeout 0.5 cat /proc/%d/fd/%d/d/f; test $? = 124" % (os.getpid(), root), "1\n")
            os.close(root)
            t.equal(other.finish(at_root)[1], "124\n")
            leader.thaw()
            e.wait_serving()
            t.wait_for(lambda: near.run("cat .zk/sync/d/f")[:2] == (0, "1\n"), 30, "the leader's answer")
            wait = start_reader(None, "cat", m.path + "/.zk/wait/present/d/g")
            with open(m.path + "/.zk/events/d") as f:
                e.leader().kill()
                t.wait_for(lambda: near.run("echo 2 > d/f && touch d/g")[0] == 0, 60, "a new leader")
                near.sh("touch d/end")
                line_is(output(wait)[1], "present", "/d/g")
                got = [words for words in lines_until(f, ["created", "/d/end"]) if len(words) == 2]
                t.check(common.APACHE or got[-2:] == [["created", "/d/g"], ["created", "/d/end"]], got)
                t.check(common.APACHE or ["changed", "/d/f"] in got, got)
    finally:
        e.close()
