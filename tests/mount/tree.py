"""The tree as files: types, attributes, listing, making, removing, renaming."""
import errno
import os
import stat

import common
from common import Dir, fails_with, t


@t.test("mkdir makes a znode with null data, touch one with empty data")
def _():
    with Dir() as d:
        d.sh("mkdir a && touch b")
        t.equal(d.get("a"), None)
        t.equal(d.get("b"), b"")
        d.sh("stat -c '%F %a %n' a b", "directory 755 a\nregular empty file 644 b\n")


@t.test("a znode is a directory when it has children or null data, and a file otherwise")
def _():
    with Dir() as d:
        d.zk.create(d.z("null"), None)
        d.zk.create(d.z("empty"), b"")
        d.zk.create(d.z("data"), b"x")
        d.zk.create(d.z("parent"), b"x")
        d.zk.create(d.z("parent/child"), b"y")
        d.sh("stat -c '%n %F' *", "data regular file\nempty regular empty file\n"
             "null directory\nparent directory\n")


@t.test("a file that gets a child elsewhere turns into a directory with .data, and back")
def _():
    with Dir() as d:
        d.sh("echo v > f && cat f", "v\n")
        with open(d.p("f")) as old:
            d.zk.create(d.z("f/c"), b"1")
            d.sh("cat f/.data f/c && ls -A f", "v\n1.data\nc\n")
            d.fails("cat f", "Is a directory")
            t.equal(old.read(), "v\n", "the descriptor of before")
            os.fstat(old.fileno())
        d.zk.delete(d.z("f/c"))
        d.sh("cat f", "v\n")
        d.fails("ls f/", "Not a directory")


@t.test("a znode deleted and made again as the other type is seen at once")
def _():
    with Dir() as d:
        for _ in range(5):
            d.zk.create(d.z("x"), None)
            d.sh("test -d x && cd x && ls -A .", "")
            d.zk.delete(d.z("x"))
            d.zk.create(d.z("x"), b"1")
            d.sh("test -f x && cat x", "1")
            d.zk.delete(d.z("x"))
            d.fails("stat x", "No such file")


@t.test("a descriptor of a file that was deleted and made again elsewhere is of the old one")
def _():
    with Dir() as d:
        d.sh("echo long value > f")
        with open(d.p("f"), "rb", buffering=0) as f:
            d.zk.delete(d.z("f"))
            d.zk.create(d.z("f"), b"new")
            st = os.fstat(f.fileno())
            t.equal((st.st_nlink, st.st_size), (0, 11))
            t.equal(f.read(), b"long value\n")
        st = os.stat(d.p("f"))
        t.equal((st.st_nlink, st.st_size), (1, 3))


@t.test(".data of a directory is always openable, and listed only when it is not empty")
def _():
    with Dir() as d:
        d.sh("mkdir a && touch a/child && cat a/.data && ls -A a", "child\n")
        d.zk.set(d.z("a"), b"")
        d.sh("ls -A a && cat a/.data", "child\n")
        d.sh("echo text > a/.data && ls -A a && cat a/.data", ".data\nchild\ntext\n")
        t.equal(d.get("a"), b"text\n")
        d.sh("echo more >> a/.data && cat a/.data", "text\nmore\n")
        d.sh("stat -c '%F %s' a/.data", "regular file 10\n")


