# shellcheck shell=bash
# The demonstration: a live guest is replicated twice and the image that comes out boots. Sourced by dev.
#
# All that is temporary lives in one run folder with a short path (unix sockets), whose name also marks every process
# that belongs to it. The image that is left at the end is in the cache folder.

DEMO_KEPT=${DEMO_KEPT:-$GODWIT_CACHE/demo/kept}
RUN_FOLDER=
SERVICE=

demo() {
    local keep='' full=''
    while [ $# -gt 0 ]; do
        case $1 in
            --keep) keep=yes ;;
            --full) full=yes ;;
            --stop) demo_stop_kept && return ;;
            *) usage >&2 && exit 2 ;;
        esac
        shift
    done
    clean_up() { end_attended && demo_remove; }
    mkdir -p "$GODWIT_CACHE/demo"

    local began=$SECONDS
    demo_prepare
    demo_start_guest
    demo_start_service
    demo_create_job
    demo_first_run
    demo_second_run
    demo_show_figures
    demo_verify
    demo_boot
    [ -n "$keep" ] || demo_leave_nothing
    step "Done in $((SECONDS - began)) seconds"
    demo_image
    if [ -n "$keep" ]; then demo_keep; else demo_go_on; fi
}

demo_prepare() {
    step 'Set-up: packages, a release binary, a guest disk'
    set_up setup_rust setup_qemu setup_demo_packages
    if [ -n "$full" ]; then set_up setup_full_guest; else set_up setup_demo_guest; fi
    demo_console
    [ -e "$CARGO_TARGET_DIR/release/godwit" ] || note 'building the release binary (the first time takes some minutes)'
    release_binary
    RUN_FOLDER=$(mktemp -d /tmp/godwit-demo.XXXXXX)
    say "guest disk: $(demo_size "$GUEST_DISK"), $(du -h "$GUEST_DISK" | cut -f1) of it used · service and guest live in $RUN_FOLDER"
}

# The binary embeds the console that is there when it is built. Without Node there is none, and the demo works as well.
demo_console() {
    command -v node >/dev/null && command -v npm >/dev/null || { note 'no Node: the binary has no console'; return 0; }
    set_up setup_console
    build_console
}

demo_size() { numfmt --to=iec-i --suffix=B "$(stat -Lc %s "$1")"; }

# The number of the last generation that the guest has written.
demo_generation() {
    grep -a -o 'GEN [0-9]*' "$RUN_FOLDER/guest/serial.log" | tail -1 | cut -d' ' -f2 || true
}

demo_generation_is() {
    local generation
    generation=$(demo_generation)
    [ "${generation:-0}" -ge "$1" ]
}

demo_start_guest() {
    step 'Start the guest: QEMU without KVM, a program in it keeps writing files with checksums'
    local memory=256
    [ -z "$full" ] || memory=768
    # A disk of its own, in the format most QEMU hosts use: the guest writes to it.
    quietly demo-disk qemu-img convert -O qcow2 "$GUEST_DISK" "$RUN_FOLDER/disk.qcow2"
    "$TESTBED/start-guest" "$RUN_FOLDER/disk.qcow2" "$RUN_FOLDER/guest" --memory $memory --name demo
    wait_until 240 demo_generation_is 3 || {
        tail -c 600 "$RUN_FOLDER/guest/serial.log" >&2
        die 'the guest does not write; its console ends as above'
    }
    grep -a -o 'GODWIT-READY.*' "$RUN_FOLDER/guest/serial.log" | tr -d '\r'
    say "the guest has written generation $(demo_generation)"
}

# What signs in to the console once; the service prints it at its first start.
demo_link() { grep -h -s -o -m1 'https\?://[^ ]*#link=[^ ]*' "$RUN_FOLDER/service.out" "$RUN_FOLDER/service.log"; }

demo_address() { sed -n 's/.*listening on \(https\?:[^ ]*\).*/\1/p' "$RUN_FOLDER/service.out" | grep -m1 .; }

