"""ACLs: user.zk.acl, -o acl and -o auth; what the server forbids is EACCES, and secrets stay in their file."""
import errno
import os
import stat
import subprocess
import tempfile

import common
from common import Dir, fails_with, mount, t
from fault import Faulty
from start import refused

ACL = "user.zk.acl"
OPEN = b"world:anyone:cdrwa"


class AuthFile:
    """A file for -o auth."""

    def __init__(self, text="digest:user:secret\n", mode=0o600):
        self.text, self.mode = text, mode

    def __enter__(self):
        self.file = tempfile.NamedTemporaryFile("w")
        self.file.write(self.text)
        self.file.flush()
        os.chmod(self.file.name, self.mode)
        return self.file.name

    def __exit__(self, *_):
        self.file.close()


def read_bytes(path):
    with open(path, "rb") as f:
        return f.read()


def source(znode):
    common.server()
    return "127.0.0.1:%d%s" % (common.PORT, znode)


@t.test("user.zk.acl comes back as it was set: several entries, a mask, escapes, on files, directories, .data, descriptors")
def _():
    with Dir() as d:
        d.sh("mkdir a && echo v > a/f")
        for acl in ("world:anyone:cdrwa", "ip:127.0.0.1:cdrwa,world:anyone:r", "ip:127.0.0.0/8:dra",
                    "world:anyone:a,digest:user:kYrIwKRQlUeTBfwGhnZMvVWTQcE=:cdrwa"):
            for path in ("a", "a/f"):
                os.setxattr(d.p(path), ACL, acl.encode())
                t.equal(os.getxattr(d.p(path), ACL).decode(), acl)
                os.setxattr(d.p(path), ACL, OPEN)
        with open(d.p("a/f")) as f:
            os.setxattr(f.fileno(), ACL, b"world:anyone:ra")
            t.equal(os.getxattr(d.p("a/f"), ACL), b"world:anyone:ra")
        os.setxattr(d.p("a/.data"), ACL, b"world:anyone:cra")
        t.equal(os.getxattr(d.p("a"), ACL), b"world:anyone:cra")
        d.sh("getfattr --only-values -n user.zk.acl a | setfattr -n user.zk.acl -v \"$(cat)\" a/f")
        t.equal(os.getxattr(d.p("a/f"), ACL), b"world:anyone:cra")
        before = d.version("a/f")
        for wrong in (b"", b"world", b"world:anyone", b"world:anyone:cdrwax", b"world:somebody:r",
                      b"nonsense:x:r", b"world:anyone:r,", b"digest:nohash:r", b"ip:999.0.0.1:r", b"\xff:x:r"):
            fails_with(errno.EINVAL, os.setxattr, d.p("a/f"), ACL, wrong)
        t.equal(os.getxattr(d.p("a/f"), ACL), b"world:anyone:cra")
        t.equal(d.version("a/f"), before)
        os.setxattr(d.p("a"), ACL, OPEN)


@t.test("each right is needed for what it is for, and enough for it: r, w, c, d, a")
def _():
    def read(path):
        with open(path) as f:
            return f.read()

    def write(path):
        with open(path, "w") as f:
            f.write("w")

    with Dir() as d:
        d.sh("mkdir a && echo v > a/f && touch a/gone")
        file, folder, gone = d.p("a/f"), d.p("a"), d.p("a/gone")

        # (the right, the znode whose ACL it is in, what needs it)
        for right, path, fn in (("r", file, lambda: read(file)), ("r", folder, lambda: os.listdir(folder)),
                                ("w", file, lambda: write(file)), ("w", file, lambda: os.truncate(file, 0)),
                                ("w", folder, lambda: os.unlink(folder + "/.data")), ("c", folder, lambda: os.mkdir(folder + "/made")),
                                ("d", folder, lambda: os.unlink(gone)), ("a", file, lambda: os.setxattr(file, ACL, OPEN))):
            os.setxattr(path, ACL, b"world:anyone:" + b"cdrwa".replace(right.encode(), b""))
            fails_with(errno.EACCES, fn)
            if right == "a":
                # Nobody can open it up again but by making it anew.
                fails_with(errno.EACCES, os.setxattr, path, ACL, OPEN)
                d.sh("rm a/f && echo v > a/f")
            else:
                os.setxattr(path, ACL, b"world:anyone:a" + right.encode())
            fn()
            os.setxattr(path, ACL, OPEN)
        os.setxattr(file, ACL, b"world:anyone:w")
        fails_with(errno.EACCES, os.getxattr, file, ACL)


