"""rename(2): one transaction, of a file or of a small subtree; nothing is lost, and everything follows."""
import ctypes
import errno
import os
import struct
import threading
import time

import common
from common import Dir, fails_with, mount, t
from gate import Gate, Gated

NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4
LIBC = ctypes.CDLL(None, use_errno=True)


def renameat2(a, b, flags):
    if LIBC.renameat2(-100, a.encode(), -100, b.encode(), flags) != 0:
        raise OSError(ctypes.get_errno(), "renameat2")


def xattr(path, name):
    return os.getxattr(path, "user.zk." + name).decode()


def make_many(zk, paths, data=b""):
    """Creates them with all requests under way at once."""
    for path in paths:
        zk.send_request(t.CREATE, t.create_body(path, data))
    for path in paths:
        err = zk.recv_reply()[2]
        t.check(err == 0, "create %s: error %d" % (path, err))


def remove_many(zk, paths):
    for path in paths:
        zk.send_request(t.DELETE, t.text(path) + struct.pack(">i", -1))
    for _ in paths:
        zk.recv_reply()


class Beside:
    """A thread with a session of its own that calls fn(session, n), n = 0, 1, ..., until the block ends."""

    def __init__(self, fn):
        self.fn = fn
        self.error = None
        self.ended = threading.Event()
        self.count = 0
        self.thread = threading.Thread(target=self.run)

    def run(self):
        zk = t.Session(common.PORT)
        try:
            while not self.ended.is_set():
                self.fn(zk, self.count)
                self.count += 1
        except Exception as e:  # told by the test
            self.error = e
        finally:
            zk.close_session()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, *_):
        self.ended.set()
        self.thread.join()
        if kind is None and self.error is not None:
            raise self.error


@t.test("rename moves a file with its data in one transaction")
def _():
    with Dir() as d:
        d.sh("mkdir a && echo v > f && mv f a/g && ls -A && cat a/g", "a\nv\n")
        t.equal(d.get("a/g"), b"v\n")
        t.check(not d.zk.exists(d.z("f")))
        # Both halves have one zxid: the creation of the one and the deletion of the other.
        t.equal(os.getxattr(d.p("a/g"), "user.zk.czxid"), os.getxattr(d.path, "user.zk.pzxid"))


@t.test("rename over a file replaces its data and keeps its znode")
def _():
    with Dir() as d:
        d.sh("echo old > f && echo new > g")
        before = os.getxattr(d.p("f"), "user.zk.czxid")
        d.sh("mv g f && cat f && ls", "new\nf\n")
        t.equal(os.getxattr(d.p("f"), "user.zk.czxid"), before)
        t.equal(d.version("f"), 2)


@t.test("a change that is made while a file is renamed is not lost")
def _():
    with Dir() as d:
        d.zk.create(d.z("f"), b"")
        shell = d.start("for i in {1..150}; do mv f g && mv g f || exit 1; done")
        number, lines = 0, []
        while shell.poll() is None:
            number += 1
            name = d.z("fg"[number % 2])
            try:
                data, version = d.zk.get(name)
                d.zk.set(name, data + b"%d " % number, version)
                lines.append(b"%d" % number)
            except t.ZkError as e:
                t.check(e.code in (t.NONODE, t.BADVERSION), "error %d" % e.code)
        status, _, err = d.m.finish(shell, 60)
        t.equal((status, d.get("f").split()), (0, lines), err)


@t.test("rename between types, of nothing, of an ephemeral")
def _():
    with Dir() as d:
        d.sh("mkdir a && touch f")
        d.zk.create(d.z("e"), b"x", t.EPHEMERAL)
        fails_with(errno.ENOTDIR, os.rename, d.p("a"), d.p("f"))
        fails_with(errno.EISDIR, os.rename, d.p("f"), d.p("a"))
        fails_with(errno.ENOENT, os.rename, d.p("no"), d.p("x"))
        fails_with(errno.EPERM, os.rename, d.p("e"), d.p("x"))
        fails_with(errno.EXDEV, os.rename, d.p("a/.data"), d.p("x"))
        d.sh("ls", "a\ne\nf\n")


