#compdef virtvisorctl
# Completion of virtvisorctl for zsh.
_virtvisorctl() {
    local context state line
    typeset -A opt_args
    _arguments -C \
        '--root[root folder of the daemon]:folder:_files -/' \
        '(- *)'{-h,--help}'[print the options]' \
        '1:command:((status\:"show every process of the tree" access\:"explain access control" takeover\:"say what comes along when the daemon is changed"))' \
        '*::argument:->argument'
    [[ $state == argument ]] || return
    case $words[1] in
        status) _arguments '--json[as a list of JSON objects]' ;;
        takeover) _arguments '--check[change nothing]' ;;
        access)
            _arguments \
                '1:verb:(explain)' \
                '--driver[driver of the object]:driver:(qemu lxc)' \
                '*:argument:'
            ;;
    esac
}
_virtvisorctl "$@"
