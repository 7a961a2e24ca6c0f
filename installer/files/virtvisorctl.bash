# Completion of virtvisorctl for bash.
_virtvisorctl() {
    local current=${COMP_WORDS[COMP_CWORD]}
    mapfile -t COMPREPLY < <(compgen -W "status access explain --help --json --root" -- "$current")
}
complete -F _virtvisorctl virtvisorctl