demo_start_service() {
    step 'Start godwit serve, show it the guest'
    # A session of its own: Ctrl-C is for this script, which then ends the service in an orderly way.
    setsid "$GODWIT" serve --data "$RUN_FOLDER/data" --listen 127.0.0.1:0 \
        >"$RUN_FOLDER/service.out" 2>"$RUN_FOLDER/service.log" </dev/null 9>&- &
    SERVICE=$!
    wait_until 30 demo_address >/dev/null || { cat "$RUN_FOLDER/service.log" >&2; die 'godwit serve did not start'; }
    GODWIT_ENDPOINT=$(demo_address)
    export GODWIT_ENDPOINT AWS_SHARED_CREDENTIALS_FILE=$RUN_FOLDER/data/credentials
    unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_PROFILE
    say "godwit serve listens on $GODWIT_ENDPOINT"
    shown connectors add qmp --name demo --socket "$RUN_FOLDER/guest/qmp.sock"
    shown servers import
    shown servers list
}

# shown ARGUMENT...: shows a command as one would type it, and runs it.
shown() {
    printf '%s$ godwit %s%s\n' "$DIM" "$*" "$PLAIN"
    attend "$GODWIT" "$@"
}

# What a command answers, as JSON.
asked() { "$GODWIT" "$@" --json; }

demo_create_job() {
    step 'Create a job that repeats every 12 hours; its first run starts at once'
    local server
    server=$(asked servers list | jq -er '.[0].server_id')
    printf '%s$ godwit jobs create --server %s --every 12h%s\n' "$DIM" "$server" "$PLAIN"
    JOB=$(asked jobs create --server "$server" --every 12h | jq -er .job_id)
    say "$JOB"
}

# The newest run of the job that is more than planned.
demo_newest_run() {
    RUN=$(asked runs list --job "$JOB" | jq -er '[.[] | select(.state != "PENDING")][0].run_id' 2>/dev/null)
}

# Follows a run to its end; only a completed one will do.
demo_watch() {
    shown runs watch "$1" || true
    asked runs show "$1" >"$RUN_FOLDER/$1.json"
    [ "$(jq -r .state "$RUN_FOLDER/$1.json")" = COMPLETED ] || {
        jq . "$RUN_FOLDER/$1.json" >&2
        die "run $1 did not complete"
    }
}

demo_first_run() {
    step 'First run: everything'
    wait_until 60 demo_newest_run || die 'the first run does not begin'
    FIRST=$RUN
    demo_watch "$FIRST"
}

demo_second_run() {
    local generation
    generation=$(demo_generation)
    step "Second run: what the guest wrote since (it is at generation $generation and goes on)"
    wait_until 120 demo_generation_is $((generation + 8)) || die 'the guest stopped writing'
    SECOND=$(asked runs start "$JOB" | jq -er .run_id)
    demo_watch "$SECOND"
}

demo_show_figures() {
    step 'Both runs in figures'
    python3 "$TESTBED/figures.py" "$RUN_FOLDER/$FIRST.json" "$RUN_FOLDER/$SECOND.json"
}

demo_verify() {
    step 'Verify both images: read back all that is stored and compare it with what was read from the guest'
    local run
    for run in "$FIRST" "$SECOND"; do
        IMAGE=$(jq -er .image_id "$RUN_FOLDER/$run.json")
        shown images verify "$IMAGE"
    done
}

demo_boot() {
    step 'Export the newest image and boot it; the guest checks its own files'
    IMAGE_FILE=$GODWIT_CACHE/demo/image.qcow2
    rm -f "$IMAGE_FILE"
    shown images export "$IMAGE" --volume 0 --format qcow2 --output "$IMAGE_FILE"
    local memory=256
    [ -z "$full" ] || memory=768
    attend "$TESTBED/boot-image" "$IMAGE_FILE" --memory $memory || die 'the image does not boot as it should'
    good 'the image boots, and every file has its checksum'
}

