# What zkfs-up and zkfs-down share: where things are, and which processes are ours. Sourced; the caller
# has set `me` (its name) and, where a function needs it, `dir` (absolute).
# shellcheck shell=bash

# shellcheck disable=SC2154 # me is the caller's
say() { printf '%s: %s\n' "$me" "$*"; }
die() {
    local status=$1
    shift
    printf '%s: %s\n' "$me" "$*" >&2
    exit "$status"
}

# absolute PATH: without links and dots, as mountinfo has it, also for what does not exist. A mount that
# hangs is not looked into.
absolute() {
    local path parent
    path=$(realpath -ms -- "$1")
    if [[ $path != / ]]; then
        parent=$(realpath -m -- "${path%/*}/")
        path=${parent%/}/${path##*/}
        mount_type "$path" >/dev/null || [[ ! -L $path ]] || path=$(realpath -m -- "$path")
    fi
    printf '%s\n' "$path"
}

# shellcheck disable=SC2154 # dir is the caller's
replica_pid_file() { printf '%s/replica-%d.pid\n' "$dir" "$1"; }
replica_config() { printf '%s/replica-%d/zoo.cfg\n' "$dir" "$1"; }
# The mount point's name as one path component: `/` is `-`, what stands in its way is escaped.
mount_name() {
    local name=${1#/}
    name=${name//%/%25}
    name=${name//-/%2D}
    printf 'mount-%s\n' "${name//\//-}"
}

# process_is PID PROGRAM ARGUMENT: is this process the program, with that argument? So a pid file that
# outlived its process, or whose number went to another one, is recognised.
process_is() {
    local exe
    [[ $1 =~ ^[0-9]+$ ]] && exe=$(readlink "/proc/$1/exe" 2>/dev/null) || return 1
    exe=${exe% (deleted)}
    [[ ${exe##*/} == "$2" ]] && tr '\0' '\n' 2>/dev/null <"/proc/$1/cmdline" | grep -qxF -- "$3"
}

# pid_of FILE PROGRAM ARGUMENT: prints the running process of a pid file, or fails.
pid_of() {
    local pid
    [[ -r $1 ]] && read -r pid <"$1" && process_is "$pid" "$2" "$3" && printf '%s\n' "$pid"
}

# mount_type POINT: the type of the file system that is mounted on it last, or fails.
mount_type() {
    local line at type=
    while read -r line; do
        at=$(cut -d ' ' -f 5 <<<"$line")
        [[ $(printf '%b' "$at") == "$1" ]] || continue
        line=${line#* - }
        type=${line%% *}
    done < <(grep -E ' - ' /proc/self/mountinfo)
    [[ -n $type ]] && printf '%s\n' "$type"
}

# mount_answers POINT: does it, within 3 seconds? In a child of its own: a hanging mount hangs nobody.
mount_answers() { timeout -k 1 3 stat -f -- "$1/." >/dev/null 2>&1; }

# mount_is_dead POINT TYPE: a mount of ours that nobody serves any more.
mount_is_dead() { [[ $2 == fuse.zkfs || $2 == fuse ]] && ! mount_answers "$1"; }

# unmount POINT: takes the last mount off it; lazily only where nothing else goes, and says so.
unmount() {
    local error i
    for ((i = 0; i < 10; i++)); do
        error=$(timeout -k 1 10 umount -- "$1" 2>&1) && return 0
        error=$(timeout -k 1 10 fusermount3 -u -- "$1" 2>&1) && return 0
        mount_type "$1" >/dev/null || return 0
        # A program that has just ended may hold it for a moment.
        sleep 0.2
    done
    say "$1 is busy or hangs ($error); unmounting it lazily: open files in it stay until closed" >&2
    umount -l -- "$1" 2>/dev/null || fusermount3 -uz -- "$1"
}

# end_process PID WHAT: SIGTERM, after 10 s SIGKILL, and waits until it is gone.
end_process() {
    local i
    kill -TERM "$1" 2>/dev/null || return 0
    for ((i = 0; i < 100; i++)); do
        process_alive "$1" || return 0
        sleep 0.1
    done
    say "$2 (pid $1) does not end on SIGTERM; killing it"
    kill -KILL "$1" 2>/dev/null
    for ((i = 0; i < 50; i++)); do
        process_alive "$1" || return 0
        sleep 0.1
    done
    return 1
}

# A zombie, whose parent has not looked yet, is gone for us.
process_alive() {
    local state
    state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null)
    [[ -n $state && $state != Z && $state != X ]]
}

# lock_dir: one zkfs-up or zkfs-down at a time works on dir. Holds descriptor 9; what is started closes it.
lock_dir() {
    exec 9>"$dir/.lock" || die 1 "cannot write to $dir"
    flock -w 120 9 || die 1 "another zkfs-up or zkfs-down works on $dir since two minutes"
}
