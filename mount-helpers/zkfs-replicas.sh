# The replicas of one host, for zkfs-up: their folders, their ensemble, their processes. Sourced; the caller
# has sourced zkfs-common.sh and set `dir` (absolute), `port` (empty: as configured, or 2181) and
# `zkreplica` (the program).
# shellcheck shell=bash disable=SC2154

# config_value I KEY: the value of a key in replica I's zoo.cfg; the last one counts.
config_value() {
    sed -n "s/^[[:space:]]*$2[[:space:]]*=[[:space:]]*\(.*[^[:space:]]\)[[:space:]]*$/\1/p" "$(replica_config "$1")" 2>/dev/null |
        tail -n 1
}
config_port() { config_value "$1" clientPort; }
config_data() { config_value "$1" dataDir; }
# server_lines I: the ensemble as replica I's zoo.cfg names it; nothing: it stands alone.
server_lines() { grep -E '^[[:space:]]*server\.[0-9]+[[:space:]]*=' "$(replica_config "$1")" 2>/dev/null; }

# ensemble_known: how many replicas dir has, by the first zoo.cfg that names them: 0 in a new dir, 1 where
# one stands alone.
ensemble_known() {
    local i lines
    for i in 1 2 3 4 5 6 7; do
        lines=$(server_lines "$i") && { wc -l <<<"$lines"; return; }
    done
    [[ -e $(replica_config 1) ]] && echo 1 || echo 0
}

port_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

port_holder() {
    local line
    line=$(ss -Hltnp "sport = :$1" 2>/dev/null | grep -o 'users:.*' | head -n 1)
    [[ -z $line ]] || printf ' (%s)' "$line"
}

# peer_ports N BASE: prints the first of N ports in a row for the replicas' own talk: 100 above the client
# port, or further up where something listens already.
peer_ports() {
    local first i
    for ((first = $2 + 100; first + $1 < 65536 && first < $2 + 1000; first += 10)); do
        for ((i = 0; i < $1; i++)); do port_taken $((first + i)) && continue 2; done
        echo "$first"
        return
    done
    die 1 "no $1 free ports in a row above $(($2 + 100)) for the replicas' own connections: choose another --port"
}

# new_server_lines N PEERS: the ensemble of N, with peer ports from PEERS on.
new_server_lines() {
    local i
    for ((i = 1; i <= $1; i++)); do
        printf 'server.%d=127.0.0.1:%d:%d\n' "$i" $(($2 + i - 1)) $(($2 + i - 1))
    done
}

