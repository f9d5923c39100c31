# The README's session, word for word. Sourced, in namespaces of its own.
# shellcheck shell=bash disable=SC2154 # src and bad are the caller's
ip link set lo up || { not_ok "the loopback device comes up"; exit 1; }
# The data go to a file system that vanishes with the namespace.
mount -t tmpfs tmpfs /var/lib/zkfs || { not_ok "a tmpfs for the data"; exit 1; }
cd "$src" || exit 1
readme=$src/README.md

# The commands stand indented, the session in a fence; a copy of the reader's eye.
first=$(sed -n 's/^    \(mount-helpers\/zkfs-up .*\)/\1/p' "$readme")
last=$(sed -n 's/^    \(mount-helpers\/zkfs-down .*\)/\1/p' "$readme")
# shellcheck disable=SC2016 # the backquotes are the fence's
session=$(sed -n '/^```sh$/,/^```$/{/^```/d;p}' "$readme")
if [[ -z $first || -z $last || -z $session ]]; then
    not_ok "the README has its two commands and its session"
    exit 1
fi
holds "README: $first" bash -c "$first"
if mounted /zk; then ok "README: /zk is mounted"; else not_ok "README: /zk is mounted"; fi
while IFS= read -r line; do
    want='' command=$line
    [[ $line =~ ^(.*[^[:space:]])[[:space:]]+[[:space:]]#\ (.*)$ ]] &&
        command=${BASH_REMATCH[1]} want=${BASH_REMATCH[2]}
    got=$(timeout 20 bash -c "$line" 2>&1 </dev/null)
    status=$?
    if ((status == 0)) && [[ $got == "$want" ]]; then
        ok "README: $command"
    else
        not_ok "README: $command" "status $status, wanted <$want>, got <$got>"
    fi
done <<<"$session"
holds "README: $last" bash -c "$last"
holds "README: /zk is no mount any more" not_mounted /zk
holds "README: no process is left" nothing_runs /var/lib/zkfs
exit "$bad"
