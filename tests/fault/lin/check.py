#!/usr/bin/python3
"""check.py HISTORY...: checks each history (history.py says what stands in one) and prints what was checked and
what is wrong with it; exit status 1 when something is."""
import collections
import sys
import time

import history as h
import linear
import sessions


class Result:
    def __init__(self, history):
        begun = time.monotonic()
        self.linear, self.synced, self.keys = linear.check(history)
        self.sessions_found, self.events, self.sessions = sessions.check(history)
        self.violations = self.linear + self.sessions_found
        self.operations = len(history.ops)
        self.unknown = sum(op.kind in h.WRITES and not op.known() for op in history.ops)
        self.found_done = sum(op.kind in h.WRITES and not op.known() and op.zxid is not None for op in history.ops)
        self.refused = collections.Counter(op.err for op in history.ops if op.err)
        self.seconds = time.monotonic() - begun

    def __str__(self):
        return ("%d operations of %d sessions (%d for linearizability, on %d keys), %d writes without an answer "
                "(%d were seen done), %d watch events: %d violations in %.1f s" % (
                    self.operations, self.sessions, self.synced, self.keys, self.unknown, self.found_done,
                    self.events, len(self.violations), self.seconds))


def check(path):
    return Result(h.load(path))


def main():
    bad = False
    for path in sys.argv[1:]:
        result = check(path)
        print("%s: %s" % (path, result))
        for text in result.violations[:20]:
            print("  " + text)
        bad = bad or bool(result.violations)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
