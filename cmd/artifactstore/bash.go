package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// standalone makes the completion of bash independent of the package
// bash-completion, and has it complete behind the @ of producer/name@version,
// where bash begins another word.
func standalone(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	bash, _, err := root.Find([]string{"completion", "bash"})
	must(err)
	group(bash.Parent()) // of an unknown shell it would print its help, into the user's file
	bash.Long = `Generate the completion script for bash. It needs no other package.

For this shell:

	source <(artifactstore completion bash)

For every new shell, with the package bash-completion:

	artifactstore completion bash >FILE

with FILE ~/.local/share/bash-completion/completions/artifactstore,
and without it, in ~/.bashrc:

	source <(artifactstore completion bash)`
	described := true
	bash.RunE = func(command *cobra.Command, _ []string) error {
		if without, err := command.Flags().GetBool("no-descriptions"); err == nil {
			described = !without
		}
		var made bytes.Buffer
		if err := root.GenBashCompletionV2(&made, described); err != nil {
			return err
		}
		script, err := standaloneBash(made.String())
		if err != nil {
			return err
		}
		_, err = fmt.Fprint(command.OutOrStdout(), script)
		return err
	}
}

// bashParts are what cobra's script takes from bash-completion, and what is used instead.
var bashParts = []struct{ theirs, ours string }{
	{`    if declare -F _init_completion >/dev/null 2>&1; then
        _init_completion -n =: || return
    else
        __artifactstore_init_completion -n =: || return
    fi
`, `    __artifactstore_words
`},
	{`    __artifactstore_handle_special_char "$cur" :
    __artifactstore_handle_special_char "$cur" =
`, `    __artifactstore_trim
`},
}

// bashFunctions: bash splits words at characters such as : = @, and replaces only what
// is behind the last of them.
const bashFunctions = `
# Joins what bash has split at : = and @ again: cur, words and cword.
__artifactstore_words()
{
    local line="${COMP_LINE}" i word joined=
    words=() cword=0
    for ((i = 0; i < ${#COMP_WORDS[@]}; i++)); do
        word=${COMP_WORDS[i]}
        # No space before it in the line, and either side is a breaking character.
        if ((i > 0)) && [[ -n $word && $line == "$word"* && ( $word == [:=@]* || $joined == *[:=@] ) ]]; then
            joined+=$word
            words[${#words[@]}-1]=$joined
        elif ((i > 0)) && [[ -z $word && -z $line && $joined == *[:=@] ]]; then
            : # the cursor is right behind it
        else
            joined=$word
            words+=("$word")
            while [[ $line == [[:space:]]* ]]; do line=${line#?}; done
        fi
        line=${line#"$word"}
        ((i == COMP_CWORD)) && cword=$((${#words[@]} - 1))
    done
    cur=${words[cword]}
    if ((cword > 0)); then prev=${words[cword-1]}; else prev=; fi
}

# Takes away what is already in the line before the word that bash completes.
__artifactstore_trim()
{
    local breaks= char idx=${#COMPREPLY[@]} before
    for char in : = @; do
        [[ $COMP_WORDBREAKS == *"$char"* ]] && breaks+=$char
    done
    [[ -n $breaks && $cur == *["$breaks"]* ]] || return 0
    before=${cur%"${cur##*["$breaks"]}"}
    while ((--idx >= 0)); do
        COMPREPLY[idx]=${COMPREPLY[idx]#"$before"}
    done
}

__artifactstore_filedir()
{
    if declare -F _filedir >/dev/null 2>&1; then
        _filedir "$@"
    elif [[ ${1-} == -d ]]; then
        COMPREPLY=($(compgen -d -- "$cur"))
    else
        COMPREPLY=($(compgen -f -- "$cur"))
    fi
}
`

// standaloneBash fails if a new version of cobra writes another script.
func standaloneBash(script string) (string, error) {
	for _, part := range bashParts {
		if strings.Count(script, part.theirs) != 1 {
			return "", fmt.Errorf("the script for bash is not the one that is known: it lacks\n%s", part.theirs)
		}
		script = strings.Replace(script, part.theirs, part.ours, 1)
	}
	script = strings.ReplaceAll(script, "_filedir", "__artifactstore_filedir")
	return strings.Replace(script, "\n__start_artifactstore()\n", bashFunctions+"\n__start_artifactstore()\n", 1), nil
}
