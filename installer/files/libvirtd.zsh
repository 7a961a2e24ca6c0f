#compdef libvirtd
# Completion of libvirtd for zsh.
_arguments \
    '(-d --daemon)'{-d,--daemon}'[go to the background once ready]' \
    '(-l --listen)'{-l,--listen}'[accept clients over TLS and TCP]' \
    '(-f --config)'{-f,--config}'[configuration file]:file:_files' \
    '(-p --pid-file)'{-p,--pid-file}'[pid file]:file:_files' \
    '(-t --timeout)'{-t,--timeout}'[exit after so many idle seconds]:seconds:' \
    '(-v --verbose)'{-v,--verbose}'[log at level information]' \
    '--root[move every path under a folder]:folder:_files -/' \
    '(- *)'{-V,--version}'[print the version]' \
    '(- *)'{-h,--help}'[print the options]'
