# For shells that shall know `conda`: sourced from /etc/profile.d or by hand.
export CONDA_EXE='@PREFIX@/bin/conda'

_conda_leave() {
    [ -z "${CONDA_PREFIX:-}" ] || PATH=${PATH#"$CONDA_PREFIX/bin:"}
    unset CONDA_PREFIX CONDA_DEFAULT_ENV
}

conda() {
    case ${1:-} in
    activate)
        _conda_found=$("$CONDA_EXE" run -n "${2:-base}" sh -c 'echo "$CONDA_PREFIX"') || return
        _conda_leave
        export CONDA_PREFIX="$_conda_found" CONDA_DEFAULT_ENV="${2:-base}"
        export PATH="$CONDA_PREFIX/bin:$PATH"
        ;;
    deactivate) _conda_leave ;;
    *) "$CONDA_EXE" "$@" ;;
    esac
}
