# Completion of libvirtd for bash.
_libvirtd() {
    local current=${COMP_WORDS[COMP_CWORD]}
    local words="--daemon --listen --config --pid-file --timeout --verbose --version --root --help"
    case ${COMP_WORDS[COMP_CWORD-1]} in
        -f | --config | -p | --pid-file) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
        --root) mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
        -t | --timeout) COMPREPLY=() ;;
        *) mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current") ;;
    esac
}
complete -o filenames -F _libvirtd libvirtd