@t.test("what may not be read is no directory for good: once it may, it is seen as what it is")
def _():
    with Dir() as d:
        d.sh("echo v > f && setfattr -n user.zk.acl -v world:anyone:wa f")
        d.zk.set(d.z("f"), b"")
        d.sh("stat -c %F f", "directory\n")
        os.setxattr(d.p("f"), ACL, OPEN)
        d.sh("stat -c %F f && cat f && rm f", "regular empty file\n")


@t.test("-o acl is the ACL of every new znode, not of those that are there; a rename keeps the old one")
def _():
    with Dir() as d:
        d.sh("echo v > old && mkdir olddir && echo v > olddir/f")
        spec = "ip:127.0.0.1:cdrwa,world:anyone:r"
        with mount.Mount(source(d.znode), "acl=" + spec.replace(",", "\\,")) as m:
            m.sh("mkdir a && echo v > a/f && touch g && cp g h && mv old moved && mv olddir a/d && echo w >> moved")
            os.mknod(m.path + "/n", stat.S_IFREG)
            for path in ("a", "a/f", "g", "h", "n"):
                t.equal(os.getxattr(m.path + "/" + path, ACL).decode(), spec, path)
            for path in ("moved", "a/d", "a/d/f"):
                t.equal(os.getxattr(m.path + "/" + path, ACL), OPEN, path)
        d.sh("touch other")
        t.equal(os.getxattr(d.p("other"), ACL), OPEN)
        for wrong in ("world:anyone:z", "world", ""):
            refused(2, "acl: not a valid value", source(""), "/tmp", "-o", "acl=" + wrong)


@t.test("identities decide: two mounts with different ones, one with both, one with none")
def _():
    with Dir() as d, AuthFile("digest:one:a\n") as one, AuthFile("digest:two:b\n") as two, \
            AuthFile("# both\n\n digest:one:a\r\ndigest:two:b\n") as both, AuthFile("") as none:
        with mount.Mount(source(d.znode), "auth=%s,acl=auth::cdrwa" % one) as m1, \
                mount.Mount(source(d.znode), "auth=%s,acl=auth::cdrwa" % two) as m2, \
                mount.Mount(source(d.znode), "auth=%s" % both) as m3, \
                mount.Mount(source(d.znode), "auth=%s" % none) as m4:
            m1.sh("mkdir a && echo 1 > a/f && cat a/f", "1\n")
            m2.sh("mkdir b && echo 2 > b/f && cat b/f", "2\n")
            for m, path in ((m2, "a"), (m1, "b"), (m4, "a"), (m4, "b")):
                m.fails("cat %s/f" % path, "Permission denied")
                m.fails("echo x > %s/f" % path, "Permission denied")
                m.fails("touch %s/g" % path, "Permission denied")
                m.fails("rm %s/f" % path, "Permission denied")
                m.fails("ls %s" % path, "Permission denied")
                m.fails("mv %s c" % path, "Permission denied")
                m.fails("getfattr -n user.zk.acl %s" % path, "Permission denied")
            m3.sh("cat a/f b/f && mv a/f b/g && cat b/g && rm -r a b && ls", "1\n2\n1\n")
            # auth means whoever asks: without an identity there is nobody to give it to.
            m4.sh("touch f")
            fails_with(errno.EINVAL, os.setxattr, m4.path + "/f", ACL, b"auth::cdrwa")
            os.setxattr(m1.path + "/f", ACL, b"auth::cdrwa")
            t.check(os.getxattr(m1.path + "/f", ACL).startswith(b"digest:one:"))
            m4.fails("cat f", "Permission denied")
            m1.sh("cat f && rm f")