@t.test("a rename onto .data writes the directory's data")
def _():
    with Dir() as d:
        d.sh("mkdir a && touch a/c && echo new > a/tmp && mv a/tmp a/.data && ls -A a && cat a/.data",
             ".data\nc\nnew\n")


@t.test("an open file follows its rename, and goes on as what it is when it is unlinked")
def _():
    with Dir() as d:
        with open(d.p("f"), "w+b", buffering=0) as f:
            f.write(b"one\n")
            os.rename(d.p("f"), d.p("g"))
            f.write(b"two\n")
            t.equal(d.get("g"), b"one\ntwo\n")
            t.equal(os.fstat(f.fileno()).st_size, 8)
            os.unlink(d.p("g"))
            st = os.fstat(f.fileno())
            t.equal((st.st_nlink, st.st_size), (0, 8))
            f.seek(0)
            t.equal(f.read(), b"one\ntwo\n")
            fails_with(errno.ENOENT, f.write, b"three\n")


@t.test("a rename keeps the ACL")
def _():
    with Dir() as d:
        d.sh("echo v > f && setfattr -n user.zk.acl -v world:anyone:crwda f")
        d.sh("setfattr -n user.zk.acl -v ip:127.0.0.1:rwa,world:anyone:rw f && mv f g")
        t.equal(os.getxattr(d.p("g"), "user.zk.acl"), b"ip:127.0.0.1:rwa,world:anyone:rw")


@t.test("RENAME_NOREPLACE over a file, a directory or a tree is EEXIST; where nothing is, it moves")
def _():
    with Dir() as d:
        d.sh("echo f > f; echo g > g; mkdir a b; echo x > a/x")
        for a, b in (("f", "g"), ("f", "a"), ("a", "b"), ("b", "a")):
            fails_with(errno.EEXIST, renameat2, d.p(a), d.p(b), NOREPLACE)
        renameat2(d.p("f"), d.p("h"), NOREPLACE)
        renameat2(d.p("a"), d.p("c"), NOREPLACE)
        d.sh("cat g h c/x && ls", "g\nf\nx\nb\nc\ng\nh\n")
        for flags in (WHITEOUT, NOREPLACE | EXCHANGE, 8):
            fails_with(errno.EINVAL, renameat2, d.p("g"), d.p("z"), flags)


@t.test("RENAME_EXCHANGE of two files is one transaction that keeps their znodes")
def _():
    with Dir() as d:
        d.sh("echo f > f; echo g > g")
        before = [xattr(d.p(x), "czxid") for x in "fg"]
        renameat2(d.p("f"), d.p("g"), EXCHANGE)
        d.sh("cat f g", "g\nf\n")
        t.equal([xattr(d.p(x), "czxid") for x in "fg"], before)
        t.equal([d.version(x) for x in "fg"], [2, 2])
        t.equal(xattr(d.p("f"), "mzxid"), xattr(d.p("g"), "mzxid"), "one transaction")
        fails_with(errno.ENOENT, renameat2, d.p("f"), d.p("no"), EXCHANGE)
        fails_with(errno.ENOENT, renameat2, d.p("no"), d.p("f"), EXCHANGE)
        d.zk.create(d.z("e"), b"x", t.EPHEMERAL)
        fails_with(errno.EPERM, renameat2, d.p("f"), d.p("e"), EXCHANGE)
        fails_with(errno.EPERM, renameat2, d.p("e"), d.p("f"), EXCHANGE)
        d.sh("cat f g e", "g\nf\nx")


