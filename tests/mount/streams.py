"""The streams of the views: what waits, and what wakes it."""
import ctypes
import errno
import os
import select
import signal
import subprocess
import threading
import time

import common
from common import Dir, fails_with, t


def view(d, name, path=""):
    """The path of a view of something in the test's folder."""
    return os.path.join(d.m.path, ".zk", name) + d.znode + ("/" + path if path else "")


def waits(process, seconds=0.3):
    """Nothing can be waited for where nothing is to happen: a moment has to do."""
    time.sleep(seconds)
    return process.poll() is None


def parked(pid):
    """Whether the process waits in read(2)."""
    try:
        with open("/proc/%d/syscall" % pid) as f:
            return f.read().split()[0] == "0"
    except OSError:
        return False


def in_pread(tid):
    with open("/proc/self/task/%d/syscall" % tid) as f:
        return f.read().split()[0] == "17"


def start_reader(d, *command):
    """Waits until the reader waits."""
    p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         text=True, start_new_session=True)
    t.wait_for(lambda: parked(p.pid) or p.poll() is not None, 10, "the reader waiting")
    t.check(p.poll() is None, "the reader ended")
    return p


def output(p, timeout=20):
    try:
        out, err = p.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        p.kill()
        p.communicate()
        raise t.Failed("the reader did not end") from None
    return p.returncode, out, err


def line_is(line, event, path):
    """ZXID EVENT PATH; servers before ZooKeeper 3.9 do not tell the zxid of an event."""
    zxid, got, where = line.rstrip("\n").split(" ", 2)
    t.equal((got, where), (event, path))
    t.check(zxid == "-" if common.APACHE and zxid == "-" else int(zxid, 16) > 0, line)


@t.test("watch: a read waits for the next change, gives one line, and ends")
def _():
    with Dir() as d:
        d.zk.create(d.z("f"), b"1")
        for event, change in (("changed", lambda: d.zk.set(d.z("f"), b"2")),
                              ("children", lambda: d.zk.create(d.z("f/c"), b"")),
                              ("children", lambda: d.zk.delete(d.z("f/c"))),
                              ("deleted", lambda: d.zk.delete(d.z("f"))),
                              ("created", lambda: d.zk.create(d.z("f"), None))):
            p = start_reader(d, "cat", view(d, "watch", "f"))
            change()
            status, out, err = output(p)
            t.equal((status, err, out.count("\n")), (0, "", 1))
            line_is(out, event, d.z("f"))


@t.test("watch: the zxid is the one of the change")
def _():
    with Dir() as d:
        d.zk.create(d.z("f"), b"1")
        p = start_reader(d, "cat", view(d, "watch", "f"))
        d.sh("echo 2 > f")
        zxid = output(p)[1].split()[0]
        want = os.getxattr(d.p("f"), "user.zk.mzxid").decode()
        t.check(zxid == "-" if common.APACHE else "0x" + zxid == want, (zxid, want))


@t.test("watch: cat works for every path: with children, below one with children, and the root")
def _():
    with Dir() as d:
        d.zk.create(d.z("a"), b"1")
        d.zk.create(d.z("a/b"), b"2")
        for path, name, change in ((d.z("a"), d.z("a"), lambda: d.zk.set(d.z("a"), b"x")),
                                   (d.z("a"), d.z("a/.data"), lambda: d.zk.set(d.z("a"), b"x")),
                                   (d.z("a/b"), d.z("a/b"), lambda: d.zk.set(d.z("a/b"), b"x")),
                                   (d.z("no/such"), d.z("no/such"), None),
                                   ("/", "/.data", lambda: d.zk.create("/made-for-the-root", b""))):
            p = start_reader(d, "cat", d.m.path + "/.zk/watch" + name)
            if change is None:
                d.zk.create(d.z("no"), b"")
                t.check(waits(p))
                d.zk.create(d.z("no/such"), b"")
            else:
                change()
            t.equal(output(p)[1].split(" ", 2)[2], path + "\n")
        d.zk.delete("/made-for-the-root")
        d.m.sh("cd .zk/watch%s && timeout 0.3 cat ./a; test $? = 124" % d.znode)
        d.m.sh("cd .zk/watch%s/a && timeout 0.3 cat b; test $? = 124" % d.znode)
        d.m.sh("cd .zk/watch%s/a && timeout 0.3 cat ../a/../a/b; test $? = 124" % d.znode)
        d.m.sh("mkdir %s/d && ln -s $PWD/.zk/watch%s /tmp/zkfs-link-$$ && "
               "timeout 0.3 cat /tmp/zkfs-link-$$/a; s=$?; rm /tmp/zkfs-link-$$; test $s = 124" % (d.name, d.znode))


