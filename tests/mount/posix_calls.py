"""Every POSIX call on a mount: that it works, and each errno that it can give here."""
import ctypes
import errno
import fcntl
import mmap
import os
import socket
import stat

import common
from common import Dir, fails_with, mount, t

LIBC = ctypes.CDLL(None, use_errno=True)
O_PATH, O_TMPFILE, O_DIRECT, O_NOATIME = 0o10000000, 0o20200000, 0o40000, 0o1000000
FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE = 1, 2
RESOLVE_BENEATH, SYS_OPENAT2 = 8, 437


def libc(name, *args):
    value = getattr(LIBC, name)(*args)
    if value < 0:
        raise OSError(ctypes.get_errno(), name)
    return value


class Fd:
    """`with Fd(path, flags) as fd`: an open descriptor."""

    def __init__(self, path, flags=os.O_RDONLY, mode=0o644):
        self.fd = os.open(path, flags, mode)

    def __enter__(self):
        return self.fd

    def __exit__(self, *_):
        os.close(self.fd)


def each(cases):
    """A row is (errno or 0, function, arguments...)."""
    for row in cases:
        want, fn, *args = row
        try:
            value = fn(*args)
            got = 0
            if fn is os.open:
                os.close(value)
        except OSError as e:
            got = e.errno
        name = getattr(fn, "__name__", str(fn))
        shown = [a if len(str(a)) < 60 else str(a)[:57] + "..." for a in args]
        t.equal(errno.errorcode.get(got, got), errno.errorcode.get(want, want), "%s%r" % (name, tuple(shown)))


LONG = "n" * 256


@t.test("open: every combination of flags, and EEXIST, ENOENT, ENOTDIR, EISDIR, ENAMETOOLONG, EINVAL, EACCES")
def _():
    with Dir() as d:
        p = d.p
        d.sh("mkdir a && echo v > f && echo v > locked && touch a/c")
        for access in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
            for extra in (0, os.O_APPEND, os.O_NONBLOCK, os.O_SYNC, os.O_DSYNC, O_DIRECT, O_NOATIME, os.O_CLOEXEC,
                          os.O_NOFOLLOW, os.O_NOCTTY, os.O_CREAT):
                for trunc in (0, os.O_TRUNC) if access != os.O_RDONLY else (0,):
                    flags = access | extra | trunc
                    with Fd(p("f"), flags) as fd:
                        got = fcntl.fcntl(fd, fcntl.F_GETFL)
                        t.equal(got & (os.O_ACCMODE | os.O_APPEND), flags & (os.O_ACCMODE | os.O_APPEND))
                        if access != os.O_WRONLY:
                            t.equal(os.pread(fd, 9, 0), b"" if trunc else b"v\n")
                        if access != os.O_RDONLY:
                            t.equal(os.write(fd, b"v\n"), 2)
                    t.check(d.get("f") in (b"v\n", b"v\nv\n"), "flags %o: %r" % (flags, d.get("f")))
                    d.zk.set(d.z("f"), b"v\n")
        with Fd(p("new"), os.O_CREAT | os.O_EXCL | os.O_RDWR) as fd:
            os.write(fd, b"x")
        os.setxattr(p("locked"), "user.zk.acl", b"world:anyone:a")
        each([
            (errno.EEXIST, os.open, p("f"), os.O_CREAT | os.O_EXCL | os.O_WRONLY),
            (errno.EEXIST, os.open, p("a"), os.O_CREAT | os.O_EXCL | os.O_WRONLY),
            (errno.ENOENT, os.open, p("no"), os.O_RDONLY),
            (errno.ENOENT, os.open, p("no/x"), os.O_CREAT | os.O_WRONLY),
            (errno.ENOENT, os.open, "", os.O_RDONLY),
            (errno.ENOTDIR, os.open, p("f/x"), os.O_RDONLY),
            (errno.ENOTDIR, os.open, p("f"), os.O_RDONLY | os.O_DIRECTORY),
            (errno.EISDIR, os.open, p("a"), os.O_WRONLY),
            (errno.EISDIR, os.open, p("a"), os.O_RDWR),
            (errno.EISDIR, os.open, p("a"), os.O_RDONLY | os.O_CREAT),
            (errno.EISDIR, os.open, p("a"), os.O_RDONLY | os.O_TRUNC),
            (0, os.open, p("a"), os.O_RDONLY | os.O_DIRECTORY),
            (0, os.open, p("a"), O_PATH),
            (0, os.open, p("f"), O_PATH),
            (0, os.open, p("f"), os.O_RDONLY | os.O_TRUNC),
            (errno.ENAMETOOLONG, os.open, p(LONG), os.O_RDONLY),
            (errno.ENAMETOOLONG, os.open, p(LONG), os.O_CREAT | os.O_WRONLY),
            (errno.EOPNOTSUPP, os.open, p("a"), O_TMPFILE | os.O_WRONLY),
            (errno.EINVAL, os.open, p("a\tb"), os.O_CREAT | os.O_WRONLY),
            (errno.ENOENT, os.open, p("a\tb"), os.O_RDONLY),
            (errno.EACCES, os.open, p("locked"), os.O_RDONLY),
            (errno.EACCES, os.open, p("locked"), os.O_RDWR),
            (0, os.open, p("locked"), os.O_WRONLY | os.O_TRUNC),
        ])
        os.setxattr(p("locked"), "user.zk.acl", b"world:anyone:cdrwa")


