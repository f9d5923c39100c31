"""Linearizability of a register with versions, key by key (a history is linearizable exactly when the part of
each key is: Herlihy and Wing's locality).

The search is Wing and Gong's with Lowe's memory of what was tried (set of operations done, state): from the
operations that may come next, those invoked before the first unanswered one ended, one is taken and the model
asked whether it gives that answer. An operation whose outcome is unknown may be taken at any later moment or never.

The zxids that the servers told are only a hint for which to try first: in a right history they lead straight to the
end, and what they lead to is a proof by itself, because the model and the times alone decide. So they cannot hide a
wrong history, and a right one costs no search. Where the next answer does not fit, writes without an answer that
nobody saw are what lies between: of these the kind that leads there is tried first, and of that kind the one that
fits least elsewhere (a conditional one)."""

import bisect

import history as h

STEPS_MAX = 400_000


def apply(op, state):
    """(whether the model gives the operation's answer in this state, the state behind it). The state of a
    znode is None or (version, value)."""
    if op.kind == "create":
        if op.err == h.NODEEXISTS:
            return state is not None, state
        return state is None and op.version in (None, 0), (0, op.value)
    if op.kind in ("get", "sget"):
        return (state is None if op.err else state is not None and state[1] == op.found and
                op.version in (None, state[0])), state
    if op.kind in ("exists", "sexists"):
        return (state is None if op.err else state is not None and state[0] == op.version), state
    if op.err == h.NONODE:
        return state is None, state
    if state is None:
        return False, state
    wrong = op.expect is not None and op.expect != state[0]
    if op.err == h.BADVERSION or wrong:
        return wrong and op.err == h.BADVERSION, state
    if op.kind == "delete":
        return True, None
    version = state[0] + 1
    return op.version in (None, version), (version, op.value)


def counts(op):
    """Whether the operation says anything: reads that did not sync first may be stale, and a read without an
    answer, or a write that was surely refused, changes nothing and tells nothing."""
    if op.kind in h.WRITES:
        return op.err not in h.REFUSED
    return op.kind in h.SYNCED and op.err in (0, h.NONODE)


def hint(op):
    """Where the servers say that it stands: a write at its zxid, an answer behind the zxid of its header."""
    if op.zxid is not None:
        return (op.zxid, 0, op.invoked)
    if op.hzxid is not None:
        return (op.hzxid, 1, op.invoked)
    return (h.NEVER, 1, op.invoked)


def leads_to(op, state):
    """The kind of write that brings this state nearer to one in which op's answer fits."""
    if op.err == h.NONODE or (op.kind == "create" and op.done()):
        return "delete"
    if state is None:
        return "create"
    if op.err == h.BADVERSION:
        return "set"
    before = op.expect
    if op.kind in ("get", "sget", "exists", "sexists"):
        before = op.version
    elif op.kind == "set" and op.version is not None:
        before = op.version - 1
    return "set" if before is None or state[0] < before else "delete"


class Frame:
    """A choice: the candidates in the order to try, and what to go back to."""
    __slots__ = ("candidates", "next", "state", "taken")

    def __init__(self, candidates, state):
        self.candidates, self.next, self.state, self.taken = candidates, 0, state, None


class Search:
    """One key. `done` is a bit for each operation, in the order of invocation."""

    def __init__(self, ops):
        self.ops = sorted((op for op in ops if counts(op)), key=lambda op: op.invoked)
        self.invoked = [op.invoked for op in self.ops]
        self.hints = [hint(op) for op in self.ops]
        self.by_end = sorted((i for i, op in enumerate(self.ops) if op.known()), key=lambda i: self.ops[i].ended)
        self.end_at = {i: at for at, i in enumerate(self.by_end)}
        # Those that perhaps never happened stay open to the end: they are kept apart.
        self.unseen = [i for i in range(len(self.ops)) if self.hints[i][0] is h.NEVER]
        self.likely = [i for i in range(len(self.ops)) if self.hints[i][0] is not h.NEVER]
        self.likely_at = {i: at for at, i in enumerate(self.likely)}
        self.is_done = bytearray(len(self.ops))
        self.done, self.first, self.ended = 0, 0, 0
        self.steps, self.deepest, self.stuck = 0, -1, None

    def settle(self):
        """Moves both pointers over what is done."""
        while self.first < len(self.likely) and self.is_done[self.likely[self.first]]:
            self.first += 1
        while self.ended < len(self.by_end) and self.is_done[self.by_end[self.ended]]:
            self.ended += 1

    def candidates(self, state):
        """Those that may come next, the likeliest first."""
        last = bisect.bisect_right(self.invoked, self.ops[self.by_end[self.ended]].ended)
        likely = []
        for at in range(self.first, len(self.likely)):
            i = self.likely[at]
            if i >= last:
                break
            if not self.is_done[i]:
                likely.append(i)
        likely.sort(key=self.hints.__getitem__)
        unseen = [i for i in self.unseen if i < last and not self.is_done[i]]
        if likely and unseen and not apply(self.ops[likely[0]], state)[0]:
            kind = leads_to(self.ops[likely[0]], state)
            unseen.sort(key=lambda i: (self.ops[i].kind != kind, self.ops[i].expect is None))
        return likely[:1] + unseen + likely[1:]

    def run(self):
        """True, False, or None when the search was given up."""
        tried, stack, state = set(), [], None
        while True:
            self.settle()
            if self.ended == len(self.by_end):
                return True
            frame = Frame(self.candidates(state), state)
            if len(stack) > self.deepest:
                self.deepest, self.stuck = len(stack), (state, frame.candidates)
            state = self.forward(frame, tried)
            while state is False:
                if not stack:
                    return False
                frame = stack.pop()
                self.undo(frame)
                tried.add((self.done | 1 << frame.taken, self.behind(frame)))
                state = self.forward(frame, tried)
                if self.steps > STEPS_MAX:
                    return None
            stack.append(frame)

    def behind(self, frame):
        return apply(self.ops[frame.taken], frame.state)[1]

    def forward(self, frame, tried):
        """Takes the next candidate that fits; the state behind it, or False when there is none."""
        while frame.next < len(frame.candidates):
            i = frame.candidates[frame.next]
            frame.next += 1
            self.steps += 1
            fits, state = apply(self.ops[i], frame.state)
            if fits and (not tried or (self.done | 1 << i, state) not in tried):
                frame.taken = i
                self.done |= 1 << i
                self.is_done[i] = 1
                return state
        return False

    def undo(self, frame):
        self.done &= ~(1 << frame.taken)
        self.is_done[frame.taken] = 0
        self.first = min(self.first, self.likely_at.get(frame.taken, self.first))
        self.ended = min(self.ended, self.end_at.get(frame.taken, self.ended))

    def explain(self):
        """Where the longest attempt stood."""
        if self.stuck is None:
            return "nothing was tried"
        state, open_now = self.stuck
        told = ["after %d of %d operations the znode is %s, and none of these can follow:" % (
            self.deepest, len(self.ops), "absent" if state is None else "v%d =%s" % state)]
        return "\n".join(told + ["    " + str(self.ops[i]) for i in open_now[:12]])


def check(history):
    """(violations, operations checked, keys)."""
    found, total = [], 0
    for key, ops in sorted(history.by_key.items()):
        search = Search(ops)
        total += len(search.ops)
        result = search.run()
        if result is not True:
            what = "is not linearizable" if result is False else "has no linearization in %d steps" % STEPS_MAX
            found.append("%s %s: %s" % (key, what, search.explain()))
    return found, total, len(history.by_key)
