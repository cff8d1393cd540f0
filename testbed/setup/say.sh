# shellcheck shell=bash
# What the scripts say, where they keep things, and how long commands are run and interrupted. Sourced, never run.

# Everything that is made once and kept lives here; removing the folder is always safe.
GODWIT_CACHE=${GODWIT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/godwit}
export GODWIT_CACHE
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$GODWIT_CACHE/target}
LOGS=$GODWIT_CACHE/logs

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    BOLD=$'\e[1m' DIM=$'\e[2m' GREEN=$'\e[32m' RED=$'\e[31m' PLAIN=$'\e[0m'
else
    BOLD='' DIM='' GREEN='' RED='' PLAIN=''
fi

say() { printf '%s\n' "$*"; }
note() { printf '%s%s%s\n' "$DIM" "$*" "$PLAIN"; }
good() { printf '%s%s%s\n' "$GREEN" "$*" "$PLAIN"; }
die() {
    printf '%serror:%s %s\n' "$RED" "$PLAIN" "$*" >&2
    exit 1
}

# The heading of a numbered step.
STEP=0
step() {
    STEP=$((STEP + 1))
    printf '\n%s%d. %s%s\n' "$BOLD" "$STEP" "$*" "$PLAIN"
}

# attend COMMAND...: runs a long command so that a signal to this script ends it at once and wholly: in a process group
# of its own, waited for in a way that a trap can interrupt. (Bash runs no trap while a foreground command lasts.)
ATTENDED=
attend() {
    local status=0
    set -m
    "$@" </dev/null &
    ATTENDED=$!
    set +m
    wait "$ATTENDED" || status=$?
    ATTENDED=
    return $status
}

# Ends what `attend` is waiting for; part of every clean-up.
end_attended() {
    [ -n "$ATTENDED" ] || return 0
    # Bash would otherwise report the end of its job in the middle of ours.
    disown "$ATTENDED" 2>/dev/null || true
    kill -TERM -- "-$ATTENDED" 2>/dev/null || true
    # A test runner wants a moment to end its tests.
    wait_until 15 group_gone "$ATTENDED" || kill -KILL -- "-$ATTENDED" 2>/dev/null || true
    ATTENDED=
}

group_gone() { ! kill -0 -- "-$1" 2>/dev/null; }

# quietly NAME COMMAND...: attends to a command whose output goes to a log that is shown only when it fails.
quietly() { logged "$1" attend "${@:2}"; }

# The same for a command that is let finish when a signal comes.
undisturbed() { logged "$@"; }

logged() {
    local name=$1 log=$LOGS/$1.log
    shift
    mkdir -p "$LOGS"
    if "$@" >"$log" 2>&1 </dev/null; then
        return 0
    fi
    tail -n 30 "$log" >&2
    die "$name failed; all it said is in $log"
}

# wait_until SECONDS COMMAND...: polls a command until it succeeds; fails after the bound.
wait_until() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.2
    done
}
