#compdef prestager
# Completion of prestager for zsh. Put this into ~/.zshrc, after compinit:  source <(prestager completion zsh)
# Or into a file _prestager in a folder of $fpath.
_prestager() {
    local kind candidate summary
    local -a candidates
    {
        read -r kind
        while IFS=$'\t' read -r candidate summary; do
            candidates+=("${candidate//:/\\:}:$summary")
        done
    } < <("${words[1]}" __complete "${(@Q)words[2,CURRENT]}" 2>/dev/null)
    if [[ $kind == files ]]; then
        compset -P '--*='
        _files
    elif (( ${#candidates} )); then
        _describe prestager candidates
    fi
}
if [[ ${funcstack[1]} == _prestager ]]; then
    _prestager "$@"
else
    compdef _prestager prestager
fi
