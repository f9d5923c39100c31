"""What is too long, too deep, too many or no name at all: the right result or the right errno, and the frontend lives."""
import errno
import os
import struct

from common import Dir, fails_with, shared, t

MULTI = 14
BATCH = 1000
CHILDREN = 100000


class Lives:
    """The frontend that served before the block serves after it."""

    def __enter__(self):
        self.process = shared().process

    def __exit__(self, kind, *_):
        if kind is None:
            t.check(shared().process is self.process and self.process.poll() is None, "the frontend has ended")
            os.listdir(shared().path)


def multi(zk, op, bodies):
    """One transaction of operations of one kind."""
    header = struct.pack(">ibi", op, 0, -1)
    zk.call(MULTI, b"".join(header + body for body in bodies) + struct.pack(">ibi", -1, 1, -1))


def in_batches(zk, op, bodies):
    for i in range(0, len(bodies), BATCH):
        multi(zk, op, bodies[i:i + BATCH])


@t.test("100,000 children of one directory are made elsewhere, listed, counted, found and removed")
def _():
    with Dir() as d, Lives():
        d.sh("mkdir a")
        names = ["n%06d" % i for i in range(CHILDREN)]
        in_batches(d.zk, t.CREATE, [t.create_body(d.z("a/" + n), b"v") for n in names])
        d.sh("sync .")
        t.equal(os.stat(d.p("a")).st_size, CHILDREN)
        listed = sorted(os.listdir(d.p("a")))
        t.check(listed == names, "%d names" % len(listed))
        d.sh("ls -f a | wc -l && cat a/n000000 a/n099999 && test ! -e a/n100000", "100002\nvv")
        d.fails("rmdir a", "Directory not empty")
        fails_with(errno.EXDEV, os.rename, d.p("a"), d.p("b"))
        d.sh("echo w > a/new && mv a/new a/n050000 && rm a/n099999 && ls a | wc -l && cat a/n050000", "99999\nw\n")
        in_batches(d.zk, t.DELETE, [t.text(d.z("a/" + n)) + struct.pack(">i", -1) for n in names[:-1]])
        d.sh("sync . && ls -A a && rmdir a", "")


@t.test("500 directories deep everything works, and tools walk down and up again")
def _():
    with Dir() as d, Lives():
        depth = 500
        fd = os.open(d.path, os.O_RDONLY)
        for _ in range(depth):
            os.mkdir("d", dir_fd=fd)
            below = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd = below
        file_fd = os.open("f", os.O_CREAT | os.O_RDWR, dir_fd=fd)
        os.write(file_fd, b"deep")
        os.close(file_fd)
        here = "/proc/self/fd/%d" % fd
        d.renew()
        t.equal(os.listdir(here), ["f"])
        t.equal(os.getxattr(here, "user.zk.path").decode(), d.znode + "/d" * depth)
        t.equal(d.get("d/" * depth + "f"), b"deep")
        os.rename("f", "g", src_dir_fd=fd, dst_dir_fd=fd)
        os.close(fd)
        fails_with(errno.EXDEV, os.rename, d.p("d"), d.p("other"))
        for command, want in (("find . -type d | wc -l", "%d\n" % (depth + 1)),
                              ("tar cf - d | tar tf - | tail -n1 | wc -c", "%d\n" % (2 * depth + 2)),
                              ("rm -r d && ls", "")):
            d.sh(command, want, 120)
            d.renew()


@t.test("a path longer than 64 KiB is ENAMETOOLONG")
def _():
    with Dir() as d, Lives():
        name = "y" * 255
        d.sh("touch f && mkdir -p s/" + "z" * 255)
        fd = os.open(d.path, os.O_RDONLY)
        depth, limit = 0, 65536
        while len(d.znode) + (depth + 1) * 256 <= limit:
            os.mkdir(name, dir_fd=fd)
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd, depth = below, depth + 1
        for fn in (lambda: os.mkdir(name, dir_fd=fd), lambda: os.stat(name, dir_fd=fd),
                   lambda: os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=fd),
                   lambda: os.rename(d.p("f"), name, dst_dir_fd=fd)):
            fails_with(errno.ENAMETOOLONG, fn)
        # The tree's root would have room, what is in it would not.
        fails_with(errno.ENAMETOOLONG, lambda: os.rename(d.p("s"), "s", dst_dir_fd=fd))
        os.rename(d.p("f"), "f", dst_dir_fd=fd)
        os.close(fd)
        d.renew()
        d.sh("rm -r %s s" % name, "", 120)


@t.test("any bytes as a name are found or made, or refused, and nothing else happens")
def _():
    good = ["é", "日本", "a b", "'", '"', "\\", "*", "-", "...", "..a", "a..", "\u00a0", "~", "%s%n", "$(id)", "n" * 255,
            "é" * 127 + "n", "日" * 85]
    bad = [bytes([c]) for c in list(range(1, 32)) + [127]] + [
        b"\xff", b"\xc3", b"\xc3\x28", b"\xc0\xae", b"\xc0\xaf", b"\xe2\x28\xa1", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80",
        b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xc2\x80", b"\xc2\x9f", b"\xef\xbf\xb0", b"\xef\xbf\xbf",
        b"\xee\x80\x80", b"a\nb", b"n" * 254 + b"\xc3"]
    long = ["n" * 256, "é" * 128, "日" * 86, "n" * 4095]
    with Dir() as d, Lives():
        base = os.fsencode(d.path) + b"/"
        for name in good:
            path = d.p(name)
            os.mkdir(path)
            t.equal(os.listdir(d.path), [name])
            t.equal(d.zk.children(d.znode), [name])
            os.rename(path, d.p("x"))
            os.rename(d.p("x"), path)
            os.rmdir(path)
        d.sh("touch f")
        for name in bad:
            path = base + name
            for want, fn, *args in ((errno.ENOENT, os.stat), (errno.EINVAL, os.mkdir), (errno.ENOENT, os.unlink),
                                    (errno.ENOENT, os.rmdir), (errno.EINVAL, os.mknod, 0o100644),
                                    (errno.EINVAL, os.open, os.O_CREAT | os.O_WRONLY), (errno.ENOENT, os.listdir)):
                fails_with(want, fn, path, *args)
            fails_with(errno.ENOENT, os.rename, path, base + b"x")
            fails_with(errno.EINVAL, os.rename, base + b"f", path)
        for name in long:
            fails_with(errno.ENAMETOOLONG, os.stat, d.p(name))
            fails_with(errno.ENAMETOOLONG, os.mkdir, d.p(name))
            fails_with(errno.ENAMETOOLONG, os.rename, d.p("f"), d.p(name))
        fails_with(errno.ENOENT, os.stat, d.p("../no"))
        t.equal(d.zk.children(d.znode), ["f"])