@t.test("RENAME_EXCHANGE takes the ACLs along, exchanges types and whole trees, and nothing with its inside")
def _():
    with Dir() as d:
        d.sh("echo f > f; echo g > g; mkdir e; mkdir -p a/b c; echo 1 > a/b/x; echo 2 > a/.data; echo 3 > c/y")
        acl = "ip:127.0.0.1:cdrwa,world:anyone:dr"
        os.setxattr(d.p("f"), "user.zk.acl", acl.encode())
        renameat2(d.p("f"), d.p("g"), EXCHANGE)
        d.sh("cat f g", "g\nf\n")
        t.equal((xattr(d.p("f"), "acl"), xattr(d.p("g"), "acl")), ("world:anyone:cdrwa", acl))
        renameat2(d.p("f"), d.p("e"), EXCHANGE)
        d.sh("cat e && rmdir f && mv e f", "g\n")
        renameat2(d.p("a"), d.p("c"), EXCHANGE)
        d.sh("cat c/b/x c/.data a/y && ls -A a c", "1\n2\n3\na:\ny\n\nc:\n.data\nb\n")
        renameat2(d.p("f"), d.p("c/b"), EXCHANGE)
        d.sh("cat f/x c/b", "1\ng\n")
        fails_with(errno.EINVAL, renameat2, d.p("c"), d.p("c/b"), EXCHANGE)
        fails_with(errno.EINVAL, renameat2, d.p("c/b"), d.p("c"), EXCHANGE)
        fails_with(errno.EXDEV, renameat2, d.p("g"), d.p("c/.data"), EXCHANGE)
        fails_with(errno.EXDEV, renameat2, d.p("c/.data"), d.p("g"), EXCHANGE)


@t.test("after an exchange each descriptor and working directory is where its file went")
def _():
    with Dir() as d:
        d.sh("echo f > f; echo g > g; mkdir -p a/s b/s")
        with open(d.p("f"), "r+b", buffering=0) as f, open(d.p("g"), "r+b", buffering=0) as g:
            renameat2(d.p("f"), d.p("g"), EXCHANGE)
            f.seek(0, 2), g.seek(0, 2)
            f.write(b"1"), g.write(b"2")
            t.equal((d.get("f"), d.get("g")), (b"g\n2", b"f\n1"))
            t.equal(os.fstat(f.fileno()).st_ino, os.stat(d.p("g")).st_ino)
            # The kernel calls a file deleted whose name has become that of another inode.
            for file, name in ((f, "g"), (g, "f")):
                os.stat(d.p(name))
                t.equal(os.readlink("/proc/self/fd/%d" % file.fileno()), d.p(name))
            os.setxattr(d.p("g"), "user.zk.acl", b"ip:127.0.0.1:cdrwa")
            renameat2(d.p("g"), d.p("f"), EXCHANGE)
            f.write(b"3"), g.write(b"4")
            t.equal((d.get("f"), d.get("g")), (b"f\n13", b"g\n24"))
        a, b = (os.open(d.p(x), os.O_RDONLY) for x in ("a/s", "b/s"))
        renameat2(d.p("a"), d.p("b"), EXCHANGE)
        os.mkdir("in-a", dir_fd=a)
        os.mkdir("in-b", dir_fd=b)
        os.close(a), os.close(b)
        d.sh("ls a/s b/s", "a/s:\nin-b\n\nb/s:\nin-a\n")


@t.test("a directory with all below it moves in one transaction: values, null, empty, .data, ACLs")
def _():
    with Dir() as d:
        d.sh("mkdir -p a/b/c a/empty to && echo 1 > a/x && : > a/b/nothing && head -c 5000 /dev/urandom > a/b/c/y && "
             "echo data > a/b/.data && echo x > a/..data && cp -a a copy")
        os.setxattr(d.p("a/b"), "user.zk.acl", b"ip:127.0.0.1:cdrwa,world:anyone:r")
        os.rename(d.p("a"), d.p("to/new"))
        d.sh("ls -A . to && diff -r copy to/new && cat to/new/b/.data", ".:\ncopy\nto\n\nto:\nnew\ndata\n")
        t.equal((d.get("to/new/empty"), d.get("to/new/b/nothing")), (None, b""))
        t.equal(xattr(d.p("to/new/b"), "acl"), "ip:127.0.0.1:cdrwa,world:anyone:r")
        t.equal(xattr(d.p("to/new/b/c"), "acl"), "world:anyone:cdrwa")
        zxid = xattr(d.path, "pzxid")
        for path in ("to/new", "to/new/x", "to/new/b", "to/new/b/c/y", "to/new/.data"):
            t.equal(xattr(d.p(path), "czxid"), zxid, path)


