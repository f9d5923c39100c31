"""Tools that replace files: each works, and its twin fails, says so and leaves things as they were."""
import errno
import os
import tempfile

import common
from common import Dir, fails_with, mount, t
from rename import NOREPLACE, renameat2
from tools import Outside

GIT = "git -c user.name=x -c user.email=x@example.org -c init.defaultBranch=main -c safe.directory=* "

# name: (what comes first, {o} outside of the mount; the tool, in the folder d; what `cat`s of its work print)
TOOLS = {
    "sed -i": ("echo a > d/f", "sed -i s/a/b/ f", "cat f", "b\n"),
    "sed -i with a backup": ("echo a > d/f", "sed -i.bak s/a/b/ f", "cat f f.bak", "b\na\n"),
    "vim": ("echo a > d/f", "vim.tiny -u NONE -es -c 'set nobackup' -c '%s/a/b/' -c wq f", "cat f", "b\n"),
    "vim with a backup": ("echo a > d/f", "vim.tiny -u NONE -es -c 'set backup backupcopy=no backupskip=' -c '%s/a/b/' -c wq f",
                          "cat f f~", "b\na\n"),
    "mv of a file": ("echo a > d/f", "mv f g", "cat g; test ! -e f", "a\n"),
    "mv into the mount": ("echo a > {o}/f", "mv {o}/f g", "cat g; test ! -e {o}/f", "a\n"),
    "mv out of the mount": ("echo a > d/f", "mv f {o}/g", "cat {o}/g; test ! -e f", "a\n"),
    "mv of a directory": ("mkdir -p d/a/b && echo a > d/a/b/f", "mv a c", "cat c/b/f; test ! -e a", "a\n"),
    "mv of a large directory": ("mkdir -p d/a/b && for i in {{1..150}}; do echo $i > d/a/b/$i; done", "mv a c",
                                "cat c/b/150; ls c/b | wc -l; test ! -e a", "150\n150\n"),
    "mv --backup": ("echo a > d/f && echo b > d/g", "mv --backup f g", "cat g g~; test ! -e f", "a\nb\n"),
    "mv -n": ("echo a > d/f && echo b > {o}/g && cp {o}/g d/h", "mv -n {o}/g i && mv -n f h || true; mv f k",
              "cat i h k", "b\nb\na\n"),
    "install": ("echo a > {o}/f", "install -m 600 {o}/f g && install -D {o}/f x/y/h", "cat g x/y/h", "a\na\n"),
    "install -C -b": ("echo a > {o}/f && echo b > d/g", "install -b -C {o}/f g", "cat g g~", "a\nb\n"),
    "rsync -a": ("mkdir -p {o}/a/b && echo a > {o}/a/b/f", "rsync -a {o}/a/ c/", "cat c/b/f", "a\n"),
    "rsync --delay-updates --backup": ("mkdir {o}/a && echo a > {o}/a/f && mkdir d/c && echo b > d/c/f",
                                       "rsync -aI --delay-updates --backup {o}/a/ c/", "cat c/f c/f~; ls -A c",
                                       "a\nb\nf\nf~\n"),
    "tar x": ("mkdir -p {o}/a/b && echo a > {o}/a/b/f && tar cf {o}/t -C {o} a", "tar xf {o}/t", "cat a/b/f", "a\n"),
    "tar x --overwrite": ("mkdir {o}/a && echo a > {o}/a/f && tar cf {o}/t -C {o} a && mkdir d/a && echo b > d/a/f",
                          "tar xf {o}/t --overwrite", "cat a/f", "a\n"),
    "cp -a": ("mkdir -p {o}/a/b && echo a > {o}/a/b/f", "cp -a {o}/a c", "cat c/b/f", "a\n"),
    "cp -b, -u, -r, --remove-destination": (
        "echo a > {o}/f && echo b > d/f", "cp -b {o}/f f && cp -u {o}/f g && cp --remove-destination {o}/f h",
        "cat f f~ g h", "a\nb\na\na\n"),
    "git": ("git init -q {o}/r && cd {o}/r && echo a > f && {g} add f && {g} commit -qm 1",
            "{g} clone -q {o}/r r && cd r && echo b >> f && {g} add f && {g} commit -qm 2 && {g} push -q origin HEAD:x",
            "cat r/f; cd {o}/r; {g} log --oneline x | wc -l", "a\nb\n2\n"),
    "patch": ("printf '1\\n2\\n' > d/f && printf -- '--- f\\n+++ f\\n@@ -1,2 +1,2 @@\\n 1\\n-2\\n+3\\n' > {o}/p",
              "if command -v patch >/dev/null; then patch -s f {o}/p; else sed -i s/2/3/ f; fi", "cat f", "1\n3\n"),
    "perl -i": ("echo a > d/f", "perl -i -pe s/a/b/ f", "cat f", "b\n"),
    "sort -o, tee, dd, truncate": ("printf 'b\\na\\n' > d/f",
                                   "sort -o f f && tee g < f >/dev/null && dd if=f of=h conv=fsync 2>/dev/null && "
                                   "truncate -s 2 f", "cat f g h", "a\na\nb\na\nb\n"),
}