@t.test("mkdir, mknod, rmdir, unlink: each errno")
def _():
    with Dir() as d:
        p = d.p
        d.sh("mkdir -p a full/x closed && touch f && echo v > full/x/.data && echo v > closed/f")
        d.zk.create(d.z("e"), None, t.EPHEMERAL)
        os.setxattr(p("closed"), "user.zk.acl", b"world:anyone:ra")
        fifo = stat.S_IFIFO | 0o600
        each([
            (0, os.mkdir, p("m")), (errno.EEXIST, os.mkdir, p("m")), (errno.EEXIST, os.mkdir, p("f")),
            (errno.EEXIST, os.mkdir, p("m/.data")), (errno.ENOENT, os.mkdir, p("no/m")),
            (errno.ENOTDIR, os.mkdir, p("f/m")), (errno.ENAMETOOLONG, os.mkdir, p(LONG)),
            (errno.EINVAL, os.mkdir, p("a\x7f")), (errno.EPERM, os.mkdir, p("e/m")),
            (errno.EACCES, os.mkdir, p("closed/m")), (errno.EEXIST, os.mkdir, d.m.path + "/.zk"),
            (errno.EEXIST, os.mkdir, p("a/.")), (errno.EEXIST, os.mkdir, p("a/..")),
            (0, os.mknod, p("n"), stat.S_IFREG | 0o600), (errno.EEXIST, os.mknod, p("n"), stat.S_IFREG),
            (errno.EPERM, os.mknod, p("x"), fifo), (errno.EPERM, os.mknod, p("x"), stat.S_IFSOCK),
            (errno.EPERM, os.mknod, p("x"), stat.S_IFBLK, os.makedev(1, 1)), (errno.EEXIST, os.mknod, p("f"), fifo),
            (errno.EINVAL, os.mknod, p("a\x01"), stat.S_IFREG), (errno.ENAMETOOLONG, os.mknod, p(LONG), stat.S_IFREG),
            (errno.EACCES, os.mknod, p("closed/n"), stat.S_IFREG), (errno.ENOENT, os.mknod, p("no/n"), stat.S_IFREG),
            (errno.ENOTEMPTY, os.rmdir, p("full")), (errno.ENOTDIR, os.rmdir, p("f")),
            (errno.ENOENT, os.rmdir, p("no")), (errno.ENOTDIR, os.rmdir, p("f/x")), (errno.EINVAL, os.rmdir, p("a/.")),
            (errno.ENOTEMPTY, os.rmdir, p("a/..")), (errno.ENAMETOOLONG, os.rmdir, p(LONG)),
            (errno.ENOENT, os.rmdir, p("a\x01")), (errno.ENOTDIR, os.rmdir, p("a/.data")),
            (errno.EBUSY, os.rmdir, d.m.path), (0, os.rmdir, p("m")),
            (errno.EISDIR, os.unlink, p("a")), (errno.ENOENT, os.unlink, p("no")), (errno.ENOTDIR, os.unlink, p("f/x")),
            (errno.ENAMETOOLONG, os.unlink, p(LONG)), (errno.ENOENT, os.unlink, p("a\x01")),
            (errno.EACCES, os.unlink, p("closed/f")), (0, os.unlink, p("n")), (0, os.unlink, p("e/.data")),
            (errno.ENOTDIR, os.unlink, p("f/.data")), (0, os.rmdir, p("e")),
        ])
        os.setxattr(p("closed"), "user.zk.acl", b"world:anyone:cdrwa")


