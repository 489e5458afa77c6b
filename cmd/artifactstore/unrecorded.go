package main

import (
	"fmt"
	"io/fs"
	"strings"
)

// specialsShown are named of those with setuid and the like.
const specialsShown = 3

// notRecorded lists what the package does not have of a tree, beside times, which no
// package has: permission bits that pull would not give by itself, and special bits.
func (t *localTree) notRecorded() []string {
	modes := 0
	var specials []string
	note := func(path string, mode, usual fs.FileMode, kept bool) {
		if !kept && mode.Perm() != usual {
			modes++
		}
		for _, special := range []struct {
			bit  fs.FileMode
			name string
		}{{fs.ModeSetuid, "setuid"}, {fs.ModeSetgid, "setgid"}, {fs.ModeSticky, "sticky"}} {
			if mode&special.bit != 0 {
				specials = append(specials, special.name+" on "+shown(path))
			}
		}
	}
	for i := range t.files {
		f, usual := &t.files[i], fs.FileMode(fileMode)
		if f.executable {
			usual = executableMode
		}
		note(f.path, f.mode, usual, f.recorded.Recorded())
	}
	for _, f := range t.folders {
		note(f.path, f.mode, folderMode, f.keep)
	}
	var list []string
	if modes > 0 {
		list = append(list, plural(modes, "mode"))
	}
	if more := len(specials) - specialsShown; more > 0 {
		specials = append(specials[:specialsShown], fmt.Sprintf("and %d more", more))
	}
	return append(list, specials...)
}

// refuseUnrecorded is the error of --strict.
func refuseUnrecorded(list []string) error {
	if len(list) == 0 {
		return nil
	}
	remedy := ""
	if strings.HasSuffix(list[0], "mode") || strings.HasSuffix(list[0], "modes") {
		remedy = "; --preserve-modes records modes"
	}
	return fmt.Errorf("not recorded: %s, which --strict refuses%s", strings.Join(list, "; "), remedy)
}