@t.test("watch: where the caller's path does not show it, a leaf is a file, and .data always is")
def _():
    with Dir() as d:
        d.zk.create(d.z("a"), b"1")
        d.zk.create(d.z("a/b"), b"2")
        link = os.path.join(d.m.folder, "link")
        for path, works in (("a/b", True), ("a", False), ("no", False), ("a/.data", True), ("no/.data", True),
                            ("no/such/.data", True)):
            os.symlink(view(d, "watch", path), link)
            try:
                if works:
                    os.close(os.open(link, os.O_RDONLY))
                else:
                    t.check(os.path.isdir(link), path)
            finally:
                os.unlink(link)


@t.test("watch: a path used as a file and as a directory at the same time is both")
def _():
    with Dir() as d:
        d.zk.create(d.z("a"), b"1")
        d.zk.create(d.z("a/b"), b"2")
        stop = time.monotonic() + 2
        failed = []

        def use(name):
            try:
                while time.monotonic() < stop:
                    fd = os.open(view(d, "watch", name), os.O_RDONLY | os.O_NONBLOCK)
                    fails_with(errno.EAGAIN, os.read, fd, 10)
                    os.close(fd)
            except Exception as e:
                failed.append("%s: %s" % (name, e))
        users = [threading.Thread(target=use, args=(name,)) for name in ("a", "a/b", "a", "a/b", "a/b/c/d", "a/b/c")]
        for user in users:
            user.start()
        for user in users:
            user.join()
        t.equal(failed, [])


@t.test("watch: the shell's tools read it: head, read, $(<f), grep -m1, tail, dd, timeout")
def _():
    with Dir() as d:
        d.zk.create(d.z("f"), b"1")
        name = view(d, "watch", "f")
        for command in ("head -n1 %s", "read -r l < %s && echo \"$l\"", "echo \"$(<%s)\"", "grep -m1 . %s",
                        "tail -n1 %s", "dd bs=100 count=1 status=none if=%s", "dd bs=1 status=none if=%s",
                        "sed -n 1p %s", "while read -r l; do echo \"$l\"; done < %s", "mapfile l < %s; echo \"${l[0]}\""):
            p = subprocess.Popen(["bash", "-c", command % name], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 text=True)
            stop = threading.Event()

            def change():
                while not stop.is_set():
                    d.zk.set(d.z("f"), b"2")
                    time.sleep(0.02)
            changer = threading.Thread(target=change)
            changer.start()
            try:
                status, out, err = output(p)
            finally:
                stop.set()
                changer.join()
            t.equal((status, err), (0, ""), command)
            line_is(out.strip("\n"), "changed", d.z("f"))
        began = time.monotonic()
        d.m.sh("timeout 0.5 cat %s; test $? = 124" % name)
        t.check(time.monotonic() - began < 20)


@t.test("a waiting reader ends at once by SIGINT, SIGTERM and SIGKILL, and a caught signal gives EINTR")
def _():
    with Dir() as d:
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            p = start_reader(d, "cat", view(d, "watch", "f"))
            os.kill(p.pid, signum)
            t.equal(output(p)[0], -signum)
        libc = ctypes.CDLL(None, use_errno=True)
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.siginterrupt(signal.SIGALRM, True)
        fd = os.open(view(d, "watch", "f"), os.O_RDONLY)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        try:
            t.equal(libc.read(fd, ctypes.create_string_buffer(100), 100), -1)
            t.equal(ctypes.get_errno(), errno.EINTR)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
        d.zk.create(d.z("f"), b"")
        line_is(os.read(fd, 100).decode(), "created", d.z("f"))  # the watch was still there
        os.close(fd)


@t.test("a small buffer gets whole lines where they fit, pieces otherwise; what was read can be read again")
def _():
    with Dir() as d:
        fd = os.open(view(d, "watch", "f"), os.O_RDONLY)
        d.zk.create(d.z("f"), b"")
        line = b"".join(iter(lambda: os.read(fd, 3), b""))
        line_is(line.decode(), "created", d.z("f"))
        t.equal(os.read(fd, 100), b"")
        t.equal((os.pread(fd, 100, 0), os.pread(fd, 2, 1)), (line, line[1:3]))
        os.close(fd)
        fd = os.open(d.m.path + "/.zk/session", os.O_RDONLY)
        text = os.pread(fd, 4096, 0)
        first = text[:text.index(b"\n") + 1]
        t.equal(os.pread(fd, len(first) + 5, 0), first, "whole lines")
        t.equal(os.pread(fd, 5, 0), first[:5])
        os.close(fd)