@t.test("a directory takes the place of an empty one, not of one with content, nor of a file, nor inside itself")
def _():
    with Dir() as d:
        d.sh("mkdir -p a/b empty full/x data/x nul && echo 1 > a/f && echo 2 > f && mkdir data/y && "
             "echo text > data/.data && rm -r data/x")
        fails_with(errno.ENOTEMPTY, os.rename, d.p("a"), d.p("full"))
        fails_with(errno.ENOTEMPTY, os.rename, d.p("nul"), d.p("full"))
        fails_with(errno.ENOTEMPTY, os.rename, d.p("a"), d.p("data"))
        fails_with(errno.ENOTDIR, os.rename, d.p("a"), d.p("f"))
        fails_with(errno.EISDIR, os.rename, d.p("f"), d.p("a"))
        fails_with(errno.EINVAL, os.rename, d.p("a"), d.p("a/b/c"))
        fails_with(errno.ENOTEMPTY, os.rename, d.p("a/b"), d.p("a"))
        fails_with(errno.ENOENT, os.rename, d.p("a"), d.p("no/a"))
        fails_with(errno.ENOENT, os.rename, d.p("no"), d.p("a"))
        fails_with(errno.EXDEV, os.rename, d.p("data/.data"), d.p("x"))
        d.sh("ls -A . a", ".:\na\ndata\nempty\nf\nfull\nnul\n\na:\nb\nf\n")
        os.setxattr(d.p("a"), "user.zk.acl", b"ip:127.0.0.1:cdrwa")
        os.rename(d.p("a"), d.p("empty"))
        os.rename(d.p("nul"), d.p("full/x"))
        d.sh("ls -A . empty full && cat empty/f",
             ".:\ndata\nempty\nf\nfull\n\nempty:\nb\nf\n\nfull:\nx\n1\n")
        t.equal(xattr(d.p("empty"), "acl"), "ip:127.0.0.1:cdrwa")
        os.rename(d.p("f"), d.p("f"))
        os.rename(d.p("empty"), d.p("empty"))
        d.sh("mv empty/f empty/g && mv -T empty/b full/x && ls -R empty full",
             "empty:\ng\n\nfull:\nx\n\nfull/x:\n")


@t.test("128 znodes move as one, 129 and more bytes than a request carries are EXDEV, and mv copies them")
def _():
    with Dir() as d:
        d.sh("mkdir a big")
        names = ["a/n%d" % i for i in range(127)]
        make_many(d.zk, [d.z(n) for n in names], b"v")
        os.rename(d.p("a"), d.p("b"))
        t.equal(len(os.listdir(d.p("b"))), 127)
        d.zk.create(d.z("b/n5/sub"), None)
        fails_with(errno.EXDEV, os.rename, d.p("b"), d.p("c"))
        d.zk.delete(d.z("b/n5/sub"))
        d.zk.create(d.z("b/more"), b"v")
        fails_with(errno.EXDEV, os.rename, d.p("b"), d.p("c"))
        d.sh("test ! -e c && mv b c && test ! -e b && ls c | wc -l && cat c/more", "128\nv")
        remove_many(d.zk, [d.z("c/" + n) for n in d.zk.children(d.z("c"))])
        for i in range(3):
            d.zk.create(d.z("big/%d" % i), b"%d" % i * 300000)
        os.rename(d.p("big"), d.p("big2"))
        d.zk.create(d.z("big2/3"), b"3" * 300000)
        fails_with(errno.EXDEV, os.rename, d.p("big2"), d.p("big"))
        d.sh("mv big2 big && cat big/? | wc -c && ls", "1200000\nbig\nc\n")
        # A file whose value only just fits into a setData.
        d.sh("head -c 1048500 /dev/zero > f")
        fails_with(errno.EXDEV, os.rename, d.p("f"), d.p("g"))
        d.sh("mv f g && wc -c < g && truncate -s 1000000 g && mv g h", "1048500\n")
        t.equal(d.version("h"), 0, "one transaction")


