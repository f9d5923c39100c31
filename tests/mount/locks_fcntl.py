"""fcntl(2) locks between mounts: ranges, of processes and of open files."""
import errno
import fcntl
import os
import select
import struct

import common
from common import t
from lock_tools import Hosts, Open, Child, succeeds


@t.test("fcntl: ranges exclude each other between mounts where they overlap, and only there")
def _():
    with Hosts() as h:
        def other(me):
            fd = os.open(h.mounts[1].path + "/f", os.O_RDWR)
            fcntl.lockf(fd, fcntl.LOCK_EX, 10, 10)
            fcntl.lockf(fd, fcntl.LOCK_SH, 10, 100)
            me.tell("locked")
            me.hear()
            fcntl.lockf(fd, fcntl.LOCK_UN, 4, 13)
            me.tell("split")
            me.hear()
            fcntl.lockf(fd, fcntl.LOCK_SH, 3, 17)
            me.tell("downgraded")
            me.hear()
            os.close(os.open(h.mounts[1].path + "/f", os.O_RDONLY))  # any close drops them all
            me.tell("closed")
            me.hear()
        child = Child(other)
        with Open(h.mounts[0]) as a:
            def can(kind, length, at):
                if not succeeds(fcntl.lockf, a.fd, kind | fcntl.LOCK_NB, length, at):
                    return False
                fcntl.lockf(a.fd, fcntl.LOCK_UN, length, at)
                return True
            ex, sh = fcntl.LOCK_EX, fcntl.LOCK_SH
            t.equal(child.line(), "locked")
            t.equal([can(ex, 10, 0), can(ex, 11, 0), can(ex, 1, 19), can(ex, 80, 20)], [True, False, False, True])
            t.equal([can(ex, 0, 0), can(sh, 1, 15), can(sh, 10, 100), can(ex, 1, 109)], [False, False, True, False])
            child.go()
            t.equal(child.line(), "split")
            t.equal([can(ex, 4, 13), can(ex, 5, 13), can(ex, 1, 12), can(sh, 3, 17)], [True, False, False, False])
            child.go()
            t.equal(child.line(), "downgraded")
            t.equal([can(sh, 3, 17), can(ex, 3, 17), can(ex, 4, 13), can(sh, 3, 10)], [True, False, True, False])
            t.check(a.try_flock(fcntl.LOCK_EX), "flock is another thing")
            child.go()
            t.equal(child.line(), "closed")
            t.check(can(ex, 0, 0))
            child.end()


@t.test("fcntl: F_GETLK tells a lock of another mount, with its range")
def _():
    with Hosts() as h:
        def other(me):
            fd = os.open(h.mounts[1].path + "/f", os.O_RDWR)
            fcntl.lockf(fd, fcntl.LOCK_EX, 10, 10)
            me.tell("locked")
            me.hear()
        child = Child(other)
        t.equal(child.line(), "locked")
        with Open(h.mounts[0]) as a:
            def getlk(kind, start, length):
                ask = struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0)
                return struct.unpack("hhqqi4x", fcntl.fcntl(a.fd, fcntl.F_GETLK, ask))
            t.equal(getlk(fcntl.F_RDLCK, 0, 0)[:4], (fcntl.F_WRLCK, 0, 10, 10))
            t.equal(getlk(fcntl.F_WRLCK, 0, 10)[0], fcntl.F_UNLCK)
            t.equal(a.ofd(fcntl.F_WRLCK, 15, 1, fcntl.F_OFD_GETLK)[:4], (fcntl.F_WRLCK, 0, 10, 10))
        child.end()


