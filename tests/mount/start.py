"""zkfs as a program: its options, its start and its end."""
import errno
import os
import signal
import subprocess
import tempfile

import common
from common import Dir, mount, t

ZKFS = os.path.join(t.BUILD, "fs", "zkfs")


def zkfs(*words, timeout=30):
    done = subprocess.run([ZKFS] + list(words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=timeout)
    return done.returncode, done.stdout, done.stderr


def refused(status, text, *words):
    got, out, err = zkfs(*words)
    t.equal(got, status, "status of %r (%s%s)" % (words, out, err))
    t.check(text in err, "%r says %r, without %r" % (words, err, text))


def source(root=""):
    common.server()
    return "127.0.0.1:%d%s" % (common.PORT, root)


@t.test("-h and -V answer; wrong words, unknown options and bad values are errors that say what")
def _():
    t.equal(zkfs("-V")[:2], (0, "zkfs 0.1.0\n"))
    status, out, _ = zkfs("-h")
    t.check(status == 0 and "usage: zkfs" in out)
    with tempfile.TemporaryDirectory() as point:
        refused(2, "needed", "127.0.0.1:1")
        refused(2, "too many", "127.0.0.1:1", point, "x")
        refused(2, "unknown option: nonsense", "127.0.0.1:1", point, "-o", "nonsense")
        refused(2, "unknown option: --nonsense", "127.0.0.1:1", point, "--nonsense")
        refused(2, "timeo: not a valid value: x", "127.0.0.1:1", point, "-o", "timeo=x")
        refused(2, "timeo needs a value", "127.0.0.1:1", point, "-o", "timeo")
        refused(2, "restarts: not a valid value", "127.0.0.1:1", point, "-o", "restarts=-1")
        refused(2, "hard takes no value", "127.0.0.1:1", point, "-o", "hard=1")
        refused(2, "umask: not a valid value", "127.0.0.1:1", point, "-ouid=5,umask=9")
        refused(2, "acl: not a valid value", "127.0.0.1:1", point, "-o", "acl=nonsense")
        refused(2, "no server", "/root", point)
        refused(2, "not a valid path", "127.0.0.1:1/a//b", point)
        refused(2, "No such file", "127.0.0.1:1", point + "/no")
        refused(2, "not a directory", "127.0.0.1:1", "/etc/hostname")


@t.test("without a server the start fails in time and says so; with a root that is not there too")
def _():
    with tempfile.TemporaryDirectory() as point:
        for flags in ((), ("-f",)):
            refused(1, "no answer from 127.0.0.1:%d" % (common.PORT + 50), "127.0.0.1:%d" %
                    (common.PORT + 50), point, "-o", "timeo=0.5", *flags)
            refused(1, "the root /no/such does not exist", source("/no/such"), point, *flags)
        t.check(not mount.is_mounted(point))


@t.test("it goes into the background when the mount works, and ends with umount")
def _():
    with tempfile.TemporaryDirectory() as folder:
        point = folder + "/zk"
        os.mkdir(point)
        status, out, err = zkfs(source(), point, "-o", "log=%s/log" % folder)
        t.equal((status, out, err), (0, "", ""))
        try:
            t.check(os.path.isdir(point + "/zookeeper"))
            with open("/proc/self/mountinfo") as f:
                line = next(x for x in f if " %s " % point in x)
            t.check(" - fuse.zkfs %s " % source() in line, line)
        finally:
            t.equal(subprocess.run(["umount", point]).returncode, 0)
        with open(folder + "/log") as f:
            log = t.wait_for(lambda: (f.seek(0), f.read())[1].count("unmounted") and f.seek(0) == 0 and f.read())
        t.check("ERROR" not in log, log)

        def ended():
            found = subprocess.run(["pgrep", "-f", "zkfs .* %s" % point], stdout=subprocess.PIPE)
            return found.returncode == 1
        t.wait_for(ended, 10, "the end of the process")


@t.test("SIGTERM and SIGINT unmount, commit what is held and end the session")
def _():
    for signum in (signal.SIGTERM, signal.SIGINT):
        with Dir() as d:
            m = mount.Mount(source(d.znode))
            session = next(line for line in m.log().splitlines() if "mounted source" in line)
            t.check("session=0x" in session, session)
            f = open(m.path + "/f", "wb", buffering=0)
            f.write(b"x" * 4096)
            m.process.send_signal(signum)
            t.equal(m.process.wait(10), 0)
            t.check(not mount.is_mounted(m.path))
            t.equal(d.get("f"), b"x" * 4096)
            try:
                f.close()
            except OSError:
                pass  # its mount has gone
            m.close()


@t.test("umount says busy while a file is open, and works when it is closed")
def _():
    with Dir() as d, mount.Mount(source(d.znode)) as m:
        with open(m.path + "/f", "w"):
            t.check(not m.unmount())
        t.check(m.unmount(), m.log())


@t.test("what a killed zkfs left is taken away by the next one")
def _():
    with Dir() as d:
        d.sh("echo v > f")
        m = mount.Mount(source(d.znode))
        m.kill_all()
        common.fails_with(errno.ENOTCONN, os.listdir, m.path)
        status, _, err = zkfs(source(d.znode), m.path, "-o", "log=/dev/null")
        t.equal(status, 0, err)
        try:
            with open(m.path + "/f") as f:
                t.equal(f.read(), "v\n")
        finally:
            subprocess.run(["umount", m.path])
            t.wait_for(lambda: not mount.is_mounted(m.path))
        m.close()


@t.test("-o ro refuses every change with EROFS, and reads")
def _():
    with Dir() as d:
        d.sh("echo v > f")
        with mount.Mount(source(d.znode), "ro") as m:
            m.sh("cat f && test ! -w f", "v\n")
            for command in ("echo x > f", "mkdir a", "rm f", "mv f g", "touch g",
                            "setfattr -n user.zk.acl -v world:anyone:r f"):
                m.fails(command, "Read-only file system")


@t.test("-o uid, gid and umask show, strict_modes refuses chmod, chown and utimens with EPERM")
def _():
    with Dir() as d:
        with mount.Mount(source(d.znode), "uid=12,gid=34,umask=027,strict_modes") as m:
            m.sh("mkdir a && echo v > f && stat -c '%u %g %a' a f", "12 34 750\n12 34 640\n")
            for command in ("chmod 600 f", "chown 5 f", "touch -d 2001-01-01 f"):
                m.fails(command, "Operation not permitted")
            m.sh("truncate -s 1 f && cat f", "v")


@t.test("-o acl is the ACL of what is made, -o auth the identity; without it EACCES")
def _():
    with Dir() as d, tempfile.NamedTemporaryFile("w") as auth:
        auth.write("# identities\ndigest:user:secret\n")
        auth.flush()
        os.chmod(auth.name, 0o600)
        options = "auth=%s,acl=auth::cdrwa" % auth.name
        with mount.Mount(source(d.znode), options) as m:
            m.sh("mkdir a && echo v > a/f && cat a/f", "v\n")
            acl = os.getxattr(m.path + "/a/f", "user.zk.acl").decode()
            t.check(acl.startswith("digest:user:") and acl.endswith(":cdrwa"), acl)
            d.fails("cat a/f", "Permission denied")
            d.fails("ls a", "Permission denied")
            d.fails("touch a/g", "Permission denied")
            d.sh("stat -c '%F' a", "directory\n")
            m.sh("rm -r a")
        os.chmod(auth.name, 0o644)
        with tempfile.TemporaryDirectory() as point:
            refused(1, "0600", source(), point, "-f", "-o", "auth=" + auth.name)
            os.chmod(auth.name, 0o600)
            auth.write("nonsense\n")
            auth.flush()
            refused(1, "line 3: scheme:auth", source(), point, "-f", "-o", "auth=" + auth.name)


@t.test("another user may use a mount made by root, unless no_allow_other is given")
def _():
    with Dir() as d:
        with mount.Mount(source(d.znode)) as m:
            os.chmod(m.folder, 0o755)
            m.sh("cd / && setpriv --reuid 65534 --clear-groups bash -c 'echo v > %s/f && cat %s/f'" %
                 (m.path, m.path), "v\n")
        with mount.Mount(source(d.znode), "no_allow_other") as m:
            os.chmod(m.folder, 0o755)
            m.fails("cd / && setpriv --reuid 65534 --clear-groups cat %s/f" % m.path, "Permission denied")


@t.test("several servers: the one that answers is used, and a list with a dead one is no harm")
def _():
    with Dir() as d:
        servers = "127.0.0.1:%d,127.0.0.1:%d" % (common.PORT + 50, common.PORT)
        for _ in range(3):
            with mount.Mount(servers + d.znode) as m:
                m.sh("echo v > f && cat f", "v\n")


@t.test("nothing is lost by an unmount and a new mount")
def _():
    with Dir() as d:
        with mount.Mount(source(d.znode)) as m:
            m.sh("mkdir -p a/b && echo v > a/b/f && touch e")
            t.check(m.unmount())
        with mount.Mount(source(d.znode)) as m:
            m.sh("find . | sort && cat a/b/f", ".\n./a\n./a/b\n./a/b/f\n./e\nv\n")
