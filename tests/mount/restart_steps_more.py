"""Goes on with restart_steps.py: renames of all kinds, attributes, mappings, events, lines of two writers."""
import errno
import fcntl
import mmap
import os
import re
import select

import common
from common import t
from rename import EXCHANGE, NOREPLACE, renameat2
from restart_more import Call
from restart_steps import UNKNOWN, sweep, writes

ACL = "user.zk.acl"


def make(s, name, *files):
    """A directory with these files, each of which holds its name."""
    os.mkdir(s.p(name))
    for file in files:
        if file.endswith("/"):
            os.mkdir(s.p(name) + "/" + file)
        else:
            s.d.zk.create("%s/%s" % (s.d.z(name), file), file.encode())
    return s.p(name)


def tree(s, name):
    """All below it, and the values of what has one."""
    found = {}
    for child in s.d.zk.children(s.d.z(name)):
        found[child] = s.d.get(name + "/" + child)
        found.update({child + "/" + n: v for n, v in tree(s, name + "/" + child).items()})
    return found


@t.test("crash at each step: a directory and a file change places, and what is open in them goes along")
def _():
    def prepare(s, name):
        return make(s, name, "d/", "d/f", "g")

    def act(s, path):
        fds = [os.open(path + "/" + n, os.O_RDWR) for n in ("d/f", "g")]
        inside = os.open(path + "/d", os.O_RDONLY)
        renameat2(path + "/d", path + "/g", EXCHANGE)
        for fd in fds:
            os.pwrite(fd, b"1", 0)
        os.mkdir("new", dir_fd=inside)
        for fd in fds + [inside]:
            os.close(fd)
        return True

    def check(s, name, result, errnum):
        if errnum == 0:
            t.equal(tree(s, name), {"d": b"1", "g": None, "g/f": b"1/f", "g/new": None})
        else:
            t.check(len(tree(s, name)) in (3, 4), tree(s, name))
    sweep(prepare, act, check, UNKNOWN)


@t.test("crash at each step: renames over an empty directory, onto .data, and where nothing may be")
def _():
    def prepare(s, name):
        return make(s, name, "a/", "a/f", "empty/", "d/", "d/x", "value", "n")

    def act(s, path):
        fd = os.open(path + "/a/f", os.O_RDWR)
        os.rename(path + "/a", path + "/empty")
        os.pwrite(fd, b"A", 0)
        os.close(fd)
        os.rename(path + "/value", path + "/d/.data")
        renameat2(path + "/n", path + "/m", NOREPLACE)
        common.fails_with(errno.EEXIST, renameat2, path + "/m", path + "/d", NOREPLACE)
        return True

    def check(s, name, result, errnum):
        if errnum == 0:
            t.equal(tree(s, name), {"empty": None, "empty/f": b"A/f", "d": b"value", "d/x": b"d/x", "m": b"n"})
    sweep(prepare, act, check, UNKNOWN)


@t.test("crash at each step: attributes, and a file that is changed through a mapping")
def _():
    def prepare(s, name):
        return make(s, name, "f")

    def act(s, path):
        acl = b"ip:127.0.0.1:cdrwa,world:anyone:r"
        os.setxattr(path + "/f", ACL, acl)
        t.equal(os.getxattr(path + "/f", ACL), acl)
        os.utime(path + "/f")
        fd = os.open(path + "/f", os.O_RDWR)
        os.ftruncate(fd, 5)
        with mmap.mmap(fd, 5) as m:
            m[:5] = b"12345"
            m.flush()
        value = os.pread(fd, 10, 0)
        os.close(fd)
        return value, os.stat(path + "/f").st_size

    def check(s, name, result, errnum):
        if errnum == 0:
            t.equal(result, (b"12345", 5))
            t.equal(s.d.get(name + "/f"), b"12345")
    sweep(prepare, act, check, UNKNOWN)


@t.test("crash at each step: lines that two append, each once and whole")
def _():
    def prepare(s, name):
        s.d.zk.create(s.d.z(name), b"")
        return s.p(name)

    def act(s, path):
        def append(letter):
            fd = os.open(path, os.O_WRONLY | os.O_APPEND)
            for i in range(2):
                writes(s, fd, b"%s%d\n" % (letter, i))
            os.close(fd)
        other = Call(lambda: append(b"a"))
        append(b"b")
        errnum = other.result()
        if errnum:
            raise OSError(errnum, "")
        return True

    def check(s, name, result, errnum):
        lines = s.d.get(name).decode().split()
        t.equal(len(lines), len(set(lines)))
        if errnum == 0:
            t.equal(sorted(lines), ["a0", "a1", "b0", "b1"])
            t.check(lines.index("a0") < lines.index("a1") and lines.index("b0") < lines.index("b1"), lines)
    sweep(prepare, act, check, UNKNOWN)


@t.test("crash at each step: events come in order, and where one may be missing a gap is told")
def _():
    def prepare(s, name):
        os.mkdir(s.p(name))
        return name

    def act(s, name):
        fd = os.open("%s/.zk/events/%s" % (s.m.path, name), os.O_RDONLY | os.O_NONBLOCK)
        text, more = "", 0
        for file in "abc":
            s.d.zk.create("%s/%s" % (s.d.z(name), file), b"")
        while "/z" not in text:  # an event behind all of them, also behind a gap
            os.mkdir("%s/z%d" % (s.p(name), more))
            more += 1
            if select.select([fd], [], [], 0.05)[0]:
                text += os.read(fd, 4096).decode()
        os.close(fd)
        return text

    def check(s, name, text, errnum):
        if errnum == 0:
            came = re.findall(r"- gap|/[abc](?=\n)", text)
            named = [x for x in came if x != "- gap"]
            t.equal(named, sorted(set(named)), text)
            t.check(len(named) == 3 or "- gap" in came, text)
    sweep(prepare, act, check, UNKNOWN)


@t.test("crash at each step: locks of a process through two descriptors of a file")
def _():
    def prepare(s, name):
        s.d.zk.create(s.d.z(name), b"")
        return s.p(name)

    def act(s, path):
        one, two = os.open(path, os.O_RDWR), os.open(path, os.O_RDWR)
        fcntl.lockf(one, fcntl.LOCK_EX, 10, 0)
        fcntl.lockf(two, fcntl.LOCK_SH, 10, 5)
        fcntl.lockf(two, fcntl.LOCK_UN, 2, 0)
        locks = s.locks()
        os.close(one)  # POSIX: all the process's locks of the file go with it
        t.wait_for(lambda: s.locks() == 0, 10, "the end of all locks")
        os.close(two)
        return locks

    def check(s, name, locks, errnum):
        t.equal(locks, 2)
    sweep(prepare, act, check)
