"""mount_writer.py FILE HISTORY SESSION KEY: a program in a mount that writes FILE, syncs and reads it until its
standard input ends, and writes its own part of the history (tests/fault/lin/history.py). An operation that fails
may have been done. It prints `operations errors longest_ms`."""
import os
import select
import sys
import time


class Writer:
    def __init__(self, path, history, session, key):
        self.path, self.history, self.session, self.key = path, history, session, key
        self.n, self.errors, self.longest = 0, 0, 0
        self.kinds = {}

    def timed(self, kind, function):
        """One operation, and its line."""
        self.n += 1
        value = "%s.%d" % (self.session, self.n) if kind == "set" else "-"
        begun, err, found = time.monotonic_ns(), "0", "-"
        try:
            found = function(value)
        except OSError as e:
            err = "?"
            self.errors += 1
            self.kinds[e.errno] = self.kinds.get(e.errno, 0) + 1
        ended = time.monotonic_ns()
        self.longest = max(self.longest, ended - begun)
        self.history.write("o %s %d %s %s - %s %d %s %s - %s - -\n" % (
            self.session, self.n, kind, self.key, value, begun, "-" if err == "?" else ended, err, found))

    def write(self, value):
        with open(self.path, "w") as f:
            f.write(value)
        return "-"

    def read(self, _):
        with open(self.path) as f:
            os.fsync(f.fileno())
        with open(self.path) as f:
            return f.read()

    def run(self):
        while not select.select([sys.stdin], [], [], 0.01)[0]:
            self.timed("set", self.write)
            self.timed("sget", self.read)


def main():
    path, history, session, key = sys.argv[1:]
    with open(history, "w") as f:
        w = Writer(path, f, session, key)
        w.run()
    print(w.n, w.errors, w.longest // 1000000, w.kinds)


if __name__ == "__main__":
    main()