@t.test("O_NONBLOCK gives EAGAIN; select, poll and epoll tell when there is a line, of each descriptor by itself")
def _():
    with Dir() as d:
        d.zk.create(d.z("a"), b"")
        d.zk.create(d.z("b"), b"")
        a = os.open(view(d, "watch", "a"), os.O_RDONLY | os.O_NONBLOCK)
        b = os.open(view(d, "watch", "b"), os.O_RDONLY | os.O_NONBLOCK)
        a2 = os.open(view(d, "watch", "a"), os.O_RDONLY | os.O_NONBLOCK)
        fails_with(errno.EAGAIN, os.read, a, 100)
        t.equal(select.select([a, b, a2], [], [], 0)[0], [])
        timer = threading.Timer(0.3, lambda: d.zk.set(d.z("a"), b"x"))
        timer.start()
        began = time.monotonic()
        ready = select.select([a, b], [], [], 10)[0]
        t.check(time.monotonic() - began > 0.1)
        timer.join()
        t.equal(ready, [a])
        line_is(os.read(a, 100).decode(), "changed", d.z("a"))
        t.equal(os.read(a, 100), b"")
        poller = select.poll()
        poller.register(a2, select.POLLIN)
        t.equal(poller.poll(5000), [(a2, select.POLLIN)])
        epoll = select.epoll()
        epoll.register(b, select.EPOLLIN)
        t.equal(epoll.poll(0), [])
        timer = threading.Timer(0.3, lambda: d.zk.set(d.z("b"), b"x"))
        timer.start()
        t.equal(epoll.poll(10), [(b, select.EPOLLIN)])
        timer.join()
        t.equal(epoll.poll(0), [(b, select.EPOLLIN)], "it stays ready until it is read")
        epoll.close()
        with open(d.p("a")) as plain:
            t.equal(len(select.select([plain], [], [], 5)[0]), 1, "files of the tree are always ready")
        for fd in (a, b, a2):
            os.close(fd)


@t.test("wait/present and wait/absent: at once where it is so, and when it becomes so otherwise")
def _():
    with Dir() as d:
        p = start_reader(d, "cat", view(d, "wait/present", "no/such"))
        d.zk.create(d.z("no"), b"")
        t.check(waits(p))
        d.zk.create(d.z("no/such"), b"")
        line_is(output(p)[1], "present", d.z("no/such"))
        line_is(d.m.sh("timeout 10 cat .zk/wait/present%s" % d.z("no")), "present", d.z("no"))
        line_is(d.m.sh("timeout 10 cat .zk/wait/absent%s" % d.z("x")), "absent", d.z("x"))
        p = start_reader(d, "cat", view(d, "wait/absent", "no/such"))
        d.zk.set(d.z("no/such"), b"still there")
        t.check(waits(p))
        d.zk.delete(d.z("no/such"))
        line_is(output(p)[1], "absent", d.z("no/such"))


@t.test("wait/newer: waits for a greater version, and ends when the znode is deleted, or made again")
def _():
    with Dir() as d:
        d.zk.create(d.z("f"), b"")
        d.zk.set(d.z("f"), b"1")
        line_is(d.m.sh("timeout 10 cat .zk/wait/newer/0%s" % d.z("f")), "newer", d.z("f"))
        line_is(d.m.sh("timeout 10 cat .zk/wait/newer/0%s" % d.z("no")), "absent", d.z("no"))
        p = start_reader(d, "cat", view(d, "wait/newer/2", "f"))
        d.zk.set(d.z("f"), b"2")
        t.check(waits(p))
        d.zk.set(d.z("f"), b"3")
        line_is(output(p)[1], "newer", d.z("f"))
        p = start_reader(d, "cat", view(d, "wait/newer/3", "f"))
        d.zk.delete(d.z("f"))
        d.zk.create(d.z("f"), b"")
        line_is(output(p)[1], "absent", d.z("f"))


@t.test("no gap between test and wait: a thousand changes, none missed by a loop over wait/newer")
def _():
    with Dir() as d:
        d.zk.create(d.z("f"), b"0")
        loop = d.start("v=0; while [ $v -lt 300 ]; do read -r z s p < ../.zk/wait/newer/$v%s || exit 1; "
                       "v=$(getfattr --only-values -n user.zk.version f); done; echo $v" % d.z("f"))
        for i in range(300):
            d.zk.set(d.z("f"), b"%d" % i)
        t.equal(d.m.finish(loop, 60)[:2], (0, "300\n"))


def lines_until(f, last, limit=20):
    """What comes, a list of [EVENT, PATH] and of the words behind `-`, up to the event `last`."""
    got = []

    def read():
        while not got or got[-1] != last:
            zxid, *words = f.readline().rstrip("\n").split(" ", 2)
            got.append(words)
            assert zxid == "-" or int(zxid, 16) > 0
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(limit)
    t.check(not reader.is_alive(), "no %s, but %s" % (last, got))
    return got