# Deleting the job ends change tracking at the source: nothing of ours may be left in QEMU.
demo_leave_nothing() {
    step 'Delete the job: change tracking ends, nothing is left in QEMU'
    shown jobs delete "$JOB" --wait
    wait_until 30 demo_nothing_left || die "left behind in QEMU: $(demo_left_behind)"
    good 'no bitmap, job, node or export of ours is left in QEMU'
}

demo_left_behind() { "$TESTBED/qmp" "$RUN_FOLDER/guest/qmp.sock" --left-behind; }

demo_nothing_left() {
    local left
    left=$(demo_left_behind) && [ -z "$left" ]
}

demo_keep() {
    step 'Service and guest go on running'
    local link
    link=$(demo_link | head -1) || true
    echo "$RUN_FOLDER $SERVICE" >>"$DEMO_KEPT"
    cat <<HELP
In this or another shell:
  export PATH=$(dirname "$GODWIT"):\$PATH GODWIT_ENDPOINT=$GODWIT_ENDPOINT
  export AWS_SHARED_CREDENTIALS_FILE=$AWS_SHARED_CREDENTIALS_FILE
  godwit runs list;  godwit runs start $JOB;  godwit images list
To end and remove them:
  ./dev demo --stop
In a browser, signed in by a link that works once, within an hour:
  $GODWIT_ENDPOINT/console/
  ${link:-(no link was printed: sign in with the access key in the file above)}
HELP
    RUN_FOLDER='' SERVICE=''
}

demo_image() {
    cat <<HELP
The image:        $IMAGE_FILE ($(du -h "$IMAGE_FILE" | cut -f1))
Boot it yourself: qemu-system-x86_64 -accel tcg -m 768 -nographic -snapshot -drive if=virtio,file=$IMAGE_FILE
                  (Enter gives a shell or a login, Ctrl-A x ends QEMU)
HELP
}

demo_go_on() {
    say 'Go on:            README.md says how to connect your own QEMU hosts; ./dev demo --keep leaves this one running.'
}

# Processes that belong to the run folder, found by its name, which is unique: also one that was just starting when
# Ctrl-C came and whose id nobody has noted yet.
demo_processes() {
    local entry
    for entry in /proc/[0-9]*; do
        [ "${entry#/proc/}" != $$ ] || continue
        if tr '\0' ' ' 2>/dev/null <"$entry/cmdline" | grep -qF -- "$RUN_FOLDER"; then
            echo "${entry#/proc/}"
        fi
    done 2>/dev/null
}

demo_processes_gone() { [ -z "$(demo_processes)" ]; }

demo_signal() {
    local process
    for process in $(demo_processes); do
        kill "-$1" "$process" 2>/dev/null || true
    done
}

# Ends everything of the run folder: the service first, so that it can tidy up in QEMU while QEMU still runs.
demo_remove() {
    [ -n "$RUN_FOLDER" ] || return 0
    if [ -n "$SERVICE" ]; then
        kill -TERM "$SERVICE" 2>/dev/null || true
        wait_until 20 process_gone "$SERVICE" || kill -KILL "$SERVICE" 2>/dev/null || true
    fi
    [ ! -e "$RUN_FOLDER/guest" ] || "$TESTBED/stop-guest" "$RUN_FOLDER/guest" || true
    demo_signal TERM
    wait_until 5 demo_processes_gone || demo_signal KILL
    rm -rf "$RUN_FOLDER"
    RUN_FOLDER='' SERVICE=''
}

# Gone, or only waiting to be reaped.
process_gone() {
    ! kill -0 "$1" 2>/dev/null || [ "$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null)" = Z ]
}

demo_stop_kept() {
    local folder service
    [ -s "$DEMO_KEPT" ] || { say 'no demo was kept running'; return 0; }
    while read -r folder service; do
        RUN_FOLDER=$folder SERVICE=
        # The number may belong to somebody else by now.
        if tr '\0' ' ' 2>/dev/null <"/proc/$service/cmdline" | grep -qF -- "$folder"; then
            SERVICE=$service
        fi
        demo_remove
        say "ended and removed $folder"
    done <"$DEMO_KEPT"
    rm -f "$DEMO_KEPT"
}