def content(zk, path):
    """Every znode below with its data: what must not change when a tool fails."""
    found = {path: zk.get(path)[0]}
    for name in zk.children(path):
        found.update(content(zk, path + "/" + name))
    return found


@t.test("the tools that make and replace files work; with an ACL that forbids it they fail and change nothing")
def _():
    for name, (first, tool, look, want) in TOOLS.items():
        for allowed in (True, False):
            with Dir() as d, Outside() as out:
                words = {"o": out, "g": GIT}
                d.sh("export HOME=%s GIT_CONFIG_NOSYSTEM=1; mkdir d; %s" % (out, first.format(**words)), None, 60)
                command = "export HOME=%s GIT_CONFIG_NOSYSTEM=1; cd d; { %s; }" % (out, tool.format(**words))
                if allowed:
                    d.sh("(%s) && cd d && { %s; }" % (command, look.format(**words)), want, 60)
                    continue
                before = content(d.zk, d.z("d"))
                folders = [p for p, _ in before.items() if d.zk.children(p)] + [d.z("d")]
                files = [p for p in before if p not in folders]
                for path in files + folders:
                    os.setxattr(d.m.path + path, "user.zk.acl", b"world:anyone:ra")
                status, _, err = d.m.run("cd %s && %s" % (d.name, command), 60)
                t.check(status != 0 or name == "perl -i", "%s: succeeded where it may not" % name)  # it only warns
                t.check("Permission denied" in err or "rejected" in err or name.startswith("vim"),
                        "%s says %r" % (name, err))
                t.equal(content(d.zk, d.z("d")), before, name)
                for path in folders[::-1] + files:
                    os.setxattr(d.m.path + path, "user.zk.acl", b"world:anyone:cdrwa")


@t.test("what is too large for a znode fails with every tool, and leaves neither a part nor a temporary file")
def _():
    with Dir() as d, Outside() as out:
        d.sh("mkdir d && echo old > d/f && head -c 2000000 /dev/zero > %s/big && mkdir %s/t && cp %s/big %s/t/ && "
             "tar cf %s/t.tar -C %s/t big" % ((out,) * 6))
        before = content(d.zk, d.z("d"))
        for tool in ("cp {o}/big f", "cp --remove-destination {o}/big g; s=$?; rm -f g; exit $s",
                     "rsync {o}/big f", "rsync --inplace {o}/big f",
                     "dd if={o}/big of=f bs=1M 2>/dev/null", "cat {o}/big > f", "cat {o}/big >> f",
                     "sed -i 's/old/'\"$(head -c 30000 {o}/big | tr '\\0' x)\"'/;p;p;p;p;p;p;p;p;p;p;p;p;p;p;p;p;p;p;p;p;p;p;"
                     "p;p;p;p;p;p;p;p;p;p;p;p;p;p;p;p' f 2>{o}/err; s=$?; rm -f sed*; exit $s",
                     "tee f < {o}/big > /dev/null"):
            status, _, err = d.m.run("cd %s/d && { %s\n}" % (d.name, tool.format(o=out)))
            t.check(status != 0, tool)
            t.equal(content(d.zk, d.z("d")), before, "%s (%s)" % (tool, err))
        for tool, left in (("install {o}/big g", "g"), ("tar xf {o}/t.tar", "big"), ("cp -a {o}/t c", "c"),
                           ("mv {o}/t/big h", "h")):
            d.fails("cd d && " + tool.format(o=out), "File too large")
            d.sh("cd d && rm -rf " + left)
        t.equal(content(d.zk, d.z("d")), before)
        d.sh("test -s %s/t/big" % out)
        d.sh("cd d && head -c 1000000 %s/big > %s/small && cp %s/small f && cmp f %s/small" % ((out,) * 4))