@t.test("events: every change of a path and all below it, in order, with the zxid of each")
def _():
    with Dir() as d:
        d.zk.create(d.z("other"), b"")
        d.zk.create(d.z("a"), None)
        with open(view(d, "events", "a")) as f:
            zxids = []
            d.zk.create(d.z("a/b"), b"")
            d.zk.create(d.z("a/b/c"), b"1")
            d.zk.set(d.z("other"), b"2")
            d.zk.set(d.z("a/b/c"), b"2")
            zxids.append(os.getxattr(d.p("a/b/c"), "user.zk.mzxid").decode())
            d.zk.delete(d.z("a/b/c"))
            d.zk.set(d.z("a"), b"")
            d.zk.delete(d.z("a/b"))
            d.zk.delete(d.z("a"))
            got = lines_until(f, ["deleted", d.z("a")])
        t.equal(got, [["created", d.z("a/b")], ["created", d.z("a/b/c")], ["changed", d.z("a/b/c")],
                      ["deleted", d.z("a/b/c")], ["changed", d.z("a")], ["deleted", d.z("a/b")],
                      ["deleted", d.z("a")]])


@t.test("events: of a path that does not exist yet, of the whole mount, and by the shell's while read")
def _():
    with Dir() as d:
        with open(view(d, "events", "no/such")) as f, open(d.m.path + "/.zk/events/.data") as whole:
            p = start_reader(d, "bash", "-c", "while read -r z e p; do echo $e $p; [[ $p == */end ]] && break; "
                             "done < %s" % view(d, "events"))
            d.zk.create(d.z("no"), b"")
            d.zk.create(d.z("no/such"), b"")
            for i in range(300):
                d.zk.create(d.z("no/such/n%d" % i), b"")
            d.zk.create(d.z("end"), b"")
            want = [["created", d.z("no/such")]] + [["created", d.z("no/such/n%d" % i)] for i in range(300)]
            t.equal(lines_until(f, want[-1]), want)
            want = [["created", d.z("no")]] + want + [["created", d.z("end")]]
            t.equal(lines_until(whole, want[-1]), want)
            t.equal(output(p)[1].splitlines(), [" ".join(w) for w in want])


@t.test("events: poll tells of each line; a read with O_NONBLOCK never waits")
def _():
    with Dir() as d:
        fd = os.open(view(d, "events"), os.O_RDONLY | os.O_NONBLOCK)
        for i in range(5):
            fails_with(errno.EAGAIN, os.read, fd, 1000)
            timer = threading.Timer(0.1, lambda: d.zk.create(d.z("n%d" % i), b""))
            timer.start()
            t.equal(select.select([fd], [], [], 10)[0], [fd])
            timer.join()
            line_is(os.read(fd, 1000).decode(), "created", d.z("n%d" % i))
        os.close(fd)


@t.test("events: a reader that is too slow is told of a gap, and hears what comes behind it")
def _():
    with Dir() as d:
        name = "n" * 200
        d.zk.create(d.z(name), b"")
        fd = os.open(view(d, "events"), os.O_RDONLY)
        for i in range(6000):
            d.zk.set(d.z(name), b"%d" % i)
        text = b""
        while not text.endswith(b"- gap\n"):
            text += os.read(fd, 1 << 17)
        t.check(1 << 20 < len(text) < (1 << 20) + 1000, len(text))
        t.equal(text.count(b"- gap\n"), 1)
        d.zk.create(d.z("behind"), b"")
        line_is(os.read(fd, 1000).decode(), "created", d.z("behind"))
        fails_with(errno.EINVAL, os.pread, fd, 10, 0)  # long ago
        os.close(fd)


@t.test("events: of two reads that wait, one far behind what the other has read gets EINVAL and nothing else")
def _():
    with Dir() as d, t.Session(common.PORT) as zk:
        name = "n" * 200
        zk.create(d.znode + "/" + name)
        fd = os.open(view(d, "events"), os.O_RDONLY)
        try:
            for i in range(600):  # more than the 64 KiB that are kept
                zk.set(d.znode + "/" + name, b"%d" % i)
            os.stat(d.path)  # behind the events
            end = len(os.pread(fd, 1 << 20, 0))
            got = {}
            pids = {}

            def wait_at(off):
                pids[off] = threading.get_native_id()
                try:
                    got[off] = os.pread(fd, 1000, off)
                except OSError as e:
                    got[off] = e.errno
            # The one that is further is asked first, and answered first.
            threads = []
            for off in (end + 100, end):
                threads.append(threading.Thread(target=wait_at, args=(off,)))
                threads[-1].start()
                t.wait_for(lambda off=off: off in pids and in_pread(pids[off]), 10, "the read waiting")
            zk.set(d.znode + "/" + name, b"more")
            for thread in threads:
                thread.join(20)
            t.check(isinstance(got[end + 100], bytes) and got[end + 100].endswith(name[:50].encode() + b"\n"), got)
            t.equal(got[end], errno.EINVAL)
        finally:
            os.close(fd)
