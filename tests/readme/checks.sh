# TAP for shell suites of this folder. Sourced.
# shellcheck shell=bash
bad=0
ok() { printf 'ok - %s\n' "$1"; }
not_ok() {
    printf 'not ok - %s\n' "$1"
    [[ -z ${2-} ]] || printf '#   %s\n' "${2//$'\n'/$'\n'#   }"
    # shellcheck disable=SC2034 # the suite's exit status
    bad=1
}

# expect SENTENCE STATUS PATTERN COMMAND...: the command ends with that status, and what it prints (both
# streams) matches the extended expression.
expect() {
    local sentence=$1 status=$2 pattern=$3 out got=0
    shift 3
    out=$("$@" 2>&1 </dev/null) || got=$?
    if ((got == status)) && grep -qE -- "$pattern" <<<"$out"; then
        ok "$sentence"
    else
        not_ok "$sentence" "wanted status $status and /$pattern/, got $got from: $*"$'\n'"$out"
    fi
}

# holds SENTENCE COMMAND...: the command succeeds.
holds() {
    local sentence=$1
    shift
    expect "$sentence" 0 '' "$@"
}

# fails SENTENCE COMMAND...: the command does not succeed.
fails() {
    local sentence=$1
    shift
    if "$@" >/dev/null 2>&1 </dev/null; then not_ok "$sentence" "succeeded: $*"; else ok "$sentence"; fi
}

# running PROGRAM TEXT: pids of processes of this program with TEXT in their arguments.
running() {
    local cmd pid
    for cmd in /proc/[0-9]*/cmdline; do
        pid=${cmd#/proc/} pid=${pid%/cmdline}
        [[ $(readlink "/proc/$pid/exe" 2>/dev/null) == */"$1" ]] || continue
        tr '\0' ' ' <"$cmd" 2>/dev/null | grep -qF -- "$2" && printf '%s\n' "$pid"
    done
}
# zkfs is two processes: the one that was started, and its worker, that serves the mount.
mount_pid() { running zkfs "$1" | sort -n | head -n 1; }
worker_pid() { tr -d ' ' <"/proc/$1/task/$1/children"; }
has_ended() { [[ ! -e /proc/$1/stat || $(cut -d ')' -f 2 "/proc/$1/stat" 2>/dev/null) == " Z"* ]]; }
nothing_runs() { [[ -z $(running zkreplica "$1")$(running zkfs "$1") ]]; }
mounted() { mountpoint -q -- "$1"; }
not_mounted() { ! mounted "$1"; }
