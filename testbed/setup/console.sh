# shellcheck shell=bash
# The console: its packages, its build, and the browser that its end-to-end tests drive. Sourced.

CONSOLE=$PWD/console

# Chromium of Debian.
PACKAGES_CONSOLE_TESTS=(chromium)

# Packages exactly as the lock file has them; nothing of them runs while they are installed.
setup_console() {
    local stamp=$CONSOLE/node_modules/.godwit wanted
    check_node
    wanted=$(sha256sum "$CONSOLE/package.json" "$CONSOLE/package-lock.json" | sha256sum)
    [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || return 0
    note "installing the console's packages"
    quietly console-npm npm ci --prefix "$CONSOLE" --ignore-scripts --no-audit --no-fund
    printf '%s' "$wanted" >"$stamp"
}

# What the binary embeds. The same sources give the same files, so nothing is built that is there already.
build_console() {
    local stamp=$CONSOLE/dist/.godwit wanted
    wanted=$(cd "$CONSOLE" && find src public index.html package-lock.json vite.config.ts -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum)
    [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || return 0
    quietly console-build npm run build --prefix "$CONSOLE"
    printf '%s' "$wanted" >"$stamp"
}

setup_chromium() {
    [ -z "${GODWIT_CHROMIUM:-}" ] || return 0
    install_packages "${PACKAGES_CONSOLE_TESTS[@]}"
    GODWIT_CHROMIUM=$(command -v chromium) || die "chromium is not on the PATH"
    export GODWIT_CHROMIUM
}
