"""The tools of every day, on the mount as on a disk."""
import os
import shutil
import tempfile

from common import Dir, t

TREE = """mkdir -p src/empty src/sub/deep && echo one > src/one && printf two > src/sub/two &&
    : > src/sub/nothing && head -c 12288 /dev/urandom > src/sub/deep/blocks &&
    echo 'a dir with data' > src/sub/.data && echo x > src/..data"""


class Outside:
    """A folder beside the mount."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="zkfs-out-")
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path)


@t.test("the README's session: mkdir, echo, cat, ls, getfattr, cp -a out and in, diff, rm -r, rmdir")
def _():
    with Dir() as d, Outside() as out:
        d.sh("mkdir app; echo 8080 > app/port; cat app/port", "8080\n")
        d.sh("ls -la app | sed 1d | cut -c1-10,11- | awk '{print $1, $2, $5, $NF}'",
             "drwxr-xr-x 1 1 .\ndrwxr-xr-x 1 1 ..\n-rw-r--r-- 1 5 port\n")
        d.sh("getfattr -n user.zk.version app/port",
             '# file: app/port\nuser.zk.version="1"\n\n')
        d.sh("cp -a app %s/b && cp -a %s/b app2 && diff -r app app2" % (out, out), "")
        d.sh("rm -r app2; rm app/port; rmdir app; ls", "")


@t.test("cp -a, tar and rsync -a round-trip a tree with data in directories, quietly")
def _():
    ways = {
        "cp -a": ("cp -a src {o}/b", "cp -a {o}/b back"),
        "tar": ("tar cf {o}/b.tar -C src .", "mkdir back && tar xf {o}/b.tar -C back"),
        "rsync -a": ("rsync -a src/ {o}/b/", "rsync -a {o}/b/ back/"),
        "rsync -aX": ("rsync -aX src/ {o}/b/", "rsync -aX {o}/b/ back/"),
    }
    for name, (out_way, in_way) in ways.items():
        with Dir() as d, Outside() as out:
            d.sh(TREE)
            # 2>&1: a word of any of them is a failure too.
            for way in (out_way, in_way):
                d.sh("{ %s; } 2>&1" % way.format(o=out), "", 60)
            d.sh("diff -r src back && cat back/sub/.data back/..data", "a dir with data\nx\n")
            t.equal(d.get("back/sub"), b"a dir with data\n", name)
            t.equal(d.get("back/.data"), b"x\n", name)
            t.equal(d.get("back/empty"), None, name)
            t.equal(d.get("back/sub/nothing"), b"", name)


@t.test("tar with its x twice, cp -a over what is there, rsync --delete and --inplace")
def _():
    with Dir() as d, Outside() as out:
        d.sh(TREE)
        d.sh("tar cf %s/b.tar src && tar xf %s/b.tar && tar xf %s/b.tar && cat src/sub/.data" % (out, out, out),
             "a dir with data\n")
        d.sh("cp -a src %s/b && cp -a %s/b/. src/ && cat src/sub/.data" % (out, out), "a dir with data\n")
        d.sh("cp -a src back && rm -r src/sub && echo changed > src/one && "
             "rsync -a --delete --checksum --inplace src/ back/ && diff -r src back")
        d.sh("rsync -a --delete %s/ back/ && ls" % d.p("src/empty"), "back\nsrc\n")


@t.test("a tool may remove the last child of a directory with data before .data: rsync 3.2 does")
def _():
    with Dir() as d:
        d.sh("mkdir sub && echo v > sub/f && echo data > sub/.data")
        d.sh("/usr/bin/python3 -c 'import os; os.unlink(\"sub/f\"); os.unlink(\"sub/.data\"); os.rmdir(\"sub\")'")
        d.sh("ls", "")
        d.sh("mkdir sub && echo v > sub/f && echo data > sub/.data && rm sub/f && cat sub", "data\n")


@t.test("touch makes a file, and leaves one as it is")
def _():
    with Dir() as d:
        d.sh("touch f && touch f && touch -c g && ls", "f\n")
        d.sh("echo v > f && touch f && cat f", "v\n")


@t.test("install, sed -i, mv, cp, tee, dd")
def _():
    with Dir() as d:
        d.sh("printf 'a\\nb\\n' > f && sed -i s/a/c/ f && cat f && ls", "c\nb\nf\n")
        d.sh("install -m 755 /bin/true prog && cmp prog /bin/true && install -d x/y && "
             "install -m 600 f x/y/ && cat x/y/f", "c\nb\n")
        d.sh("mv x/y/f g && cp g h && tee i < g > /dev/null && dd if=g of=j 2>/dev/null && cmp h i && "
             "cmp i j && cp -r x z && test -d z/y")


@t.test("vim writes in place, with and without a backup")
def _():
    with Dir() as d:
        for option in ("nobackup nowritebackup", "backup", "backupcopy=no", "backupcopy=yes"):
            d.sh("printf 'one\\ntwo\\n' > f")
            d.sh("vim.tiny -u NONE -es -c 'set %s' -c '%%s/two/three/' -c wq f && cat f" % option,
                 "one\nthree\n")
            d.sh("rm -f f~ && ls -A", "f\n")


@t.test("git init, add, commit, a branch, a merge, gc and clone")
def _():
    with Dir() as d, Outside() as out:
        git = "git -c user.name=x -c user.email=x@example.org -c init.defaultBranch=main "
        d.sh("export HOME=%s GIT_CONFIG_NOSYSTEM=1; %s init -q repo && cd repo && echo one > a && mkdir b && "
             "echo two > b/c && %s add . && %s commit -q -m first && %s status --porcelain && "
             "%s checkout -q -b other && echo three >> a && %s commit -q -am second && "
             "%s checkout -q main && %s merge -q other && cat a && %s log --oneline | wc -l && "
             "%s fsck 2>&1 && %s gc -q && %s clone -q . %s/clone && diff -r --exclude=.git . %s/clone" %
             ((out,) + (git,) * 12 + (out, out)), "one\nthree\n2\n", 120)


@t.test("find, du, grep -r, ls -R, bash globs and here-documents")
def _():
    with Dir() as d:
        d.sh("mkdir -p a/b/c && echo needle > a/b/c/f && cat > a/g <<'END'\nhay\nEND")
        d.sh("find . -type f | sort", "./a/b/c/f\n./a/g\n")
        d.sh("grep -rl needle . && ls -R | wc -l && echo a/*/ a/*/*/*", "./a/b/c/f\n12\na/b/ a/b/c/f\n")
        d.sh("du -s . > /dev/null && find . -type d | wc -l", "4\n")


@t.test("a working directory in the mount survives, and a removed one says so")
def _():
    with Dir() as d:
        d.sh("mkdir a && cd a && pwd -P | sed 's,.*/zk/,,' && touch f && ls && rm f && rmdir ../a && "
             "! ls . 2>/dev/null && ! touch f 2>/dev/null", d.name + "/a\nf\n")


@t.test("copying over the whole of a script's redirections: >, >>, <, <>, exec, noclobber")
def _():
    with Dir() as d:
        d.sh("exec 3> f; echo one >&3; echo two >&3; exec 3>&-; cat f", "one\ntwo\n")
        d.sh("exec 3>> f; echo three >&3; exec 3>&-; wc -l < f", "3\n")
        d.sh("set -C; ! echo x 2>/dev/null > f && echo y > g && cat g", "y\n")
        d.sh("exec 3<> f; read -r line <&3; echo $line", "one\n")
        d.sh("while read -r line; do echo =$line; done < f", "=one\n=two\n=three\n")
        d.sh("{ echo a; echo b; } > h && cat h && wc -c h", "a\nb\n4 h\n")
        d.sh("(umask 077; echo s > s; mkdir m) && stat -c %a s m", "644\n755\n")


@t.test("copying a program in and running it from the mount")
def _():
    with Dir() as d:
        # Without an x bit it is no program, to nobody; an interpreter reads it all the same.
        d.sh("printf '#!/bin/sh\\necho ran\\n' > s && chmod +x s")
        d.fails("./s", "Permission denied")
        d.sh("sh s", "ran\n")
        t.check(not os.access(d.p("s"), os.X_OK))
