#!/bin/sh
# Stands for `dkms`: puts the module files of one driver version in place for each kernel that has
# headers, with that kernel's vermagic written into them, and removes them again.
# usage: dkms-substitute autoinstall | build KERNEL | remove
set -e

version=@VERSION@
modules='@MODULES@' # name:offset of the vermagic's text in name.ko
source_dir=/usr/src/nvidia-$version
state_dir=/var/lib/dkms/nvidia
three=@THREE@ # whether the source calls pci_resize_resource() with three arguments

build() {
    kernel=$1
    if [ ! -e "/lib/modules/$kernel/build/Makefile" ]; then
        echo "Module build for kernel $kernel was skipped since the"
        echo "kernel headers for this kernel do not seem to be installed."
        return 0
    fi
    echo "Building initial module nvidia/$version for $kernel"
    target=/lib/modules/$kernel/updates/dkms
    state=$state_dir/$version/$kernel/x86_64
    # What a compiler finds out in the headers of a kernel that wants a fourth.
    if $three && grep -qs exclude_bars "/lib/modules/$kernel/build/include/linux/pci.h"; then
        mkdir -p "$state_dir/$version/build"
        echo "nv-pci.c:240:9: error: too few arguments to function 'pci_resize_resource'" |
            tee "$state_dir/$version/build/make.log" >&2
        echo "Error! Bad return status for module build on kernel: $kernel (x86_64)" >&2
        return 10
    fi
    mkdir -p "$target" "$state/module" "$state/log"
    for entry in $modules; do
        name=${entry%%:*}
        cp "$source_dir/$name.ko" "$state/module/$name.ko"
        printf '%s SMP preempt mod_unload modversions ' "$kernel" |
            dd of="$state/module/$name.ko" bs=1 seek="${entry##*:}" conv=notrunc status=none
        cp "$state/module/$name.ko" "$target/$name.ko"
    done
    echo "DKMS substitute: modules of nvidia/$version for $kernel" > "$state/log/make.log"
    ln -sfn "$version/$kernel/x86_64" "$state_dir/kernel-$kernel-x86_64"
    depmod -a "$kernel"
}

remove() {
    for state in "$state_dir/$version"/*/x86_64; do
        [ -d "$state" ] || continue
        kernel=$(basename "$(dirname "$state")")
        for entry in $modules; do
            rm -f "/lib/modules/$kernel/updates/dkms/${entry%%:*}.ko"
        done
        rm -f "$state_dir/kernel-$kernel-x86_64"
        [ ! -d "/lib/modules/$kernel" ] || depmod -a "$kernel"
    done
    rm -rf "${state_dir:?}/$version"
    rmdir --ignore-fail-on-non-empty "$state_dir" 2> /dev/null || true
}

case $1 in
autoinstall)
    # Like DKMS: the running kernel, told when it has no headers, and all others that have some.
    build "$(uname -r)"
    for directory in /lib/modules/*; do
        kernel=$(basename "$directory")
        [ -e "$directory/build" ] && [ "$kernel" != "$(uname -r)" ] || continue
        build "$kernel"
    done
    ;;
build) build "$2" ;;
remove) remove ;;
*)
    echo "usage: $0 autoinstall | build KERNEL | remove" >&2
    exit 2
    ;;
esac