@t.test(".data can be created with O_EXCL where there is no data, once")
def _():
    with Dir() as d:
        d.sh("mkdir a b && touch a/c && cat b/.data", "")
        fd = os.open(d.p("a/.data"), os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        d.zk.set(d.z("a"), b"faster")
        fails_with(errno.ESTALE, os.write, fd, b"mine")
        os.close(fd)
        fails_with(errno.EEXIST, os.open, d.p("a/.data"), os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        t.equal(d.get("a"), b"faster")
        fd = os.open(d.p("b/.data"), os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        os.write(fd, b"mine")
        os.close(fd)
        t.equal(d.get("b"), b"mine")


@t.test("unlinking .data sets the data to null, and leaves the directory")
def _():
    with Dir() as d:
        d.sh("mkdir a && touch a/c && echo text > a/.data && rm a/.data && ls -A a", "c\n")
        t.equal(d.get("a"), None)
        d.sh("rm a/c && rmdir a")


@t.test("a directory with data is not removed unseen by rmdir, but by rm -r")
def _():
    with Dir() as d:
        d.zk.create(d.z("a"), b"text")
        d.zk.create(d.z("a/c"), b"")
        d.fails("rmdir a", "Directory not empty")
        # Another process may remove the last child between; the data goes on being content.
        d.sh("rm -r a && ls -A", "")


@t.test("rm -r removes what other clients made with empty data, and find -delete too")
def _():
    with Dir() as d:
        for tool in ("rm -r a", "find a -delete"):
            for path in ("a", "a/b", "a/b/c", "a/b/d"):
                d.zk.create(d.z(path), b"")
            d.sh(tool + " && ls -A", "")


@t.test("an ephemeral znode has the sticky bit, a persistent one not, and no children: EPERM")
def _():
    with Dir() as d:
        d.zk.create(d.z("e"), b"x", t.EPHEMERAL)
        d.zk.create(d.z("n"), None, t.EPHEMERAL)
        d.sh("touch p && stat -c '%n %A' *", "e -rw-r--r-T\nn drwxr-xr-t\np -rw-r--r--\n")
        fails_with(errno.EPERM, os.mkdir, d.p("n/child"))
        fails_with(errno.EPERM, os.open, d.p("n/child"), os.O_CREAT | os.O_WRONLY)


@t.test("size, times and inode number come from the Stat")
def _():
    with Dir() as d:
        d.sh("echo hello > f")
        st = os.stat(d.p("f"))
        mtime = int(os.getxattr(d.p("f"), "user.zk.mtime"))
        ctime = int(os.getxattr(d.p("f"), "user.zk.ctime"))
        t.equal(st.st_size, 6)
        t.equal(st.st_mtime_ns // 10**6, mtime)
        t.equal(st.st_ctime_ns // 10**6, ctime)
        d.zk.set(d.z("f"), b"other1")
        t.equal(os.stat(d.p("f")).st_ino, st.st_ino, "inode number after a change")
        t.check(os.stat(d.p("f")).st_mtime_ns != st.st_mtime_ns, "the mtime of another version differs")
        d.zk.delete(d.z("f"))
        d.zk.create(d.z("f"), b"other1")
        t.check(os.stat(d.p("f")).st_ino != st.st_ino, "a new znode has a new inode number")


@t.test("two mounts, one of a subtree, show the same inode numbers, and the subtree's root")
def _():
    with Dir() as d:
        d.sh("mkdir sub && echo v > sub/f && mkdir sub/.zk")
        with common.mount.Mount("127.0.0.1:%d%s/sub" % (common.PORT, d.znode)) as m:
            t.equal(os.stat(m.path + "/f").st_ino, os.stat(d.p("sub/f")).st_ino)
            m.sh("cat f && ls -A && stat -c %F . ..zk", "v\n..zk\nf\ndirectory\ndirectory\n")
            t.equal(os.getxattr(m.path + "/f", "user.zk.path").decode(), d.z("sub/f"))


@t.test("mtime differs between any two versions, also of one millisecond")
def _():
    with Dir() as d:
        d.sh("touch f")
        seen = set()
        for i in range(50):
            d.zk.set(d.z("f"), b"x")
            seen.add(os.stat(d.p("f")).st_mtime_ns)
        t.equal(len(seen), 50)


@t.test("a listing is of one moment, rewinddir makes a new one, . and .. are there")
def _():
    with Dir() as d:
        d.sh("touch b a c")
        t.equal(sorted(os.listdir(d.path)), ["a", "b", "c"])
        d.sh("ls -a", ".\n..\na\nb\nc\n")
        fd = os.open(d.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            t.equal(len(os.listdir(fd)), 3)
            d.zk.create(d.z("d"), b"")
            t.equal(len(os.listdir(fd)), 4, "after rewinddir")
        finally:
            os.close(fd)


@t.test("a directory of 3,000 children is listed whole")
def _():
    with Dir() as d:
        want = ["child-%05d-%s" % (i, "x" * 40) for i in range(3000)]
        for name in want:
            d.zk.send_request(t.CREATE, t.create_body(d.z(name)))
        for _ in want:
            d.zk.recv_reply()
        t.equal(sorted(os.listdir(d.path)), want)
        for name in want:
            d.zk.send_request(t.DELETE, t.text(d.z(name)) + b"\xff\xff\xff\xff")
        for _ in want:
            d.zk.recv_reply()


@t.test("errors of names and types are the usual ones")
def _():
    with Dir() as d:
        d.sh("mkdir a && touch f a/x")
        fails_with(errno.EEXIST, os.mkdir, d.p("a"))
        fails_with(errno.EEXIST, os.mkdir, d.p("f"))
        fails_with(errno.EEXIST, os.mkdir, d.p("a/.data"))
        fails_with(errno.EEXIST, os.open, d.p("f"), os.O_CREAT | os.O_EXCL)
        fails_with(errno.ENOENT, os.stat, d.p("no"))
        fails_with(errno.ENOENT, os.mkdir, d.p("no/x"))
        fails_with(errno.ENOENT, os.unlink, d.p("no"))
        fails_with(errno.ENOTDIR, os.mkdir, d.p("f/x"))
        fails_with(errno.ENOTDIR, os.stat, d.p("f/x"))
        fails_with(errno.ENOTDIR, os.mkdir, d.p("a/.data/x"))
        fails_with(errno.ENOTDIR, os.rmdir, d.p("f"))
        fails_with(errno.ENOTDIR, os.rmdir, d.p("a/.data"))
        fails_with(errno.EISDIR, os.unlink, d.p("a"))
        fails_with(errno.ENOTEMPTY, os.rmdir, d.p("a"))
        fails_with(errno.EISDIR, os.open, d.p("a"), os.O_WRONLY)


@t.test("what is no znode is refused: links, devices, fifos and sockets with EPERM")
def _():
    with Dir() as d:
        d.sh("touch f")
        fails_with(errno.EPERM, os.symlink, "f", d.p("l"))
        fails_with(errno.EPERM, os.link, d.p("f"), d.p("l"))
        fails_with(errno.EPERM, os.mkfifo, d.p("l"))
        fails_with(errno.EPERM, os.mknod, d.p("l"), stat.S_IFCHR | 0o600, os.makedev(1, 3))
        fails_with(errno.EPERM, os.mknod, d.p("l"), stat.S_IFSOCK | 0o600)
        os.mknod(d.p("l"), stat.S_IFREG | 0o600)
        t.equal(d.get("l"), b"")


@t.test("chmod, chown and utimens succeed and change nothing")
def _():
    with Dir() as d:
        d.sh("touch f && chmod 600 f && chown nobody f && touch -d 2001-01-01 f")
        st = os.stat(d.p("f"))
        t.equal((stat.S_IMODE(st.st_mode), st.st_uid), (0o644, os.getuid()))
        t.check(st.st_mtime > 1e9)
        t.equal(d.version("f"), 0)


@t.test("statfs says names of 255 bytes, and access goes by the type")
def _():
    with Dir() as d:
        t.equal(os.statvfs(d.path).f_namemax, 255)
        d.sh("touch f && test -r f && test -w f && test ! -x f && test -x . && df . >&2")


@t.test("user.zk.*: all of Stat, each field, path, name, fence and ACL, none listed")
def _():
    with Dir() as d:
        d.sh("echo v > f && echo w > f")
        lines = os.getxattr(d.p("f"), "user.zk.stat").decode().splitlines()
        fields = dict(line.split(" ") for line in lines)
        t.equal(sorted(fields), sorted("czxid mzxid ctime mtime version cversion aversion ephemeralOwner "
                                       "dataLength numChildren pzxid".split()))
        for name, value in fields.items():
            t.equal(os.getxattr(d.p("f"), "user.zk." + name).decode(), value, name)
        t.equal((fields["version"], fields["dataLength"]), ("2", "2"))
        t.equal(os.getxattr(d.p("f"), "user.zk.path").decode(), d.z("f"))
        t.equal(os.getxattr(d.p("f"), "user.zk.name"), b"f")
        t.equal(int(os.getxattr(d.p("f"), "user.zk.fence")), int(fields["czxid"], 16))
        t.equal(os.getxattr(d.path + "/.data", "user.zk.path").decode(), d.znode)
        t.equal(os.listxattr(d.p("f")), [])
        fd = os.open(d.p("f"), os.O_RDONLY)
        t.equal(os.getxattr(fd, "user.zk.name"), b"f")
        os.close(fd)


@t.test("user.zk.acl is set and enforced by the server: EACCES; nonsense is EINVAL")
def _():
    with Dir() as d:
        d.sh("echo v > f")
        t.equal(os.getxattr(d.p("f"), "user.zk.acl"), b"world:anyone:cdrwa")
        os.setxattr(d.p("f"), "user.zk.acl", b"world:anyone:ra")
        d.sh("cat f", "v\n")
        d.fails("echo w > f", "Permission denied")
        os.setxattr(d.p("f"), "user.zk.acl", b"world:anyone:wa")
        d.fails("cat f", "Permission denied")
        d.sh("stat -c '%F %s' f && echo w > f", "regular file 2\n")
        for wrong in (b"nonsense", b"world:anyone:xyz", b""):
            fails_with(errno.EINVAL, os.setxattr, d.p("f"), "user.zk.acl", wrong)
        os.setxattr(d.p("f"), "user.zk.acl", b"world:anyone:cdrwa")


@t.test("other extended attributes: absent is ENODATA, setting one is EOPNOTSUPP, ours is EPERM")
def _():
    with Dir() as d:
        d.sh("touch f")
        for name in ("user.zk.nonsense", "user.other", "security.capability"):
            fails_with(errno.ENODATA, os.getxattr, d.p("f"), name)
        fails_with(errno.ENODATA, os.removexattr, d.p("f"), "user.other")
        fails_with(errno.EOPNOTSUPP, os.setxattr, d.p("f"), "user.other", b"x")
        fails_with(errno.EPERM, os.setxattr, d.p("f"), "user.zk.version", b"1")
        fails_with(errno.EPERM, os.removexattr, d.p("f"), "user.zk.acl")
