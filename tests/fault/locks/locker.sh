#!/bin/bash
# locker.sh LOCK MINE LEDGER: takes the lock LOCK with mkdir and gives it back with rmdir, again and again, until
# LEDGER/finish is there; in between it does the same with MINE, which is nobody else's. In the critical section
# it makes LEDGER/inside, on another file system, which tells if somebody else is in there.
#
# It writes a line for each thing to standard output: `got`, `lost ANSWER` (mkdir failed with something else than
# "File exists": perhaps the lock is its own now, and nobody's before somebody has looked), `kept ANSWER`
# (rmdir failed: perhaps it has given it back), `two holders`, `mine exists` (its own mkdir found its own
# directory), `longest MS` at the end.
set -u
export LC_ALL=C
lock=$1 mine=$2 ledger=$3 longest=0

# timed COMMAND...: runs it; sets answer to what it says and took to ms.
timed() {
    local begun=$EPOCHREALTIME status=0 took
    answer=$("$@" 2>&1) || status=$?
    took=$(((${EPOCHREALTIME/./} - ${begun/./}) / 1000))
    ((took > longest)) && longest=$took
    return "$status"
}

# What the kernel says comes last.
reason() { printf '%s' "${answer##*: }"; }

# The ledger's folder is the one thing that knows who is inside, beside the lock.
critical_section() {
    mkdir "$ledger/inside" 2>/dev/null || { echo "two holders"; return; }
    echo got
    sleep 0.002
    rmdir "$ledger/inside" || echo "two holders"
}

take_shared() {
    if timed mkdir "$lock"; then
        critical_section
        timed rmdir "$lock" || echo "kept $(reason)"
    elif [[ $(reason) == "File exists" ]]; then
        sleep 0.0"$((RANDOM % 3 + 1))"
    else
        echo "lost $(reason)"
    fi
}

take_mine() {
    if timed mkdir "$mine"; then
        timed rmdir "$mine" && return
        echo "mine kept $(reason)"
    elif [[ $(reason) == "File exists" ]]; then
        echo "mine exists"
    else
        echo "mine lost $(reason)"
    fi
    # In doubt: until it is surely away.
    while [[ ! -e $ledger/finish ]]; do
        if timed rmdir "$mine" || [[ $(reason) == "No such file or directory" ]]; then break; fi
        sleep 0.1
    done
}

while [[ ! -e $ledger/finish ]]; do
    take_shared
    take_mine
done
echo "longest $longest"