@t.test("an ephemeral in a tree keeps it where it is: EPERM; nothing has moved")
def _():
    with Dir() as d:
        d.sh("mkdir -p a/b e && echo 1 > a/b/f")
        d.zk.create(d.z("a/b/e"), b"x", t.EPHEMERAL)
        fails_with(errno.EPERM, os.rename, d.p("a"), d.p("c"))
        fails_with(errno.EPERM, os.rename, d.p("a"), d.p("e"))
        d.sh("find . | sort", ".\n./a\n./a/b\n./a/b/e\n./a/b/f\n./e\n")
        d.zk.delete(d.z("a/b/e"))
        os.rename(d.p("a"), d.p("c"))


@t.test("a tree with an ACL that may not be read, or that forbids, is EACCES; nothing has moved")
def _():
    with Dir() as d:
        d.sh("mkdir -p a/b && echo 1 > a/b/f")
        for acl in (b"world:anyone:cdwa", b"digest:u:nobody:r,world:anyone:rda", b"world:anyone:cra"):
            os.setxattr(d.p("a/b"), "user.zk.acl", acl)
            fails_with(errno.EACCES, os.rename, d.p("a"), d.p("c"))
            t.check(d.zk.exists(d.z("a/b/f")) and not d.zk.exists(d.z("c")), acl)
        os.setxattr(d.p("a/b"), "user.zk.acl", b"world:anyone:cdrwa")
        os.rename(d.p("a"), d.p("c"))
        d.sh("cat c/b/f", "1\n")


@t.test("open files and working directories anywhere below a renamed directory follow")
def _():
    with Dir() as d:
        d.sh("mkdir -p a/b/c && echo one > a/b/f && echo data > a/b/.data")
        shell = d.start("cd a/b/c && exec 3>> ../f && echo ready && until [ -e %s ]; do "
                        "sleep 0.02; done; echo two >&3 && touch made && pwd -P && ls .." %
                        d.p("new"))
        t.equal(shell.stdout.readline(), "ready\n")
        with open(d.p("a/b/f"), "r+b", buffering=0) as f, open(d.p("a/b/.data"), "r+b", buffering=0) as data:
            fd = os.open(d.p("a/b"), os.O_RDONLY)
            f.read()
            os.rename(d.p("a"), d.p("new"))
            data.write(b"DATA")
            status, out, err = d.m.finish(shell)
            t.equal((status, out), (0, d.p("new/b/c") + "\nc\nf\n"), err)
            fails_with(errno.ESTALE, f.write, b"outdated")
            t.equal(os.fstat(f.fileno()).st_ino, os.stat(d.p("new/b/f")).st_ino)
            t.equal(sorted(os.listdir(fd)), [".data", "c", "f"])
            os.mkdir("d", dir_fd=fd)
            os.close(fd)
            t.equal(os.getxattr(f.fileno(), "user.zk.path").decode(), d.z("new/b/f"))
        t.equal((d.get("new/b/f"), d.get("new/b")), (b"one\ntwo\n", b"DATA\n"))
        t.check(d.zk.exists(d.z("new/b/d")) and d.zk.exists(d.z("new/b/c/made")))
        t.check(not d.zk.exists(d.z("a")))


@t.test("what a descriptor holds back when its directory is renamed is committed at the new place")
def _():
    with Dir() as d:
        d.sh("mkdir -p a/b")
        with open(d.p("a/b/f"), "wb", buffering=0) as f, open(d.p("a/b/g"), "wb", buffering=0) as g:
            f.write(b"x" * 4096)
            g.write(b"x" * 4096)
            t.equal(d.get("a/b/f"), b"", "held back")
            os.rename(d.p("a"), d.p("c"))
            f.write(b"end")
            os.fsync(g.fileno())
        t.equal((d.get("c/b/f"), d.get("c/b/g")), (b"x" * 4096 + b"end", b"x" * 4096))