@t.test("rename, link, symlink, readlink: each errno")
def _():
    with Dir() as d:
        p = d.p
        d.sh("mkdir -p a/b full/x closed && echo v > f && echo v > closed/f")
        d.zk.create(d.z("e"), b"", t.EPHEMERAL)
        os.setxattr(p("closed"), "user.zk.acl", b"world:anyone:ra")
        each([
            (0, os.rename, p("f"), p("g")), (0, os.rename, p("g"), p("f")), (0, os.rename, p("f"), p("f")),
            (errno.ENOENT, os.rename, p("no"), p("x")), (errno.ENOENT, os.rename, p("f"), p("no/x")),
            (errno.ENOTDIR, os.rename, p("f/x"), p("x")), (errno.ENOTDIR, os.rename, p("f"), p("closed/f/x")),
            (errno.ENOTDIR, os.rename, p("a"), p("f")), (errno.EISDIR, os.rename, p("f"), p("a")),
            (errno.ENOTEMPTY, os.rename, p("a"), p("full")), (errno.EINVAL, os.rename, p("a"), p("a/b/c")),
            (errno.ENAMETOOLONG, os.rename, p("f"), p(LONG)), (errno.ENAMETOOLONG, os.rename, p(LONG), p("f")),
            (errno.EINVAL, os.rename, p("f"), p("x\x01")), (errno.ENOENT, os.rename, p("x\x01"), p("f")),
            (errno.EPERM, os.rename, p("e"), p("x")), (errno.ENOTDIR, os.rename, p("f"), p("e/x")),
            (errno.EACCES, os.rename, p("f"), p("closed/x")), (errno.EACCES, os.rename, p("closed/f"), p("x")),
            (errno.EXDEV, os.rename, p("a/.data"), p("x")), (errno.EXDEV, os.rename, "/proc/self/stat", p("x")),
            (errno.EBUSY, os.rename, p("a/."), p("x")), (errno.EISDIR, os.rename, p("f"), d.m.path + "/.zk"),
            (errno.EPERM, os.link, p("f"), p("l")), (errno.EEXIST, os.link, p("f"), p("a")),
            (errno.ENOENT, os.link, p("no"), p("l")), (errno.EXDEV, os.link, "/proc/self/stat", p("l")),
            (errno.EPERM, os.symlink, "f", p("l")), (errno.EEXIST, os.symlink, "f", p("a")),
            (errno.EINVAL, os.readlink, p("f")), (errno.EINVAL, os.readlink, p("a")),
            (errno.ENOENT, os.readlink, p("no")),
        ])
        t.equal((d.get("f"), d.get("closed/f")), (b"v\n", b"v\n"))
        os.setxattr(p("closed"), "user.zk.acl", b"world:anyone:cdrwa")


