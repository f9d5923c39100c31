"""Zxids in the output of the scripts, relative to one of their own. A session that comes back on a new connection is
a transaction for us and none for Apache's server: zxids behind it are greater by one each time, and all else is the
same."""

import difflib
import re

# c+1 m+1 p-2 of a Stat, zxid=+3 of a header.
TOKEN = re.compile(r"(?<=\b[cmp])[+-]\d+\b|(?<=\bzxid=)[+-]\d+\b")
# So many times a step of a script may come back, at most.
STEP = 4


def masked(line):
    return TOKEN.sub("*", line)


def fits(want, got, drift):
    """Whether the zxids of a line are those wanted and at most `drift` further from the first."""
    pairs = zip(map(int, TOKEN.findall(want)), map(int, TOKEN.findall(got)))
    return all(abs(b) >= abs(a) and abs(b - a) <= drift for a, b in pairs)


def settle(want, got):
    """`got`, with the wanted zxids in all lines where those that came may be."""
    result = list(got)
    a, b = [masked(x) for x in want], [masked(x) for x in got]
    for i, j, n in difflib.SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks():
        for k in range(n):
            if fits(want[i + k], got[j + k], STEP * (i + k)):
                result[j + k] = want[i + k]
    return result