@t.test("a znode that is deleted and made again while its directory is renamed moves as it is then")
def _():
    with Gated("mount") as g, t.Session(common.FAULT_PORT) as zk:
        g.m.sh("mkdir -p p/a")
        zk.create("/p/a/n", b"old")  # of the same version as the next one
        g.gate.hold = Gate.GET_CHILDREN2
        rename = threading.Thread(target=os.rename, args=(g.m.path + "/p/a", g.m.path + "/p/b"))
        rename.start()
        t.check(g.gate.held.wait(10), "the tree is read")
        g.gate.go_on_to(Gate.EXISTS)  # behind all of it
        zk.delete("/p/a/n")
        zk.create("/p/a/n", b"new")
        g.gate.hold = None
        g.gate.go.set()
        rename.join()
        t.equal((zk.children("/p"), zk.get("/p/b/n")[0]), (["b"], b"new"))


@t.test("programs at work in a directory do not notice that it is renamed through their mount")
def _():
    with Dir() as d:
        d.sh("mkdir -p p/a/sub && touch p/a/f")
        fd = os.open(d.p("p/a"), os.O_RDONLY)
        append = os.open("f", os.O_WRONLY | os.O_APPEND, dir_fd=fd)
        here = "/proc/self/fd/%d" % fd

        def work(_zk, n):
            time.sleep(0.002)
            os.write(append, b"%d\n" % n)
            os.stat("sub", dir_fd=fd)
            os.stat(here)
            os.close(os.open("f", os.O_RDONLY, dir_fd=fd))
            os.close(os.open("made%d" % n, os.O_CREAT | os.O_EXCL | os.O_WRONLY, dir_fd=fd))
            t.check("sub" in os.listdir(here), "a listing")
            os.unlink("made%d" % n, dir_fd=fd)
            os.mkdir("made%d" % n, dir_fd=fd)
            os.rmdir("made%d" % n, dir_fd=fd)

        moved = 0
        with Beside(work) as beside:
            a, b = d.p("p/a"), d.p("p/b")
            while beside.error is None and (beside.count < 150 or moved < 50):
                try:
                    os.setxattr(a, "user.zk.create", b"persistent")  # so that creations ask for flags
                    os.rename(a, b)
                    a, b, moved = b, a, moved + 1
                except OSError as e:
                    t.equal(e.errno, errno.EBUSY)
        os.close(append)
        with open(a + "/f", "rb") as f:
            t.equal(f.read().split(), [b"%d" % i for i in range(beside.count)])
        t.equal(sorted(os.listdir(a)), ["f", "sub"])
        os.close(fd)


@t.test("a tree is whole, at one place, and the caller told the truth, when the server goes in the middle of renames")
def _():
    server = mount.new_server(common.FAULT_PORT)
    try:
        with mount.Mount("127.0.0.1:%d" % common.FAULT_PORT, "timeo=20") as m:
            m.sh("mkdir -p p/a/sub empty && for i in {1..20}; do echo $i > p/a/sub/$i; done && echo d > p/a/.data")
            a, b, other = (os.path.join(m.path, x) for x in ("p/a", "p/b", "empty"))
            whole = sorted(str(i) for i in range(1, 21))
            state = {"stop": False, "moved": 0, "unknown": 0}

            def make(path):
                try:
                    os.mkdir(path)
                except FileExistsError:  # Apache: the answer to the last one was lost
                    state["unknown"] += 1

            def move():
                at, to = a, b
                while not state["stop"]:
                    try:
                        if state["moved"] % 3 == 0:
                            make(to)  # takes the place of an empty one
                        os.rename(at, to)
                        at, to = to, at
                        state["moved"] += 1
                    except OSError as e:
                        t.equal(e.errno, errno.EIO, e)
                        state["unknown"] += 1
                        if os.path.isdir(to + "/sub"):
                            at, to = to, at
                    t.equal(sorted(os.listdir(at + "/sub")), whole)
                state["at"], state["to"] = at, to

            error = []

            def run():
                try:
                    move()
                except Exception as e:  # told below
                    error.append(e)

            thread = threading.Thread(target=run)
            thread.start()
            try:
                for _ in range(6):
                    before = state["moved"]
                    t.wait_for(lambda: state["moved"] > before + 2 or error, 30, "renames")
                    server.kill()
                    server.start()
            finally:
                state["stop"] = True
                thread.join()
            if error:
                raise error[0]
            t.equal(sorted(os.listdir(state["at"] + "/sub")), whole)
            t.check(not os.path.exists(state["to"] + "/sub"))
            m.sh("cat %s/.data" % state["at"], "d\n")
            t.note("%d renames, %d unknown" % (state["moved"], state["unknown"]))
            os.rename(state["at"], other)
    finally:
        server.close()


