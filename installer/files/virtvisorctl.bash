# Completion of virtvisorctl for bash.
_virtvisorctl() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
    local words="status access takeover --root --help"
    case " ${COMP_WORDS[*]:1:COMP_CWORD-1} " in
        *" explain "*) words="--driver --help" ;;
        *" access "*) words="explain --help" ;;
        *" status "*) words="--json --help" ;;
        *" takeover "*) words="--check --help" ;;
    esac
    case $previous in
        --driver) words="qemu lxc" ;;
        --root)
            mapfile -t COMPREPLY < <(compgen -d -- "$current")
            return
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -F _virtvisorctl virtvisorctl