@t.test("the file of -o auth has to be the caller's own, a plain one, closed to all others, and well formed")
def _():
    with tempfile.TemporaryDirectory() as folder:
        def start(path, text, status=1):
            refused(status, text, source(""), folder, "-f", "-o", "auth=" + path)
        for mode in (0o640, 0o620, 0o610, 0o604, 0o602, 0o601, 0o644, 0o666):
            with AuthFile(mode=mode) as name:
                start(name, "it has to be yours, a plain file of mode 0600")
        with AuthFile() as name:
            os.chown(name, 65534, -1)
            start(name, "it has to be yours")
        os.mkfifo(folder + "/fifo", 0o600)
        os.mkdir(folder + "/dir", 0o700)
        start(folder + "/fifo", "a plain file")
        start(folder + "/dir", "a plain file")
        start(folder + "/no", "No such file or directory")
        for text, line in (("nonsense\n", 1), ("digest:a:b\n:x\n", 2), ("#\n\n \nx", 4)):
            with AuthFile(text) as name:
                start(name, "line %d: scheme:auth is expected" % line)
        refused(2, "auth needs a value", source(""), folder, "-o", "auth")
        refused(2, "auth: not a valid value", source(""), folder, "-o", "auth=")
    for mode in (0o600, 0o400):
        with Dir() as d, AuthFile(mode=mode) as name:
            with mount.Mount(source(d.znode), "auth=%s,acl=auth::cdrwa" % name) as m:
                m.sh("echo v > f && cat f && rm f", "v\n")


@t.test("the secret is on no command line, in no environment, mount table or log; others cannot read it")
def _():
    secret = "the-secret-of-this-test"
    with Dir() as d, AuthFile("digest:user:%s\n" % secret) as name, tempfile.TemporaryDirectory() as folder:
        point, log = folder + "/zk", folder + "/log"
        os.mkdir(point)
        zkfs = os.path.join(t.BUILD, "fs", "zkfs")
        done = subprocess.run([zkfs, source(d.znode), point, "-o", "auth=%s,acl=auth::cdrwa,log=%s" % (name, log)],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30)
        t.equal((done.returncode, done.stdout), (0, b""))
        try:
            with open(point + "/f", "w") as f:
                f.write("v")
            found = 0
            for pid in filter(str.isdigit, os.listdir("/proc")):
                try:
                    words = read_bytes("/proc/%s/cmdline" % pid)
                    if point.encode() in words:
                        found += 1
                        words += read_bytes("/proc/%s/environ" % pid)
                except OSError:
                    continue  # it has ended meanwhile, or is not ours to read
                t.check(secret.encode() not in words, "process %s: %r" % (pid, words))
            t.check(found > 0, "no process of the mount was found")
            for path in ("/proc/self/mountinfo", "/etc/mtab", log):
                t.check(secret.encode() not in read_bytes(path), path)
            t.check(b"mounted source=" in read_bytes(log))
            acl = os.getxattr(point + "/f", ACL)
            t.check(secret.encode() not in acl and acl.startswith(b"digest:user:"), acl)
        finally:
            subprocess.run(["umount", point], check=True)
        # The twin: the same search finds what is there.
        t.check(secret.encode() in read_bytes(name))


@t.test("an identity is there again on the next connection: the server restarts, and the mount may go on")
def _():
    with AuthFile() as name:
        with Faulty("auth=%s,acl=auth::cdrwa" % name) as (server, m):
            m.sh("mkdir a && echo v > a/f")
            server.restart()
            m.sh("cat a/f && echo w > a/f && cat a/f", "v\nw\n")
            with mount.Mount("127.0.0.1:%d" % server.port) as other:
                other.fails("cat a/f", "Permission denied")
