#!/bin/sh
# nvcc of the CUDA @SHORT@ substitute. NVIDIA publishes no nvcc of this release as a wheel, so the
# front end of a later release compiles for compute capability 7.5, and what it makes is handed as
# the wanted older architecture to this release's own assembler (see tool12.sh).
set -e

here=$(dirname "$(readlink -f "$0")")
legacy='50 52 53 60 61 62 70 72'
wanted=''
seen_75=no
named=no

fail() {
    echo "nvcc fatal   : $1" >&2
    exit 1
}

as_75() { # replaces every older architecture in $argument
    for number in $legacy; do
        case $argument in *_"$number"*) ;; *) continue ;; esac
        [ -z "$wanted" ] || [ "$wanted" = "$number" ] ||
            fail "this substitute compiles for one architecture below 7.5 at a time"
        wanted=$number
        argument=$(printf '%s' "$argument" | sed "s/_$number/_75/g")
    done
}

count=$#
previous=''
while [ "$count" -gt 0 ]; do
    argument=$1
    shift
    count=$((count - 1))
    case $argument in
    -V | --version)
        echo 'nvcc: NVIDIA (R) Cuda compiler driver'
        echo 'Cuda compilation tools, release @SHORT@, V@NVCC@'
        echo 'Build substitute for tests: front end @FRONT@, assembler @NVCC@'
        exit 0
        ;;
    --list-gpu-code | --list-gpu-arch)
        prefix=sm
        [ "$argument" = --list-gpu-code ] || prefix=compute
        for number in $legacy 75 80 86 87 89 90 100 103 120; do echo "${prefix}_$number"; done
        exit 0
        ;;
    esac
    case $previous:$argument in
    *:-arch=* | *:--gpu-architecture=* | *:-code=* | *:-gencode=* | *:--generate-code=* | \
        -arch:* | --gpu-architecture:* | -code:* | -gencode:* | --generate-code:*)
        named=yes
        case $argument in *_75*) seen_75=yes ;; esac
        as_75
        ;;
    esac
    previous=$argument
    set -- "$@" "$argument"
done
if [ $named = no ]; then # the default of this release
    wanted=52
    set -- -arch=sm_75 "$@"
fi
[ -z "$wanted" ] || [ $seen_75 = no ] ||
    fail "this substitute cannot compile for 7.5 and for an older architecture at once"
SUBSTITUTE_ARCH=$wanted exec "$here/../substitute/nvcc" "$@"
