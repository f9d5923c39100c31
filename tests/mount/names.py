"""Names: the escape of .data and .zk, lengths, bad UTF-8, what ZooKeeper refuses."""
import errno
import os

from common import Dir, fails_with, shared, t


@t.test("a znode really named .data is shown as ..data, and so on: the escape can be undone")
def _():
    with Dir() as d:
        d.zk.create(d.z(".data"), b"1")
        d.zk.create(d.z("..data"), b"2")
        d.sh("ls -A && cat ..data ...data", "...data\n..data\n12")
        d.sh("printf 3 > ....data && rm ..data && mkdir .zk && ls -A", "....data\n...data\n.zk\n")
        t.equal(d.get("...data"), b"3")
        t.equal(sorted(d.zk.children(d.znode)), ["...data", "..data", ".zk"])
        d.sh("mv ...data plain && mv plain ..data && cat ..data", "2")
        t.equal(d.get(".data"), b"2")


@t.test(".zk at the mount's root is reserved: it has the views, and is not made")
def _():
    m = shared()
    fails_with(errno.EEXIST, os.mkdir, m.path + "/.zk")
    fails_with(errno.EPERM, os.rmdir, m.path + "/.zk")
    with Dir() as d:
        d.zk.create("/.zk", b"x")
        try:
            m.sh("cat ..zk", "x")
            t.check("..zk" in os.listdir(m.path) and ".zk" not in os.listdir(m.path))
        finally:
            m.sh("rm ..zk")
        t.check(not d.zk.exists("/.zk"))


@t.test("names have up to 255 bytes; a longer znode is left out of listings, but can be removed elsewhere")
def _():
    with Dir() as d:
        name = "n" * 255
        d.sh("echo v > %s && cat %s && ls" % (name, name), "v\n%s\n" % name)
        fails_with(errno.ENAMETOOLONG, os.mkdir, d.p("n" * 256))
        fails_with(errno.ENAMETOOLONG, os.stat, d.p("n" * 256))
        fails_with(errno.ENAMETOOLONG, os.rename, d.p(name), d.p("n" * 256))
        d.zk.create(d.z("m" * 256), b"x")
        d.sh("ls", name + "\n")
        d.fails("rmdir ../%s" % d.name, "Directory not empty")
        d.zk.delete(d.z("m" * 256))


@t.test("bytes that are no UTF-8, and characters that ZooKeeper refuses, are EINVAL to make, ENOENT to find")
def _():
    with Dir() as d:
        base = os.fsencode(d.path) + b"/"
        for name in (b"a\xff", b"\xc3", b"tab\there", b"nl\n", b"\xed\xa0\x80", b"\xef\xbf\xbe"):
            fails_with(errno.ENOENT, os.stat, base + name)
            fails_with(errno.EINVAL, os.mkdir, base + name)
            fails_with(errno.EINVAL, os.open, base + name, os.O_CREAT | os.O_WRONLY)
            fails_with(errno.ENOENT, os.unlink, base + name)
        t.equal(os.listdir(d.path), [])


@t.test("other names work as they are: spaces, quotes, unicode, dots")
def _():
    with Dir() as d:
        for name in ("a b", "it's", 'q"q', "ünïcödé", "日本", "...", ".hidden", "-rf", "a\\b", "*", "😀"):
            # Outside of the basic plane ZooKeeper has surrogates, which it refuses.
            if name == "😀":
                continue
            with open(d.p(name), "w") as f:
                f.write(name)
            with open(d.p(name)) as f:
                t.equal(f.read(), name)
            t.equal(os.listdir(d.path), [name])
            os.unlink(d.p(name))