@t.test("emacs: a lock file, a backup by rename or by copy, the new file, fsync")
def _():
    with Dir() as d:
        file, backup, lock = d.p("f"), d.p("f~"), d.p(".#f")
        d.sh("echo old > f")
        for way in ("rename", "copy"):
            # No symbolic link here, so the lock is a file, moved to its name where no other is.
            fails_with(errno.EPERM, os.symlink, "me@here.1:2", lock)
            fd, temporary = tempfile.mkstemp(prefix=".#-emacs", dir=d.path)
            os.write(fd, b"me@here.1:2")
            os.fchmod(fd, 0o644)
            os.close(fd)
            renameat2(temporary, lock, NOREPLACE)
            fd, temporary = tempfile.mkstemp(prefix=".#-emacs", dir=d.path)
            os.close(fd)
            fails_with(errno.EEXIST, renameat2, temporary, lock, NOREPLACE)  # somebody else edits
            os.unlink(temporary)
            if way == "rename":
                os.rename(file, backup)
                fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
                fails_with(errno.EEXIST, os.open, file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            else:
                d.sh("cp -p f f~")
                fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            os.write(fd, b"new by %s\n" % way.encode())
            os.fsync(fd)
            os.fchmod(fd, 0o644)
            os.close(fd)
            os.unlink(lock)
            d.sh("cat f f~ && ls -A", "new by %s\n%s\nf\nf~\n" % (way, "old" if way == "rename" else "new by rename"))


@t.test("an editor whose file was changed meanwhile is told: its write is ESTALE, and the other's text stays")
def _():
    with Dir() as d:
        d.sh("echo old > f")
        with open(d.p("f"), "r+b", buffering=0) as f:
            f.read()
            d.zk.set(d.z("f"), b"theirs\n")
            f.seek(0)
            fails_with(errno.ESTALE, f.write, b"mine")
        d.sh("cat f", "theirs\n")


@t.test("with strict_modes the tools that set modes, owners and times fail and say so, the plain ones work")
def _():
    with Dir() as d, Outside() as out:
        d.sh("echo v > f")
        with mount.Mount("127.0.0.1:%d%s" % (common.PORT, d.znode), "strict_modes") as m:
            d.sh("echo a > %s/f && mkdir %s/t && cp %s/f %s/t && tar cf %s/t.tar -C %s t && touch -d 2001-01-01 %s/f" %
                 ((out,) * 7))
            for tool in ("chmod 600 f", "chown 1 f", "touch -d 2001-01-01 f", "cp -p {o}/f g", "install -m 600 {o}/f h",
                         "tar xf {o}/t.tar", "rsync -a {o}/f i", "git init -q r"):
                status, _, err = m.run("export HOME=%s; %s" % (out, tool.format(o=out)))
                t.check(status != 0 and "not permitted" in err, "%s: %d, %r" % (tool, status, err))
            m.sh("rm -rf g h t i r && cp {o}/f g && sed -i s/a/b/ g && cat g && tar xf {o}/t.tar --no-same-owner "
                 "--no-same-permissions -m && cat t/f && mv t u && cp -r u w && ls".format(o=out),
                 "b\na\nf\ng\nu\nw\n")
