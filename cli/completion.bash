# Completion of prestager for bash 4.4 or later. Put this into ~/.bashrc:  source <(prestager completion bash)
_prestager() {
    local kind candidate
    COMPREPLY=()
    {
        read -r kind
        if [[ $kind == files ]]; then
            # With nothing in COMPREPLY bash completes names of files.
            compopt -o default
        fi
        while IFS=$'\t' read -r candidate _; do
            COMPREPLY+=("$candidate")
        done
    } < <("$1" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _prestager prestager
