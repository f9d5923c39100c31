"""A crash of the worker between two steps of one call, and of what a sleeping caller goes by."""
import errno
import fcntl
import os
import select
import signal
import subprocess
import threading
import time

import common
from access import AuthFile
from common import APACHE, Dir, mount, t
from fault import Faulty, go_on, stop
from flags import set_flags
from restart import WRITES, Own, Wire, crash, opcodes, source

PING = 11


class WireBehind(Wire):
    """Once armed, it passes the next write with its answer, and keeps the answers of what comes behind to itself."""
    written = False

    def listen(self, seen, data):
        for opcode in opcodes(seen, data):
            if self.armed and self.written and opcode != PING:
                self.armed, self.deaf = False, True
            self.written = self.written or (self.armed and opcode in WRITES)
        return data


class Wired:
    """A mount of a folder of the shared server, with a wire between them: `with Wired(kind) as (d, m, wire)`."""

    def __init__(self, kind=Wire):
        self.kind = kind

    def __enter__(self):
        self.d = Dir()
        self.d.__enter__()
        self.wire = self.kind(common.PORT + 2, common.PORT)
        self.m = mount.Mount("127.0.0.1:%d%s" % (common.PORT + 2, self.d.znode), "restarts=1000,timeo=30,timeout=30")
        return self.d, self.m, self.wire

    def __exit__(self, *why):
        self.m.close()
        self.wire.close()
        self.d.__exit__(*why)


class Call(threading.Thread):
    """fn() in a thread; result() is its errno, 0 when it returned."""

    def __init__(self, fn):
        super().__init__(daemon=True)
        self.fn = fn
        self.errno = 0
        self.start()

    def run(self):
        try:
            self.fn()
        except OSError as e:
            self.errno = e.errno

    def result(self):
        self.join(30)
        t.check(not self.is_alive(), "it hangs")
        return self.errno


@t.test("crash: a truncation that was done, and whose attributes were not read yet, is not done again")
def _():
    for name, size, other in (("path", 0, True), ("path", 2, False), ("descriptor", 0, True), ("descriptor", 2, True)):
        if APACHE and other:
            continue  # nothing there tells that it was done before
        with Wired(WireBehind) as (d, m, wire):
            m.sh("echo value > f")
            fd = os.open(m.path + "/f", os.O_RDWR)
            wire.armed = True
            call = Call(lambda: os.truncate(m.path + "/f" if name == "path" else fd, size))
            t.check(wire.swallowed.wait(10), "the server has answered")
            if other:
                d.zk.set(d.z("f"), b"other")
            crash(m)
            t.equal(os.strerror(call.result()), os.strerror(0), "%s %d\n%s" % (name, size, m.log()))
            t.equal(d.get("f"), b"other" if other else b"value\n"[:size], "%s %d" % (name, size))
            t.equal(d.version("f"), 3 if other else 2)
            os.close(fd)


@t.test("crash: who sleeps in poll(2) or epoll on a view wakes, by the gap and by what comes later")
def _():
    with Own() as (d, m):
        m.sh("mkdir dir && echo v > f")
        view = lambda name, path: os.open("%s/.zk/%s/%s" % (m.path, name, path), os.O_RDONLY | os.O_NONBLOCK)
        fds = [view("events", "dir"), view("watch", "f"), view("wait/present", "new")]

        def poll(fd):
            p = select.poll()
            p.register(fd, select.POLLIN)
            return Call(lambda: t.check(p.poll(20000), "no event"))
        sleepers = [poll(fd) for fd in fds]
        epoll = select.epoll()
        epoll.register(fds[0], select.EPOLLIN)
        time.sleep(0.3)
        crash(m)
        for x in sleepers[:2]:
            x.join(5)
            t.check(not x.is_alive(), "the gap wakes")
        t.equal(epoll.poll(5), [(fds[0], select.EPOLLIN)])
        crash(m)  # the third sleeps on over another one
        time.sleep(0.3)
        t.check(sleepers[2].is_alive(), "it sleeps on")
        m.sh("touch new")
        sleepers[2].join(5)
        t.check(not sleepers[2].is_alive(), "what it waits for wakes")
        epoll.close()
        for fd in fds:
            os.close(fd)


@t.test("crash: an ignored SIGCHLD, inherited from who started zkfs, keeps no worker from being followed")
def _():
    die_with_parent = t._die_with_parent

    def ignoring():
        die_with_parent()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    t._die_with_parent = ignoring
    try:
        with Own() as (_, m):
            t._die_with_parent = die_with_parent
            m.sh("echo v > f")
            os.kill(m.worker(), signal.SIGKILL)
            t.wait_for(lambda: "resumed" in m.log(), 10, "another worker")
            m.sh("cat f", "v\n")
    finally:
        t._die_with_parent = die_with_parent