@t.test("stat, access, statvfs, readdir, chdir: each errno")
def _():
    with Dir() as d:
        p = d.p
        d.sh("mkdir a closed && echo v > f && touch closed/f")
        os.setxattr(p("closed"), "user.zk.acl", b"world:anyone:a")
        each([
            (0, os.stat, p("f")), (0, os.lstat, p("f")), (0, os.stat, p("closed")), (0, os.stat, p("closed/f")),
            (0, os.stat, p("a/.")), (0, os.stat, p("a/..")), (0, os.stat, p("a/../f")),
            (errno.ENOENT, os.stat, p("no")), (errno.ENOTDIR, os.stat, p("f/x")), (errno.ENOTDIR, os.stat, p("f/..")),
            (errno.ENOTDIR, os.stat, p("f/")), (errno.ENAMETOOLONG, os.stat, p(LONG)),
            (errno.ENAMETOOLONG, os.stat, p("x/" * 3000)), (errno.ENOENT, os.stat, p("\x02")),
            (0, libc, "access", p("f").encode(), os.R_OK | os.W_OK), (0, libc, "access", p("a").encode(), 7),
            (errno.EACCES, libc, "access", p("f").encode(), os.X_OK), (errno.EINVAL, libc, "access", p("f").encode(), 99),
            (errno.ENOENT, libc, "access", p("no").encode(), os.F_OK),
            (0, os.statvfs, p("f")), (errno.ENOENT, os.statvfs, p("no")),
            (0, os.listdir, p("a")), (errno.ENOENT, os.listdir, p("no")), (errno.ENOTDIR, os.listdir, p("f")),
            (errno.EACCES, os.listdir, p("closed")), (errno.ENOTDIR, os.chdir, p("f")), (errno.ENOENT, os.chdir, p("no")),
            (0, os.chdir, p("a")), (0, os.stat, "../f"), (0, os.chdir, "/"),
        ])
        with Fd(p("a")) as fd:
            each([(errno.EISDIR, os.read, fd, 1), (errno.EBADF, os.write, fd, b"x"), (0, os.fsync, fd),
                  (errno.EINVAL, os.ftruncate, fd, 0), (0, os.fstat, fd), (errno.ENOTTY, fcntl.ioctl, fd, 0x5401)])
        os.setxattr(p("closed"), "user.zk.acl", b"world:anyone:cdrwa")


