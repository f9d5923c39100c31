"""What a znode is shown as, when that changes under those who use it, and with layout=dirs and empty=dir."""
import errno
import os

import common
from common import Dir, fails_with, mount, t
from rename import Beside


def source(d):
    return "127.0.0.1:%d%s" % (common.PORT, d.znode)


@t.test("a descriptor reads and writes its file while the znode is a directory, and when it is a file again")
def _():
    with Dir() as d:
        d.sh("echo one > f")
        with open(d.p("f"), "r+b", buffering=0) as f, open(d.p("f"), "ab", buffering=0) as end:
            for i in range(3):
                d.zk.create(d.z("f/c"), b"1")
                d.sh("test -d f && ls -A f && cat f/.data", ".data\nc\n" + "one\n" * (i * 2 + 1))
                end.write(b"one\n")
                f.seek(0)
                t.check((os.fstat(f.fileno()).st_mode & 0o170000, f.read(4)) == (0o100000, b"one\n"))
                d.zk.delete(d.z("f/c"))
                d.sh("test -f f && cat f", "one\n" * (i * 2 + 2))
                end.write(b"one\n")
                os.fsync(f.fileno())
            fails_with(errno.ESTALE, f.write, b"of another version")
            os.ftruncate(end.fileno(), 0)
        d.sh("test -f f && cat f", "")


@t.test("an open directory and a working directory go on when the znode is a file for a while")
def _():
    with Dir() as d:
        d.zk.create(d.z("a"), b"value")
        d.zk.create(d.z("a/c"), b"")
        fd = os.open(d.p("a"), os.O_RDONLY | os.O_DIRECTORY)
        shell = d.start("cd a && echo ready && until [ ! -d ../a ]; do sleep 0.02; done; ls -A && cat .data && "
                        "stat -c %F . && touch made && ls -A && pwd -P && cd .. && ls a")
        t.equal(shell.stdout.readline(), "ready\n")
        d.zk.delete(d.z("a/c"))
        status, out, err = d.m.finish(shell)
        t.equal((status, out), (0, ".data\nvaluedirectory\n.data\nmade\n%s\nmade\n" % d.p("a")), err)
        t.equal(sorted(os.listdir(fd)), [".data", "c"], "the listing of the open")
        d.zk.delete(d.z("a/made"))
        t.check(os.path.isfile(d.p("a")))
        t.equal(os.listdir(fd), [".data"])
        t.equal(os.fstat(fd).st_mode & 0o170000, 0o040000)
        os.mkdir("again", dir_fd=fd)
        os.rmdir("again", dir_fd=fd)
        os.close(fd)
        # The twin: gone for good, it says so.
        fd = os.open(d.p("a/.data"), os.O_RDONLY)
        d.zk.delete(d.z("a"))
        fails_with(errno.ENOENT, os.stat, d.p("a"))
        t.equal(os.read(fd, 9), b"value")
        os.close(fd)


@t.test("whoever looks while types change all the time gets the one or the other, never EIO")
def _():
    may = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR}
    gone = errno.ESTALE  # of a znode made anew, that the kernel met twice in one call (it tries once more)
    with Dir() as d:
        d.zk.create(d.z("f"), b"v")
        d.zk.create(d.z("g"), b"v")

        def flip(zk, n):
            if n % 2 == 0:
                zk.create(d.z("f/c"), b"c")  # the same znode in another shape
                zk.delete(d.z("g"))
                zk.create(d.z("g"), None)  # another znode
            else:
                zk.delete(d.z("f/c"))
                zk.delete(d.z("g"))
                zk.create(d.z("g"), b"v")

        def read(path):
            with open(path, "rb", buffering=0) as f:
                t.equal(f.read(), b"v")

        looks = [os.stat, os.listdir, read, lambda p: os.stat(p + "/c"), lambda p: os.listdir(p + "/."),
                 lambda p: os.getxattr(p, "user.zk.stat"), lambda p: os.truncate(p, 1)]
        seen = set()
        with Beside(flip) as beside:
            ls = d.start("for i in {1..40}; do ls -lAR . >/dev/null; find . -type f >/dev/null; done")
            while ls.poll() is None or beside.count < 400:
                t.check(beside.error is None, beside.error)
                for name in "fg":
                    for look in looks:
                        try:
                            look(d.p(name))
                            seen.add("ok")
                        except OSError as e:
                            t.check(e.errno in may or (e.errno, name) == (gone, "g"), "%s of %s" % (e, name))
                            seen.add(e.errno)
        status, _, err = d.m.finish(ls)
        for line in err.splitlines():
            t.check(line.endswith(("No such file or directory", "Not a directory", "Is a directory")), line)
        t.equal(seen - {gone}, may | {"ok"})


