"""Disks of a few MiB, each an ext4 file system in a file, mounted for this process and what it starts only: with
ensemble.Net the mounts are this process's own, and go with it."""
import os
import shutil
import subprocess
import tempfile

import zkfs_test as t

FOREIGN = "somebody-elses-file"


def _run(*command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    t.check(done.returncode == 0, "%s: %s" % (" ".join(command), done.stdout))


class Disk:
    """Mounted at `path`, a new folder where none is given. Nothing is kept back for root."""

    def __init__(self, size_mib=16, path=None):
        self.folder = tempfile.mkdtemp(prefix="zkfs-disk-")
        self.image = os.path.join(self.folder, "image")
        self.path = path or os.path.join(self.folder, "disk")
        self.mounted = False
        os.makedirs(self.path, exist_ok=True)
        try:
            with open(self.image, "wb") as f:
                f.truncate(size_mib << 20)
            _run("mkfs.ext4", "-q", "-F", "-m", "0", "-b", "4096", "-N", "256", "-J", "size=4", self.image)
            _run("mount", "-o", "loop", self.image, self.path)
            self.mounted = True
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def free_bytes(self):
        s = os.statvfs(self.path)
        return s.f_bavail * s.f_frsize

    def fill(self):
        """Somebody else takes all the room there is."""
        fd = os.open(os.path.join(self.path, FOREIGN), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            piece = 1 << 20
            while piece >= 512:
                try:
                    os.write(fd, b"\xa5" * piece)
                except OSError:
                    piece //= 2
            os.fsync(fd)
        finally:
            os.close(fd)

    def clear(self):
        """And gives it back."""
        os.remove(os.path.join(self.path, FOREIGN))

    def close(self):
        if self.mounted:
            self.mounted = False
            # Lazily where a process is only about to go.
            if subprocess.run(["umount", self.path], stderr=subprocess.DEVNULL).returncode != 0:
                subprocess.run(["umount", "-l", self.path], stderr=subprocess.DEVNULL)
        shutil.rmtree(self.folder, ignore_errors=True)