@t.test("fcntl: what is left of a split lock stays in front of those who waited for the whole")
def _():
    with Hosts() as h:
        def waiter(me):
            fd = os.open(h.mounts[1].path + "/f", os.O_RDWR)
            me.tell("waits")
            fcntl.lockf(fd, fcntl.LOCK_EX, 1, 50)
            me.tell("locked")
            me.hear()
        fd = os.open(h.mounts[0].path + "/f", os.O_RDWR)
        fcntl.lockf(fd, fcntl.LOCK_EX, 100, 0)
        child = Child(waiter)
        t.equal(child.line(), "waits")
        h.wait_queue(2)
        fcntl.lockf(fd, fcntl.LOCK_UN, 10, 0)
        fcntl.lockf(fd, fcntl.LOCK_UN, 10, 90)
        fcntl.lockf(fd, fcntl.LOCK_SH, 80, 10)
        t.equal(len(h.wait_queue(2)), 2)
        t.equal(select.select([child.out], [], [], 0.5)[0], [], "it is granted while the lock is held")
        fcntl.lockf(fd, fcntl.LOCK_EX, 80, 10)  # an upgrade does not wait for who waits for it
        t.equal(select.select([child.out], [], [], 0.3)[0], [], "it is granted while the lock is held")
        fcntl.lockf(fd, fcntl.LOCK_UN, 1, 50)
        t.equal(child.line(), "locked")
        child.end()
        os.close(fd)
        h.wait_queue(0)


@t.test("fcntl: of two processes that wait for each other the later gets EDEADLK, across mounts")
def _():
    with Hosts() as h:
        def other(me):
            fd = os.open(h.mounts[1].path + "/f", os.O_RDWR)
            fcntl.lockf(fd, fcntl.LOCK_EX, 1, 1)
            me.tell("locked")
            me.hear()
            fcntl.lockf(fd, fcntl.LOCK_EX, 1, 0)
            me.tell("locked both")
        child = Child(other)
        t.equal(child.line(), "locked")
        with Open(h.mounts[0]) as a:
            fcntl.lockf(a.fd, fcntl.LOCK_EX, 1, 0)
            child.go()
            h.wait_queue(3)
            common.fails_with(errno.EDEADLK, fcntl.lockf, a.fd, fcntl.LOCK_EX, 1, 1)
            h.wait_queue(3)
        t.equal(child.line(), "locked both")
        child.end()


@t.test("fcntl: a process that is killed, or closes any descriptor, also a read-only one, lets go of its locks")
def _():
    with Hosts() as h:
        def other(me):
            fd = os.open(h.mounts[1].path + "/f", os.O_RDONLY)
            fcntl.lockf(fd, fcntl.LOCK_SH)
            me.tell("locked")
            me.hear()
            os.close(fd)
            me.tell("closed")
            me.hear()
            fd = os.open(h.mounts[1].path + "/f", os.O_RDONLY)
            fcntl.lockf(fd, fcntl.LOCK_SH)
            me.tell("locked")
            me.hear()
        child = Child(other)
        with Open(h.mounts[0]) as a:
            for _ in range(2):
                t.equal(child.line(), "locked")
                t.check(not succeeds(fcntl.lockf, a.fd, fcntl.LOCK_EX | fcntl.LOCK_NB))
                if _ == 0:
                    child.go()
                    t.equal(child.line(), "closed")
                    fcntl.lockf(a.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    fcntl.lockf(a.fd, fcntl.LOCK_UN)
                    child.go()
            child.kill()
            t.wait_for(lambda: succeeds(fcntl.lockf, a.fd, fcntl.LOCK_EX | fcntl.LOCK_NB), 10, "the lock")


@t.test("open file description locks: the descriptor is the owner, and its last close lets go")
def _():
    with Hosts() as h:
        with Open(h.mounts[0]) as a, Open(h.mounts[0]) as a2, Open(h.mounts[1]) as b:
            t.check(a.ofd(fcntl.F_WRLCK, 0, 10))
            t.check(not a2.ofd(fcntl.F_WRLCK, 5, 10), "another descriptor of this process")
            t.check(not b.ofd(fcntl.F_RDLCK, 5, 10), "another mount")
            t.check(b.ofd(fcntl.F_WRLCK, 10, 10))
            t.check(a.ofd(fcntl.F_UNLCK, 0, 5))
            t.check(b.ofd(fcntl.F_WRLCK, 0, 5))
            Open(h.mounts[0]).close()
            t.check(not b.ofd(fcntl.F_WRLCK, 5, 5), "the close of another descriptor changes nothing")
            a.close()
            t.wait_for(lambda: b.ofd(fcntl.F_WRLCK, 5, 5), 10, "the lock")