@t.test("two mounts see a change of type made through the other one")
def _():
    with Dir() as d, mount.Mount(source(d)) as m:
        d.sh("mkdir a && echo v > a/.data && touch a/f")
        with open(m.path + "/a/f") as f:
            m.sh("ls -A a", ".data\nf\n")
            d.sh("rm a/f")
            m.sh("sync . && cat a", "v\n")
            t.equal(os.fstat(f.fileno()).st_nlink, 0)
            d.sh("rm -f a/.data")
            m.sh("sync . && ls -A a && stat -c %F a", "directory\n")


@t.test("layout=dirs shows every znode as a directory, with its value in .data")
def _():
    with Dir() as d:
        d.sh("echo v > f && touch e && mkdir -p a/b && echo w > a/b/g")
        with mount.Mount(source(d), "layout=dirs") as m:
            m.sh("find . -printf '%y %P\\n' | sort -k2", "d \nf .data\nd a\nf a/.data\nd a/b\nf a/b/.data\n"
                 "d a/b/g\nf a/b/g/.data\nd e\nf e/.data\nd f\nf f/.data\n")
            m.sh("cat f/.data a/b/g/.data e/.data a/.data .data", "v\nw\n")
            m.sh("mkdir n && echo new > n/.data && mkdir n/m && echo x >> n/.data && cat n/.data", "new\nx\n")
            m.sh("rmdir n/m && ls -A n && cat n/.data", ".data\nnew\nx\n")
            t.equal(d.get("n"), b"new\nx\n")
            m.fails("rmdir n", "Directory not empty")
            m.sh("mv n a/b/n && mv a c && cat c/b/n/.data && cp -a c %s/copy && cp -a %s/copy back && "
                 "diff -r c back && rm -r c back && ls" % (m.folder, m.folder), "new\nx\ne\nf\n")
            m.fails("echo v > f", "Is a directory")
            m.fails("echo v > no", "Is a directory")
            m.fails("touch no", "No such file")
            fails_with(errno.EPERM, os.mknod, m.path + "/no")
            m.fails("cat f", "Is a directory")
            m.sh("rmdir e && mkdir e && ls", "e\nf\n")
            fails_with(errno.ENOTEMPTY, os.rename, m.path + "/e", m.path + "/f")
        d.sh("cat f && ls && test -f f && test -d e", "v\ne\nf\n")


@t.test("empty=dir shows data of length 0 as a directory, but not a file that is just being made")
def _():
    with Dir() as d:
        d.sh("touch e && echo v > f")
        with mount.Mount(source(d), "empty=dir") as m:
            m.sh("stat -c '%n %F' *", "e directory\nf regular file\n")
            m.sh("mkdir e/c && rmdir e/c && test -d e && rmdir e && echo w > new && cat new && cp new copy && "
                 "printf '' > g && test -d g && ls", "w\ncopy\nf\ng\nnew\n")
            m.fails("echo v > g", "Is a directory")
            m.sh("exec 3> h && test -f h && echo v >&3 && test -f h && : > h && exec 3>&- && test -d h && rmdir h")
            m.sh("sed -i s/w/x/ new && cat new && mv new g2 && mv g2 g/n && cat g/n && rm -r g && ls", "x\nx\ncopy\nf\n")
            d.zk.create(d.z("p"), b"")
            m.sh("test -d p && touch p/f && ls p && test -d p/f && rmdir p/f p")
        d.sh("touch e && stat -c %F e", "regular empty file\n")


@t.test("layout and empty take the words that they know, and say which")
def _():
    import start
    with Dir() as d:
        start.refused(2, "layout: not a valid value: tree; mixed or dirs is expected", source(d), "/tmp",
                      "-o", "layout=tree")
        start.refused(2, "empty: not a valid value: x; file or dir is expected", source(d), "/tmp", "-o", "empty=x")
        start.refused(2, "layout needs a value", source(d), "/tmp", "-o", "layout")
        d.sh("touch e; echo v > f")
        with mount.Mount(source(d), "layout=dirs,layout=mixed,empty=dir,empty=file") as m:
            m.sh("stat -c '%n %F' *", "e regular empty file\nf regular file\n")
