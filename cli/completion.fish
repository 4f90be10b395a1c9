# Completion of prestager for fish. Put it into a file:
#   prestager completion fish >~/.config/fish/completions/prestager.fish
function __prestager_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l answer (command $words[1] __complete $words[2..-1] "$current" 2>/dev/null)
    if test "$answer[1]" = files
        __fish_complete_path (string replace -r -- '^--[^=]*=' '' "$current")
    else if test (count $answer) -gt 1
        printf '%s\n' $answer[2..-1]
    end
end
complete --command prestager --no-files --arguments '(__prestager_complete)'
