package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestBashAlone completes in a bash without the package bash-completion: what bash
// gives the function is split at the characters of COMP_WORDBREAKS.
func TestBashAlone(t *testing.T) {
	t.Parallel()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err)
	}
	a := &app{environment: environment{stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}, getenv: func(string) string { return "" }}}
	var script bytes.Buffer
	root := a.root()
	root.SetOut(&script)
	root.SetArgs([]string{"completion", "bash"})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	// It says what it was asked, and proposes what the test wants.
	fake := "#!/bin/sh\nshift\nfor word in \"$@\"; do printf '[%s]' \"$word\"; done >\"$ASKED\"\nprintf '%b' \"$PROPOSE\"\n"
	if err := os.WriteFile(filepath.Join(folder, "artifactstore"), []byte(fake), 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "script"), script.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	noFiles := fmt.Sprintf(":%d\\n", cobra.ShellCompDirectiveNoFileComp)
	for name, test := range map[string]struct {
		words   string // as bash splits them, for an array
		line    string
		propose string
		asked   string
		want    string
	}{
		"a verb":               {`artifactstore pu`, `artifactstore pu`, `push\npull\n` + noFiles, `[pu]`, `push pull`},
		"nothing yet":          {`artifactstore pull ''`, `artifactstore pull `, `ci/tool@1\n` + noFiles, `[pull][]`, `ci/tool@1`},
		"behind the @":         {`artifactstore pull ci/tool @ 1`, `artifactstore pull ci/tool@1`, `ci/tool@1.0\nci/tool@1.1\n` + noFiles, `[pull][ci/tool@1]`, `1.0 1.1`},
		"right behind the @":   {`artifactstore pull ci/tool @ ''`, `artifactstore pull ci/tool@`, `ci/tool@1.0\n` + noFiles, `[pull][ci/tool@]`, `1.0`},
		"a tag":                {`artifactstore pull ci/tool : st`, `artifactstore pull ci/tool:st`, `ci/tool:stable\n` + noFiles, `[pull][ci/tool:st]`, `stable`},
		"a digest":             {`artifactstore pull ci/tool @ sha256 : a`, `artifactstore pull ci/tool@sha256:a`, `ci/tool@sha256:ab\n` + noFiles, `[pull][ci/tool@sha256:a]`, `ab`},
		"a flag with =":        {`artifactstore list --producer = t`, `artifactstore list --producer=t`, `team\n` + noFiles, `[list][--producer=t]`, `team`},
		"behind another word":  {`artifactstore copy a/b @ 1 --to ''`, `artifactstore copy a/b@1 --to `, `prod\n` + noFiles, `[copy][a/b@1][--to][]`, `prod`},
		"a context":            {`artifactstore context use 127.0.0.1 : 80`, `artifactstore context use 127.0.0.1:80`, `127.0.0.1:8080\n` + noFiles, `[context][use][127.0.0.1:80]`, `8080`},
		"with descriptions":    {`artifactstore p`, `artifactstore p`, `push\tPublish\n` + noFiles, `[p]`, `push`},
		"nothing is proposed":  {`artifactstore pull x`, `artifactstore pull x`, noFiles, `[pull][x]`, ``},
		"a file is, where any": {`artifactstore push scr`, `artifactstore push scr`, `:0\n`, `[push][scr]`, ``},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := filepath.Join(t.TempDir(), "asked")
			text := fmt.Sprintf(`
unset -f _init_completion _get_comp_words_by_ref _filedir 2>/dev/null
compopt() { :; }
source ./script || exit 1
COMP_WORDS=(%s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMP_LINE=%q; COMP_POINT=${#COMP_LINE}; COMP_TYPE=9; COLUMNS=80
__start_artifactstore
echo "${COMPREPLY[*]}"
`, test.words, test.line)
			command := exec.Command(bash, "--noprofile", "--norc", "-c", text)
			command.Dir = folder
			command.Env = []string{"PATH=" + folder + ":/usr/bin:/bin", "ASKED=" + asked, "PROPOSE=" + test.propose}
			out, err := command.CombinedOutput()
			if err != nil || strings.TrimSpace(string(out)) != test.want {
				t.Errorf("proposes %q, %v; want %q", out, err, test.want)
			}
			if got, err := os.ReadFile(asked); err != nil || string(got) != test.asked {
				t.Errorf("the program was asked %s, %v; want %s", got, err, test.asked)
			}
		})
	}
}
