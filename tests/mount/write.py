"""Writing: one setData for an echo, conditions on versions, limits, errors that the writer sees."""
import errno
import os
import subprocess
import time

import common
from common import Dir, fails_with, t

LIMIT = 1048575  # jute.maxbuffer


def value_max(path):
    """The greatest value that one setData of this path can carry."""
    return LIMIT - 20 - len(path)


@t.test("echo v > f is exactly one setData, on a new file after one create")
def _():
    with Dir() as d:
        d.sh("echo one > f")
        t.equal(d.version("f"), 1)
        d.sh("echo two > f")
        t.equal((d.get("f"), d.version("f")), (b"two\n", 2))
        zxid = int(os.getxattr(d.p("f"), "user.zk.mzxid"), 16)
        d.sh("echo three > f")
        t.equal(int(os.getxattr(d.p("f"), "user.zk.mzxid"), 16), zxid + 1, "one transaction")


@t.test(": > f empties with one setData, and > of an empty new file with none")
def _():
    with Dir() as d:
        d.sh(": > f")
        t.equal((d.get("f"), d.version("f")), (b"", 0))
        d.sh("echo v > f && : > f")
        t.wait_for(lambda: d.get("f") == b"", text="the truncation at close")
        t.equal(d.version("f"), 2)


@t.test("a value written in pieces of 4,096 is one commit with the rest")
def _():
    with Dir() as d:
        for size in (4095, 4096, 4097, 8192, 10000, 40960, 100001, 999999):
            data = os.urandom(size // 2).hex() + "x" * (size % 2)
            d.sh("touch f")
            with open(d.p("f"), "wb", buffering=0) as f:
                for at in range(0, size, 4096):
                    f.write(data[at:at + 4096].encode())
            t.equal(d.get("f").decode(), data)
            t.equal(d.version("f"), 1, "version after a value of %d bytes" % size)
            d.zk.delete(d.z("f"))


@t.test("tee, dd, cp and head -c make one commit of a value, also of n times 4,096 bytes")
def _():
    with Dir() as d:
        for size in (0, 1, 4096, 12288, 10240, 200000):
            d.sh("head -c %d /dev/urandom > /dev/shm/zkfs-test-$$; f=/dev/shm/zkfs-test-$$; "
                 "cp $f c && tee t < $f > /dev/null && dd if=$f of=d bs=4096 2>/dev/null && cat $f > h && "
                 "for i in c t d h; do cmp $f $i || exit 1; done; rm $f" % size)
            for name in "ctdh":
                t.wait_for(lambda: len(d.get(name)) == size, text="the commit at close")
                t.equal(d.version(name), 1 if size else 0, "%s of %d bytes" % (name, size))
            d.sh("rm c t d h")


@t.test("a piece that is held back is seen by its writer, committed by fsync, close, or a second of quiet")
def _():
    with Dir() as d:
        with open(d.p("f"), "w+b", buffering=0) as f:
            f.write(b"a" * 4096)
            t.equal(d.get("f"), b"", "held back")
            t.equal(os.fstat(f.fileno()).st_size, 4096)
            t.equal(os.pread(f.fileno(), 3, 4094), b"aa")
            os.fsync(f.fileno())
            t.equal(len(d.get("f")), 4096)
            f.write(b"b" * 4096)
            t.equal(len(d.get("f")), 4096, "held back")
            t.wait_for(lambda: len(d.get("f")) == 8192, 15, "the commit after a second")
            f.write(b"c" * 4096)
        t.equal(len(d.get("f")), 12288)


@t.test("a write(2) of any other size is on the server when it returns")
def _():
    with Dir() as d:
        with open(d.p("f"), "wb", buffering=0) as f:
            for i in range(5):
                f.write(b"line\n")
                t.equal(d.get("f"), b"line\n" * (i + 1))


@t.test("a write into the middle, beyond the end, and pwrite keep the rest")
def _():
    with Dir() as d:
        d.sh("printf 0123456789 > f && printf ab | dd of=f bs=1 seek=3 count=2 conv=notrunc 2>/dev/null")
        t.equal(d.get("f"), b"012ab56789")
        fd = os.open(d.p("f"), os.O_RDWR)
        os.pwrite(fd, b"Z", 12)
        t.equal(os.pread(fd, 100, 0), b"012ab56789\0\0Z")
        os.close(fd)
        t.equal(d.get("f"), b"012ab56789\0\0Z")


@t.test("a write on an outdated version is ESTALE and overwrites nothing; reopened, it works")
def _():
    with Dir() as d:
        d.sh("echo one > f")
        fd = os.open(d.p("f"), os.O_RDWR)
        d.zk.set(d.z("f"), b"other\n")
        fails_with(errno.ESTALE, os.pwrite, fd, b"X", 0)
        t.equal(d.get("f"), b"other\n")
        t.equal(os.pread(fd, 10, 0), b"one\n", "the value at open")
        os.close(fd)
        fd = os.open(d.p("f"), os.O_RDWR)
        os.pwrite(fd, b"X", 0)
        os.close(fd)
        t.equal(d.get("f"), b"Xther\n")


@t.test("the first write after a truncation replaces whatever came between; the second does not")
def _():
    with Dir() as d:
        d.sh("echo one > f")
        fd = os.open(d.p("f"), os.O_WRONLY | os.O_TRUNC)
        d.zk.set(d.z("f"), b"other\n")
        os.write(fd, b"mine\n")
        t.equal(d.get("f"), b"mine\n")
        d.zk.set(d.z("f"), b"other\n")
        fails_with(errno.ESTALE, os.write, fd, b"more\n")
        t.equal(d.get("f"), b"other\n")
        os.close(fd)


@t.test("concurrent appenders lose no line: 4 shells, another mount's shell, 100 lines each")
def _():
    with Dir() as d, common.mount.Mount("127.0.0.1:%d%s" % (common.PORT, d.znode)) as m:
        loop = "for i in {1..100}; do echo %s$i >> f || exit 1; done"
        d.sh("touch f")
        shells = [d.start(loop % c) for c in "abcd"] + [m.start(loop % "e")]
        for shell in shells:
            status, _, err = d.m.finish(shell, 120)
            t.equal(status, 0, err)
        want = sorted("%s%d" % (c, i) for c in "abcde" for i in range(1, 101))
        t.equal(sorted(d.get("f").decode().split()), want)
        t.equal(d.version("f"), 500)


@t.test("O_APPEND appends to what others wrote since the open, as one piece also when it is held")
def _():
    with Dir() as d:
        d.sh("echo one > f")
        with open(d.p("f"), "ab", buffering=0) as f:
            d.zk.set(d.z("f"), b"other\n")
            f.write(b"two\n")
            t.equal(d.get("f"), b"other\ntwo\n")
            f.write(b"x" * 4096)
            d.zk.set(d.z("f"), b"again\n")
            f.write(b"y\n")
        t.equal(d.get("f"), b"again\n" + b"x" * 4096 + b"y\n")


@t.test("a value up to the server's limit is written, one byte more is EFBIG and changes nothing")
def _():
    with Dir() as d:
        most = value_max(d.z("f"))
        big = b"x" * most
        with open(d.p("f"), "wb") as f:
            f.write(big)
        # The reply that carries it has 68 bytes more than the request: only clients that know this, as
        # the mount does, read it back.
        with open(d.p("f"), "rb") as f:
            t.equal(len(f.read()), most)
        d.sh("echo small > f")
        version = d.version("f")
        for size in (most + 1, 1 << 20, (1 << 20) + 1, 3 << 20):
            d.fails("head -c %d /dev/zero > f" % size, "File too large")
            d.fails("dd if=/dev/zero of=f bs=%d count=1" % size, "File too large")
        d.fails("head -c 2000000 /dev/zero | cat >> f", "File too large")
        d.fails("truncate -s 2M f", "File too large")
        d.fails("fallocate -l 2M f", "File too large")
        t.equal((d.get("f"), d.version("f")), (b"small\n", version))


@t.test("1 MiB less 4 KiB goes through one write, and comes back whole")
def _():
    with Dir() as d:
        data = os.urandom((1 << 20) - 4096)
        with open(d.p("f"), "wb", buffering=0) as f:
            f.write(data)
        with open(d.p("f"), "rb") as f:
            t.check(f.read() == data)
        d.sh("cp f g && cmp f g")
        t.equal(d.version("g"), 1)


@t.test("truncate(2) and ftruncate(2) commit at once, and shorten or fill with zeros")
def _():
    with Dir() as d:
        d.sh("printf 0123456789 > f")
        os.truncate(d.p("f"), 4)
        t.equal(d.get("f"), b"0123")
        os.truncate(d.p("f"), 6)
        t.equal(d.get("f"), b"0123\0\0")
        fd = os.open(d.p("f"), os.O_RDWR)
        os.ftruncate(fd, 2)
        t.equal(d.get("f"), b"01")
        os.ftruncate(fd, 0)
        t.equal(d.get("f"), b"")
        os.write(fd, b"new")
        t.equal(d.get("f"), b"new")
        d.zk.set(d.z("f"), b"other")
        fails_with(errno.ESTALE, os.ftruncate, fd, 1)
        os.close(fd)
        d.sh("fallocate -l 8 f")
        t.equal(d.get("f"), b"other\0\0\0")
        fails_with(errno.EISDIR, os.truncate, d.path, 0)


@t.test("the value is the one at open, never torn, whatever is written meanwhile")
def _():
    with Dir() as d:
        d.zk.create(d.z("f"), b"a" * 300000)
        with open(d.p("f"), "rb", buffering=0) as f:
            t.equal(f.read(1000), b"a" * 1000)
            d.zk.set(d.z("f"), b"b" * 200000)
            rest = f.read(400000)
            t.equal((len(rest), set(rest)), (299000, {ord("a")}))
        torn = d.start("for i in {1..200}; do v=$(fold -w1 f | sort -u | wc -l); "
                       "((v == 1)) || { echo torn $v; exit 1; }; done")
        size = 100
        while torn.poll() is None:
            size = 100 + (size * 7) % 19001
            d.zk.set(d.z("f"), bytes([97 + size % 26]) * size)
            time.sleep(0.0005)
        status, out, err = d.m.finish(torn, 60)
        t.equal((status, out), (0, ""), err)


@t.test("a write's error is seen by the shell: ESTALE, EFBIG, EACCES")
def _():
    with Dir() as d:
        d.sh("echo v > f")
        os.setxattr(d.p("f"), "user.zk.acl", b"world:anyone:rda")
        for shell in ("bash", "dash"):
            d.fails("%s -c 'echo w > f'" % shell, "write error" if shell == "bash" else "I/O error")
        d.fails("echo w >> f", "Permission denied")
        d.fails("cp /etc/hostname f", "Permission denied")
        d.sh("cat f", "v\n")
        # The twin: with the permission it works.
        os.setxattr(d.p("f"), "user.zk.acl", b"world:anyone:cdrwa")
        d.sh("echo w > f && cat f", "w\n")


@t.test("a read-only descriptor cannot write, a write-only one cannot read")
def _():
    with Dir() as d:
        d.sh("echo v > f")
        fd = os.open(d.p("f"), os.O_RDONLY)
        fails_with(errno.EBADF, os.write, fd, b"x")
        os.close(fd)
        fd = os.open(d.p("f"), os.O_WRONLY)
        fails_with(errno.EBADF, os.read, fd, 1)
        os.close(fd)


@t.test("sync FILE and sync DIR return when this mount has seen every earlier change")
def _():
    with Dir() as d:
        d.sh("touch f")
        for i in range(20):
            d.zk.set(d.z("f"), b"%d" % i)
            d.sh("sync f && cat f", "%d" % i)
        d.zk.create(d.z("g"), b"")
        d.sh("sync . && ls", "f\ng\n")
        d.sh("dd if=/dev/zero of=h bs=4096 count=2 conv=fsync 2>/dev/null && stat -c %s h", "8192\n")


@t.test("lseek finds data everywhere and a hole at the end; ioctl is ENOTTY")
def _():
    import fcntl
    with Dir() as d:
        d.sh("printf 0123456789 > f")
        with open(d.p("f"), "rb") as f:
            t.equal(os.lseek(f.fileno(), 3, os.SEEK_DATA), 3)
            t.equal(os.lseek(f.fileno(), 3, os.SEEK_HOLE), 10)
            t.equal(os.lseek(f.fileno(), -2, os.SEEK_END), 8)
            fails_with(errno.ENXIO, os.lseek, f.fileno(), 10, os.SEEK_DATA)
            fails_with(errno.ENOTTY, fcntl.ioctl, f.fileno(), 0x5401)


@t.test("a mapping reads the value, and a shared one writes it back")
def _():
    import mmap
    with Dir() as d:
        d.sh("printf 0123456789 > f")
        with open(d.p("f"), "r+b") as f:
            with mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE) as mapped:
                t.equal(mapped[:], b"0123456789")
            with mmap.mmap(f.fileno(), 0) as mapped:
                mapped[0:2] = b"ab"
                mapped.flush()
        t.wait_for(lambda: d.get("f") == b"ab23456789", text="the mapping's write-back")


@t.test("flock keeps others out, and its holder's death lets go")
def _():
    with Dir() as d:
        d.sh("touch f")
        held = d.start("exec 9<f; flock 9; echo locked; sleep 3")
        t.equal(held.stdout.readline(), "locked\n")
        status, _, _ = d.m.run("cd %s; flock -n f true" % d.name)
        t.equal(status, 1)
        held.kill()
        held.wait()
        end = time.monotonic() + 10
        while subprocess.run(["flock", "-n", d.p("f"), "true"]).returncode != 0:
            t.check(time.monotonic() < end, "the lock outlives its holder")