@t.test("read, write, pread, pwrite, lseek, truncate, fallocate, fsync: each errno")
def _():
    with Dir() as d:
        p = d.p
        d.sh("mkdir a && printf 0123456789 > f && touch gone old")
        limit = 1 << 21
        with Fd(p("f"), os.O_RDWR) as fd, Fd(p("f")) as ro, Fd(p("f"), os.O_WRONLY) as wo, Fd(p("f"), O_PATH) as path:
            each([
                (0, os.pread, fd, 4, 0), (0, os.pread, fd, 4, 100), (errno.EINVAL, os.pread, fd, 4, -1),
                (0, os.readv, fd, [bytearray(3), bytearray(4)]), (0, os.preadv, fd, [bytearray(3)], 2),
                (errno.EBADF, os.read, wo, 1), (errno.EBADF, os.write, ro, b"x"), (errno.EBADF, os.read, path, 1),
                (errno.EBADF, os.read, 9999, 1), (0, os.pwrite, fd, b"ab", 3), (0, os.pwritev, fd, [b"c", b"d"], 5),
                (0, os.pwrite, fd, b"", 0), (errno.EINVAL, os.pwrite, fd, b"x", -1),
                (errno.EFBIG, os.pwrite, fd, b"x", limit), (errno.EFBIG, os.pwrite, fd, b"x" * 10, limit - 9),
                (0, os.lseek, fd, 0, os.SEEK_SET), (0, os.lseek, fd, 5, os.SEEK_CUR), (0, os.lseek, fd, 0, os.SEEK_END),
                (0, os.lseek, fd, 1000, os.SEEK_SET), (errno.EINVAL, os.lseek, fd, -1, os.SEEK_SET),
                (errno.EINVAL, os.lseek, fd, 0, 99), (errno.ENXIO, os.lseek, fd, 100, os.SEEK_DATA),
                (errno.ENXIO, os.lseek, fd, 100, os.SEEK_HOLE), (0, os.lseek, fd, 2, os.SEEK_DATA),
                (errno.EINVAL, os.ftruncate, ro, 1), (errno.EINVAL, os.ftruncate, fd, -1),
                (errno.EFBIG, os.ftruncate, fd, limit), (0, os.ftruncate, fd, 9),
                (0, libc, "fallocate", fd, 0, ctypes.c_long(0), ctypes.c_long(12)),
                (0, libc, "fallocate", fd, FALLOC_KEEP_SIZE, ctypes.c_long(0), ctypes.c_long(50)),
                (errno.EOPNOTSUPP, libc, "fallocate", fd, FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE, ctypes.c_long(0),
                 ctypes.c_long(1)),
                (errno.EFBIG, libc, "fallocate", fd, 0, ctypes.c_long(0), ctypes.c_long(limit)),
                (errno.EINVAL, libc, "fallocate", fd, 0, ctypes.c_long(-1), ctypes.c_long(1)),
                (errno.EINVAL, libc, "fallocate", fd, 0, ctypes.c_long(0), ctypes.c_long(0)),
                (errno.EBADF, libc, "fallocate", ro, 0, ctypes.c_long(0), ctypes.c_long(1)),
                (0, os.fsync, fd), (0, os.fdatasync, fd), (0, os.fsync, ro), (errno.EBADF, os.fsync, path),
                (0, os.posix_fadvise, fd, 0, 0, os.POSIX_FADV_DONTNEED),
                (0, os.truncate, p("f"), 8), (errno.EISDIR, os.truncate, p("a"), 0), (errno.ENOENT, os.truncate, p("no"), 0),
                (errno.EFBIG, os.truncate, p("f"), limit), (errno.EINVAL, os.truncate, p("f"), -1),
            ])
        t.equal(d.get("f"), b"012abcd7")
        with Fd(p("f"), os.O_RDWR) as fd, Fd(p("gone"), os.O_RDWR) as gone, Fd(p("old"), os.O_RDWR) as old:
            d.zk.set(d.z("f"), b"other")
            d.zk.delete(d.z("gone"))
            d.zk.delete(d.z("old"))
            d.zk.create(d.z("old"), b"new")
            d.zk.set(d.z("old"), b"newer")
            each([(errno.ESTALE, os.write, fd, b"x"), (errno.ESTALE, os.ftruncate, fd, 1),
                  (errno.ENOENT, os.write, gone, b"x"), (errno.ESTALE, os.write, old, b"x"), (0, os.read, old, 1),
                  (0, os.fstat, gone), (0, os.fsync, gone)])
        t.equal((d.get("f"), d.get("old")), (b"other", b"newer"))


@t.test("a write of 1 MiB, and of 1 MiB and a byte, changes nothing and is told, however the kernel cuts it")
def _():
    with Dir() as d:
        d.sh("echo v > f")
        for size in (1 << 20, (1 << 20) + 1, 2 << 20):
            memory = mmap.mmap(-1, size + 4096)
            for at in (0, 1, 26, 32, 2048, 4095):
                fd = os.open(d.p("f"), os.O_RDWR)
                told = 0
                try:
                    told = size - os.write(fd, memoryview(memory)[at:at + size])
                except OSError as e:
                    t.equal(e.errno, errno.EFBIG)
                    os.close(fd)
                else:
                    t.check(told > 0, "a whole write of %d bytes" % size)
                    fails_with(errno.EFBIG, os.close, fd)
                t.equal((d.get("f"), d.version("f")), (b"v\n", 1), "%d bytes at %d" % (size, at))
        for size in ((1 << 20) - 4097, (1 << 20) - 4095, (1 << 20) - 100):
            with Fd(d.p("f"), os.O_RDWR | os.O_TRUNC) as fd:
                t.equal(os.write(fd, memoryview(memory)[1:1 + size]), size)
            t.equal(len(d.get("f")), size)