# write_replica I PORT LINES: zoo.cfg and myid; LINES is empty for a replica that stands alone. An existing
# zoo.cfg is the operator's and stays as it is.
write_replica() {
    local file data
    file=$(replica_config "$1")
    if [[ ! -e $file ]]; then
        data=${file%/*}/data
        mkdir -p "$data" || die 1 "cannot make $data"
        cat >"$file.new" <<END || die 1 "cannot write $file"
# Written by zkfs-up; yours from now on: it is not overwritten.
tickTime=2000
dataDir=$data
clientPort=$2
clientPortAddress=127.0.0.1
4lw.commands.whitelist=*
$3
END
        mv "$file.new" "$file" || die 1 "cannot write $file"
    fi
    [[ -z $3 ]] || write_myid "$1" "$(config_data "$1")"
}

# write_myid I DATA
write_myid() {
    [[ -e $2/myid ]] && return
    { mkdir -p "$2" && echo "$1" >"$2/myid.new" && mv "$2/myid.new" "$2/myid"; } ||
        die 1 "cannot write $2/myid"
}

# write_ensemble N: what is missing of N replicas' folders.
write_ensemble() {
    local n=$1 i base=${port:-2181} lines='' peers
    # A replica that is there says where the others are.
    for ((i = 1; i <= n; i++)); do
        [[ -e $(replica_config "$i") ]] || continue
        lines=$(server_lines "$i")
        base=$(config_port "$i")
        [[ -n $base ]] || die 1 "$(replica_config "$i") names no clientPort"
        base=$((base - i + 1))
        break
    done
    if ((n > 1)) && [[ -z $lines ]]; then
        peers=$(peer_ports "$n" "$base") || exit 1
        lines=$(new_server_lines "$n" "$peers")
    fi
    for ((i = 1; i <= n; i++)); do write_replica "$i" $((base + i - 1)) "$lines"; done
}

# grow N: the one replica of dir becomes the first of N. The others begin with a copy of its data, so
# none of them is blank: two empty ones could otherwise take each other for a new ensemble. Its own zoo.cfg
# is changed last, so that whoever is interrupted begins again.
grow() {
    local n=$1 base data lines peers i pid file
    file=$(replica_config 1) base=$(config_port 1) data=$(config_data 1)
    [[ -n $base && -d $data ]] || die 1 "$file names no clientPort, or a dataDir that is not there"
    [[ -z $(config_value 1 dataLogDir) ]] ||
        die 1 "$file has a dataLogDir: make the ensemble by hand (docs/operations.md), or take another --dir"
    peers=$(peer_ports "$n" "$base") || exit 1
    lines=$(new_server_lines "$n" "$peers")
    say "the one replica of $dir becomes the first of $n; the others begin with a copy of its data"
    if pid=$(pid_of "$(replica_pid_file 1)" zkreplica "$file"); then
        end_process "$pid" "replica 1" || die 1 "replica 1 (pid $pid) cannot be ended"
        rm -f "$(replica_pid_file 1)"
    fi
    for ((i = 2; i <= n; i++)); do
        [[ ! -e $dir/replica-$i.log ]] ||
            die 1 "replica $i of $dir has run already, but $file names no server.N lines: put them back"
    done
    for ((i = 2; i <= n; i++)); do
        rm -rf --one-file-system "$dir/replica-$i"
        mkdir -p "$dir/replica-$i" || die 1 "cannot make $dir/replica-$i"
        cp -a --reflink=auto "$data" "$dir/replica-$i/data" || die 1 "cannot copy $data"
        rm -f "$dir/replica-$i/data/myid"
        write_replica "$i" $((base + i - 1)) "$lines"
    done
    write_myid 1 "$data"
    { cp -p "$file" "$file.new" && printf '\n%s\n' "$lines" >>"$file.new" && sync "$file.new" &&
        mv "$file.new" "$file"; } || die 1 "cannot write $file"
}

# has_history I: is there anything in replica I's log?
has_history() {
    local log
    log=$(config_value "$1" dataLogDir)
    [[ -n $(find "${log:-$(config_data "$1")}/log" -type f -size +0 -print -quit 2>/dev/null) ]]
}

# refuse_blank_majority N: a majority that lost everything would take itself for a new ensemble, and what
# the others still have would not count.
refuse_blank_majority() {
    local i full=() blank=()
    for ((i = 1; i <= $1; i++)); do
        if has_history "$i"; then full+=("$i"); else blank+=("$i"); fi
    done
    ((${#full[@]} > 0 && 2 * ${#blank[@]} > $1)) || return 0
    die 1 "replicas ${blank[*]} of $1 have no data, but replica ${full[0]} has: they would begin a new ensemble." \
        "Copy $(config_data "${full[0]}")/log to their data folders first, or end it all with zkfs-down --purge"
}

# settle_size WANTED: sets replicas. Without a wish: what dir has, and three where it has none or one.
settle_size() {
    local known
    known=$(ensemble_known)
    replicas=${1:-$((known > 1 ? known : 3))}
    # A zoo.cfg without servers beside others that name them: growing was interrupted.
    if ((replicas > 1)) && [[ -e $(replica_config 1) && -z $(server_lines 1) ]]; then
        grow "$replicas"
        return
    fi
    ((known == 0 || known == replicas)) ||
        die 1 "$dir has $known replicas, not $replicas: leave --replicas out, or take another --dir"
    write_ensemble "$replicas"
    refuse_blank_majority "$replicas"
}

# word PORT WORD: the answer to a four-letter word, or failure within 2 seconds.
word() {
    # shellcheck disable=SC2016 # expanded by the inner shell
    timeout -k 1 2 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$1" && printf %s "$2" >&3 && cat <&3' \
        bash "$1" "$2" 2>/dev/null
}
# mode PORT: leader, follower, observer or standalone; nothing while it does not serve.
mode() { word "$1" srvr | sed -n 's/^Mode: \(leader\|follower\|observer\|standalone\)$/\1/p'; }

# launch I: starts replica I unless it runs; sets serving[I] and pids[I].
launch() {
    local i=$1 want pid config file log="$dir/replica-$1.log" peer
    config=$(replica_config "$i") file=$(replica_pid_file "$i")
    want=$((${port:-2181} + i - 1))
    serving[i]=$(config_port "$i")
    [[ -n ${serving[i]} ]] || die 1 "$config names no clientPort"
    [[ -z $port || ${serving[i]} == "$want" ]] ||
        die 1 "replica $i of $dir serves port ${serving[i]} by its zoo.cfg, not $want: change $config, or leave --port out"
    if pids[i]=$(pid_of "$file" zkreplica "$config"); then
        say "replica $i is running already (pid ${pids[i]}, port ${serving[i]})"
        return
    fi
    [[ ! -e $file ]] || say "replica $i: the pid file of an earlier run is stale"
    peer=$(server_lines "$i" | sed -n "s/^server\.$i=127\.0\.0\.1:\([0-9]*\):.*/\1/p")
    for want in "${serving[i]}" $peer; do
        ! port_taken "$want" ||
            die 1 "port $want is in use by another process: choose one with --port$(port_holder "$want")"
    done
    setsid "$zkreplica" "$config" >>"$log" 2>&1 </dev/null 9>&- &
    pid=$!
    echo "$pid" >"$file" || { kill "$pid"; die 1 "cannot write $file"; }
    pids[i]=$pid
    say "replica $i started (pid $pid, port ${serving[i]}, log $log)"
}

# wait_serving I: a long log takes a while to read; it is waited for as long as the process lives, with a
# word every ten seconds, and for five minutes.
wait_serving() {
    local i=$1 began=$SECONDS told=0 log="$dir/replica-$1.log"
    until [[ -n $(mode "${serving[i]}") ]]; do
        if ! process_alive "${pids[i]}"; then
            rm -f "$(replica_pid_file "$i")"
            tail -n 5 "$log" >&2
            die 1 "replica $i ended at once; the last lines of $log are above"
        fi
        ((SECONDS - began < 300)) || die 1 "replica $i does not serve after 300 s; see $log"
        if ((SECONDS - began >= told + 10)); then
            told=$((SECONDS - began))
            say "replica $i does not serve yet ($told s); see $log"
        fi
        sleep 0.05
    done
}

# say_leader: who leads, as the replicas themselves say.
say_leader() {
    local i
    ((replicas > 1)) || return 0
    for ((i = 1; i <= replicas; i++)); do
        [[ $(mode "${serving[i]}") == leader ]] || continue
        say "replica $i leads (port ${serving[i]}); srvr on each port says who does"
        return
    done
    say "the leader is just changing; srvr on each port says who leads"
}

# start_replicas: all that are missing, then waits for all of them.
start_replicas() {
    local i
    serving=() pids=()
    for ((i = 1; i <= replicas; i++)); do launch "$i"; done
    for ((i = 1; i <= replicas; i++)); do wait_serving "$i"; done
    say_leader
}

# server_list: host:port of all, as zkfs takes it.
server_list() {
    local i list=
    for ((i = 1; i <= replicas; i++)); do list+=,127.0.0.1:${serving[i]}; done
    printf '%s\n' "${list#,}"
}