@t.test("crash: the error of a commit in the background is still told, once, by fsync or close")
def _():
    with Own() as (d, m):
        for tell in (os.fsync, os.close):
            m.sh("echo v > f")
            fd = os.open(m.path + "/f", os.O_RDWR)
            before = m.log().count("could not be committed")
            os.write(fd, b"x" * 4096)
            d.zk.set(d.z("f"), b"other")
            t.wait_for(lambda: m.log().count("could not be committed") > before, 10, "the commit's failure")
            crash(m)
            common.fails_with(errno.EIO, tell, fd)
            if tell is os.fsync:
                crash(m)
                os.fsync(fd)
                os.close(fd)
            t.equal(d.get("f"), b"other")


@t.test("crash: pieces that an unlock was committing are committed once, and the lock is let go behind them")
def _():
    def begin(m):
        fd = os.open(m.path + "/f", os.O_RDWR | os.O_CREAT)
        fcntl.flock(fd, fcntl.LOCK_EX)
        os.write(fd, b"x" * 4096)
        return fd

    def end(m, fd, call):
        t.equal(os.strerror(call.result()), os.strerror(0), m.log())
        os.pwrite(fd, b"y", 0)
        os.close(fd)
        m.sh("flock -n f true; [ $(getfattr --only-values -n user.zk.version f) = 2 ] && head -c 2 f", "yx")
    with Wired() as (_, m, wire):
        fd = begin(m)
        wire.armed = True
        call = Call(lambda: fcntl.flock(fd, fcntl.LOCK_UN))
        t.check(wire.swallowed.wait(10), "the server has answered")
        crash(m)
        end(m, fd, call)
    with Faulty("restarts=1000,timeo=30,timeout=30") as (server, m):
        fd = begin(m)
        stop(server)
        call = Call(lambda: fcntl.flock(fd, fcntl.LOCK_UN))
        time.sleep(0.5)
        crash(m)
        time.sleep(0.3)
        go_on(server)
        end(m, fd, call)


@t.test("crash: pieces that a close or fsync was committing are written though two workers crash under it")
def _():
    for tell in (os.close, os.fsync):
        with Faulty("restarts=1000,timeo=30,timeout=30") as (server, m):
            m.sh("echo v > f")
            fd = os.open(m.path + "/f", os.O_RDWR)
            stop(server)
            os.write(fd, b"x" * 4096)
            call = Call(lambda: tell(fd))
            time.sleep(0.3)
            for _ in range(2):
                crash(m)
                time.sleep(0.3)
                t.check(call.is_alive(), "it waits")
            go_on(server)
            t.equal(os.strerror(call.result()), os.strerror(0), m.log())
            m.sh("wc -c < f && getfattr --only-values -n user.zk.version f", "4096\n2")
            if tell is os.fsync:
                os.close(fd)


@t.test("crash: a lock that waits behind a commit is had though others have written since")
def _():
    with Own() as (d, m):
        m.sh("echo v > f")
        other, fd = os.open(m.path + "/f", os.O_RDWR), os.open(m.path + "/f", os.O_RDWR)
        fcntl.flock(other, fcntl.LOCK_EX)
        os.write(fd, b"x" * 4096)
        call = Call(lambda: fcntl.flock(fd, fcntl.LOCK_EX))
        t.wait_for(lambda: len(d.get("f")) == 4096, 10, "the commit")
        d.zk.set(d.z("f"), b"theirs")
        time.sleep(0.2)
        crash(m)
        t.check(call.is_alive(), "it waits")
        fcntl.flock(other, fcntl.LOCK_UN)
        t.equal(os.strerror(call.result()), os.strerror(0), m.log())
        t.equal(os.pread(fd, 100, 0), b"theirs")
        os.close(fd)
        os.close(other)


@t.test("crash: a worker that is killed as it tells that the mount works is followed by one that serves it")
def _():
    env = {"LD_PRELOAD": os.path.join(t.BUILD, "tests", "mount", "kill_told.so"),
           "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"}
    with Dir() as d, mount.Mount(source(d), "restarts=1000", wait=False, env=env) as m:
        t.wait_for(lambda: "the worker crashed" in m.log(), 20, "the crash")
        t.equal(subprocess.run(["timeout", "10", "mkdir", m.path + "/d"]).returncode, 0, m.log())


@t.test("crash: the file of -o auth may have gone by then: the session, its identity and its ephemerals stay")
def _():
    with Dir() as d, AuthFile() as name:
        with mount.Mount(source(d), "restarts=1000,auth=%s,acl=auth::cdrwa" % name) as m:
            m.sh("mkdir q && echo v > f")
            set_flags(m.path + "/q", "ephemeral")
            m.sh("touch q/e")
            os.rename(name, name + "-gone")
            try:
                for _ in range(2):
                    crash(m)
                    m.sh("echo w >> f && ls q", "e\n")
            finally:
                os.rename(name + "-gone", name)
            m.sh("rm -r q f")