@t.test("mmap, copy_file_range, sendfile, splice")
def _():
    with Dir() as d:
        p = d.p
        d.sh("printf 0123456789 > f && touch g")
        with Fd(p("f"), os.O_RDWR) as f, Fd(p("f")) as ro, Fd(p("g"), os.O_RDWR) as g:
            with mmap.mmap(ro, 0, prot=mmap.PROT_READ) as m:
                t.equal(m[2:5], b"234")
            each([(errno.EACCES, mmap.mmap, ro, 10), (errno.EBADF, mmap.mmap, 9999, 10)])
            t.equal(os.copy_file_range(f, g, 6, 1, 0), 6)
            t.equal(os.pread(g, 9, 0), b"123456")
            each([(errno.EBADF, os.copy_file_range, f, ro, 1), (errno.EBADF, os.copy_file_range, 9999, g, 1)])
            a, b = socket.socketpair()
            t.equal(os.sendfile(a.fileno(), f, 2, 5), 5)
            t.equal(b.recv(9), b"23456")
            a.close(), b.close()
            r, w = os.pipe()
            os.write(w, b"piped")
            t.equal(os.splice(r, g, 5, offset_dst=0), 5)
            os.close(r), os.close(w)
        t.equal(d.get("g"), b"piped6")


@t.test("chmod, chown, utimens, and the extended attributes: each errno")
def _():
    with Dir() as d:
        p = d.p
        d.sh("mkdir a && echo v > f")
        acl = "user.zk.acl"
        each([
            (0, os.chmod, p("f"), 0o600), (errno.ENOENT, os.chmod, p("no"), 0o600), (errno.ENOTDIR, os.chmod, p("f/x"), 0),
            (0, os.chown, p("f"), 1, 1), (errno.ENOENT, os.chown, p("no"), 1, 1),
            (0, os.utime, p("f"), (1, 1)), (0, os.utime, p("a")), (errno.ENOENT, os.utime, p("no")),
            (0, os.getxattr, p("f"), acl), (errno.ENODATA, os.getxattr, p("f"), "user.x"),
            (errno.ENODATA, os.getxattr, p("f"), "user.zk.x"), (errno.ENOENT, os.getxattr, p("no"), acl),
            (errno.ERANGE, libc, "getxattr", p("f").encode(), acl.encode(), ctypes.create_string_buffer(4), 4),
            (errno.ERANGE, libc, "getxattr", p("f").encode(), b"user.zk.stat", ctypes.create_string_buffer(4), 4),
            (errno.ERANGE, libc, "getxattr", p("f").encode(), b"user.zk.path", ctypes.create_string_buffer(1), 1),
            (0, libc, "getxattr", p("f").encode(), b"user.zk.path", None, 0),
            (errno.ERANGE, os.getxattr, p("f"), "user." + "x" * 300),
            (0, os.setxattr, p("f"), acl, b"world:anyone:cdrwa"),
            (0, os.setxattr, p("f"), acl, b"world:anyone:cdrwa\n", os.XATTR_REPLACE),
            (errno.EEXIST, os.setxattr, p("f"), acl, b"world:anyone:cdrwa", os.XATTR_CREATE),
            (errno.EINVAL, os.setxattr, p("f"), acl, b"world:anyone"), (errno.EINVAL, os.setxattr, p("f"), acl, b""),
            (errno.EINVAL, os.setxattr, p("f"), acl, b"digest:nobody:r"),
            (errno.E2BIG, os.setxattr, p("f"), acl, b"x" * 70000),
            (errno.EOPNOTSUPP, os.setxattr, p("f"), "user.x", b"1"), (errno.EPERM, os.setxattr, p("f"), "user.zk.stat", b"1"),
            (errno.EOPNOTSUPP, os.setxattr, p("f"), "nonsense", b"1"),
            (0, os.listxattr, p("f")), (errno.ENOENT, os.listxattr, p("no")),
            (errno.ENODATA, os.removexattr, p("f"), "user.x"), (errno.EPERM, os.removexattr, p("f"), acl),
        ])
        os.setxattr(p("f"), acl, b"world:anyone:cdrw")
        each([(errno.EACCES, os.setxattr, p("f"), acl, b"world:anyone:cdrwa"), (0, os.getxattr, p("f"), acl)])


