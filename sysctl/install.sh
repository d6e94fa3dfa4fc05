#!/bin/sh
# Installs the kernel settings and limits of this folder on a bare host: now, and for every start from now on.
#
# install.sh [--dry-run | --uninstall]
#
# It may run again and again. What this kernel lacks is left out, line by line, with a message. What the kernel has but
# does not let us set ends the whole: settings that were changed by then are put back. --uninstall puts back what stood
# there before, where nobody has changed it since.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
sysctl_file=/etc/sysctl.d/60-kv-cache.conf
limits_file=/etc/security/limits.d/60-kv-cache.conf
# What stood there before: a line "name value" for each setting that was changed.
before_file=/var/lib/kv-cache-sysctl/before

mode=install
case "${1:-}" in
"") ;;
--dry-run) mode=dry-run ;;
--uninstall) mode=uninstall ;;
*)
    echo "usage: $0 [--dry-run | --uninstall]" >&2
    exit 2
    ;;
esac
if [ $mode != dry-run ] && [ "$(id -u)" != 0 ]; then
    echo "$0: needs root; --dry-run does not" >&2
    exit 1
fi

path_of() { echo "/proc/sys/$(echo "$1" | tr . /)"; }
# What the kernel says, its parts separated by single spaces.
value_of() { tr -s '\t ' '  ' <"$(path_of "$1")"; }
# By tee, which says why it failed; not every shell's echo does.
write() { echo "$2" | LC_ALL=C tee "$(path_of "$1")" >/dev/null 2>"$scratch/error"; }
# Number by number, what is wanted or what is there, whichever is more.
more_of() {
    echo "$1|$2" | awk -F'|' '{ n = split($1, a, " "); split($2, b, " ")
        for (i = 1; i <= n; i++) printf "%s%s", (i > 1 ? " " : ""), (b[i] + 0 > a[i] + 0 ? b[i] : a[i]) }'
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
: >"$scratch/changed"

put_back() {
    while read -r name value; do write "$name" "$value" || echo "cannot put back $name = $value" >&2; done <"$scratch/changed"
    rm -rf "$scratch"
    exit 1
}

uninstall() {
    if [ -e $before_file ]; then
        while read -r name before; do
            wanted=$(sed -n "s/^$name = //p" $sysctl_file 2>/dev/null || :)
            if [ -e "$(path_of "$name")" ] && [ "$(value_of "$name")" = "$wanted" ]; then
                write "$name" "$before" && echo "put back $name = $before"
            else
                echo "left $name: somebody else has set it since"
            fi
        done <$before_file
    fi
    for file in $sysctl_file $limits_file $before_file; do
        if [ -e "$file" ]; then rm "$file" && echo "removed $file"; fi
    done
    rmdir "$(dirname $before_file)" 2>/dev/null || :
}

# Goes through the file: sets what differs and writes the file for later starts, without what this kernel lacks.
settings() {
    more_is_fine=no
    while IFS= read -r line; do
        case "$line" in
        "# More is fine.") more_is_fine=yes ;;
        "") more_is_fine=no ;;
        [a-z]*" = "*)
            name=${line%% = *}
            setting "$name" "${line#* = }"
            continue
            ;;
        esac
        echo "$line" >>"$scratch/sysctl"
    done <"$here/60-kv-cache.conf"
}

setting() {
    if [ ! -e "$(path_of "$1")" ]; then
        leave_out "$1" "$2" "this kernel has no such setting"
        return 0
    fi
    now=$(value_of "$1")
    wanted=$2
    if [ $more_is_fine = yes ]; then
        wanted=$(more_of "$2" "$now")
        if [ "$now" = "$wanted" ] && [ "$now" != "$2" ]; then
            echo "# Left alone, this host has more: $1 = $2" >>"$scratch/sysctl"
            return 0
        fi
    fi
    if [ "$now" != "$wanted" ]; then
        if [ $mode = dry-run ]; then
            echo "would set $1 = $wanted (is $now)"
        elif write "$1" "$wanted"; then
            echo "$1 $now" >>"$scratch/changed"
            echo "set $1 = $wanted (was $now)"
        elif grep -qi 'no such file' "$scratch/error"; then
            leave_out "$1" "$wanted" "this kernel has no $wanted, nor a module for it"
            return 0
        else
            echo "cannot set $1: $(sed 's/.*: //' "$scratch/error")" >&2
            echo "nothing is installed; in a container run this on the host" >&2
            put_back
        fi
    fi
    echo "$1 = $wanted" >>"$scratch/sysctl"
}

leave_out() {
    echo "left out $1: $3"
    echo "# Left out, $3: $1 = $2" >>"$scratch/sysctl"
}

install_file() {
    if cmp -s "$1" "$2"; then return 0; fi
    if [ $mode = dry-run ]; then
        echo "would write $2"
        return 0
    fi
    mkdir -p "$(dirname "$2")"
    cp "$1" "$2.new"
    chmod 644 "$2.new"
    mv "$2.new" "$2"
    echo "wrote $2"
}

if [ $mode = uninstall ]; then
    uninstall
    exit 0
fi
trap put_back INT TERM HUP
settings
if [ $mode = install ] && [ -s "$scratch/changed" ]; then
    # The first value counts: later runs must not take our own for what stood there before.
    mkdir -p "$(dirname $before_file)"
    touch $before_file
    while read -r name value; do
        grep -q "^$name " $before_file || echo "$name $value" >>$before_file
    done <"$scratch/changed"
fi
install_file "$scratch/sysctl" $sysctl_file
install_file "$here/limits.conf" $limits_file
if [ $mode = install ]; then
    echo "done; kv-cache tune --check shows the result"
fi