@t.test("another client never sees a tree twice, not at all, or a part of it")
def _():
    with Dir() as d:
        d.sh("mkdir -p p/a")
        names = ["n%d" % i for i in range(20)]
        make_many(d.zk, [d.z("p/a/" + n) for n in names], b"v")
        seen = set()

        def look(zk, _):
            both = zk.children(d.z("p"))
            t.check(both in (["a"], ["b"]), "children of p: %r" % both)
            seen.add(both[0])
            try:
                t.equal(sorted(zk.children(d.z("p/" + both[0]))), sorted(names))
            except t.ZkError as e:
                t.equal(e.code, t.NONODE)

        with Beside(look):
            for _ in range(60):
                os.rename(d.p("p/a"), d.p("p/b"))
                os.rename(d.p("p/b"), d.p("p/a"))
        t.equal(seen, {"a", "b"})


@t.test("what others write, make and delete in a tree while it is renamed is neither lost nor undone")
def _():
    with Dir() as d:
        d.sh("mkdir -p p/a")
        make_many(d.zk, [d.z("p/a/n%d" % i) for i in range(5)], b"")
        done = {"write": [], "make": set(), "delete": set()}

        def change(zk, n):
            time.sleep(0.002)  # a change in each of the renames would leave none of them a chance
            where = d.z("p/" + zk.children(d.z("p"))[0])
            try:
                if n % 3 == 0:
                    data, version = zk.get(where + "/n1")
                    zk.set(where + "/n1", data + b"%d " % n, version)
                    done["write"].append(b"%d" % n)
                elif n % 3 == 1:
                    zk.create("%s/made%d" % (where, n % 30))
                    done["make"].add("made%d" % (n % 30))
                else:
                    name = "made%d" % ((n - 10) % 30)
                    zk.delete("%s/%s" % (where, name))
                    done["make"].discard(name)
            except t.ZkError as e:
                t.check(e.code in (t.NONODE, t.BADVERSION, t.NODEEXISTS), "error %d" % e.code)

        moved = 0
        with Beside(change) as beside:
            end = lambda: beside.error is not None or (beside.count > 600 and moved > 20)  # noqa: E731
            while not end():
                for a, b in (("a", "b"), ("b", "a")):
                    while True:
                        try:
                            os.rename(d.p("p/" + a), d.p("p/" + b))
                            moved += 1
                            break
                        except OSError as e:
                            t.equal(e.errno, errno.EBUSY)
        d.renew()
        t.equal(d.get("p/a/n1").split(), done["write"])
        t.equal({n for n in d.zk.children(d.z("p/a")) if n.startswith("made")}, done["make"])


@t.test("a tree that is written without a pause is EBUSY, and moves when it is quiet")
def _():
    with Dir() as d:
        d.sh("mkdir a")
        make_many(d.zk, [d.z("a/n%03d" % i) for i in range(100)], b"")

        def hammer(zk, n):
            zk.set(d.z("a/n%03d" % (n % 2)), b"%d" % n)

        with Beside(hammer) as beside:
            t.wait_for(lambda: beside.count > 10)
            fails_with(errno.EBUSY, os.rename, d.p("a"), d.p("b"))
        d.renew()
        os.rename(d.p("a"), d.p("b"))
        t.equal(int(d.get("b/n%03d" % ((beside.count - 1) % 2))), beside.count - 1)