@t.test("a call whose path has a dot or two stays where they lead; openat2 may not leave its directory")
def _():
    with Dir() as d:
        d.sh("mkdir -p a/b && echo v > f")
        t.equal(os.stat(d.p("a/./b/../../f")).st_ino, os.stat(d.p("f")).st_ino)
        t.equal(os.stat(d.m.path + "/../" + os.path.basename(d.m.path)).st_ino, os.stat(d.m.path).st_ino)
        t.check(os.stat(d.m.path + "/..").st_dev != os.stat(d.m.path).st_dev)

        def openat2(fd, path):
            how = (ctypes.c_uint64 * 3)(os.O_RDONLY, 0, RESOLVE_BENEATH)
            os.close(libc("syscall", SYS_OPENAT2, fd, path.encode(), ctypes.byref(how), 24))

        with Fd(d.p("a")) as fd:
            each([(0, openat2, fd, "b/../b"), (errno.EXDEV, openat2, fd, "../f"), (errno.ENOENT, openat2, fd, "b/x")])


@t.test("with -o ro every change is EROFS, and the mount reads")
def _():
    with Dir() as d:
        d.sh("mkdir a && echo v > f")
        with mount.Mount("127.0.0.1:%d%s" % (common.PORT, d.znode), "ro") as m:
            def p(name):
                return os.path.join(m.path, name)
            ro = errno.EROFS
            each([
                (0, os.open, p("f"), os.O_RDONLY), (ro, os.open, p("f"), os.O_WRONLY), (ro, os.open, p("f"), os.O_RDWR),
                (ro, os.open, p("f"), os.O_RDONLY | os.O_TRUNC), (ro, os.open, p("n"), os.O_CREAT | os.O_WRONLY),
                (0, os.open, p("f"), os.O_CREAT | os.O_RDONLY), (ro, os.mkdir, p("n")), (errno.EEXIST, os.mkdir, p("a")),
                (ro, os.mknod, p("n"), stat.S_IFREG), (ro, os.rmdir, p("a")), (ro, os.unlink, p("f")),
                (ro, os.rename, p("f"), p("n")), (ro, os.link, p("f"), p("n")), (ro, os.symlink, "f", p("n")),
                (ro, os.truncate, p("f"), 0), (ro, os.chmod, p("f"), 0), (ro, os.chown, p("f"), 1, 1),
                (ro, os.utime, p("f")), (ro, os.setxattr, p("f"), "user.zk.acl", b"world:anyone:r"),
                (ro, os.removexattr, p("f"), "user.zk.acl"), (ro, libc, "access", p("f").encode(), os.W_OK),
                (0, os.stat, p("f")), (0, os.listdir, p("a")), (0, os.getxattr, p("f"), "user.zk.stat"),
                (ro, os.setxattr, p("a"), "user.zk.acl", b"world:anyone:r"), (ro, os.unlink, p("a/.data")),
                (ro, os.open, p("a/.data"), os.O_WRONLY),
            ])
            with Fd(p("f")) as fd:
                each([(0, os.fsync, fd), (0, os.read, fd, 9)])
        d.sh("find . | sort && cat f", ".\n./a\n./f\nv\n")
