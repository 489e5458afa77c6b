package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/term"

	"github.com/coulomb/artifact-store/pkg/interrupt"
	"github.com/coulomb/artifact-store/pkg/manifest"
)

// extras finds what is in the folder and not in the package, without following any
// link. What is in a folder comes before the folder, so that they can be removed in
// this order.
func (t *target) extras(m *manifest.Manifest) ([]string, error) {
	wanted, folders := map[string]bool{}, map[string]bool{}
	for _, f := range m.Folders {
		folders[f.Path] = true
	}
	for _, f := range namesOf(m) {
		wanted[f.Path] = true
		for dir := path.Dir(f.Path); dir != "." && !folders[dir]; dir = path.Dir(dir) {
			folders[dir] = true
		}
	}
	var found []string
	var look func(dir string) error
	look = func(dir string) error {
		folder, err := t.root.Open(dir)
		if err != nil {
			return err
		}
		entries, err := folder.ReadDir(-1)
		folder.Close() //nolint:errcheck // it was only read
		if err != nil {
			return err
		}
		slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
		for _, entry := range entries {
			name := path.Join(dir, entry.Name())
			if dir == "." && isStaging(name) {
				continue // of this pull, or of another one
			}
			if entry.IsDir() {
				if err := look(name); err != nil {
					return err
				}
			}
			if !wanted[name] && !(entry.IsDir() && folders[name]) {
				found = append(found, name)
			}
		}
		return nil
	}
	return found, look(".")
}

// confirm shows what would be removed and asks, unless yes is given.
func (a *app) confirm(ctx context.Context, t *target, extras []string, yes bool) error {
	for _, name := range extras {
		fmt.Fprintf(a.stderr, "remove %s\n", shown(t.display(name)))
	}
	if yes {
		return nil
	}
	file, is := a.stdin.(*os.File)
	if !is || !term.IsTerminal(int(file.Fd())) {
		return fmt.Errorf("%s: %s not in the package: --yes removes what is listed above", t.name, counted(len(extras), "entry is", "entries are"))
	}
	fmt.Fprintf(a.stderr, "Remove %s from %s? [y/N] ", counted(len(extras), "entry", "entries"), shown(t.name))
	answer, err := interrupt.Do(ctx, func() (string, error) { return bufio.NewReader(a.stdin).ReadString('\n') })
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if answer = strings.ToLower(strings.TrimSpace(answer)); err == nil && (answer == "y" || answer == "yes") {
		return nil
	}
	return errors.New("nothing was changed: the removal was not confirmed")
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// removeExtras removes exactly what was shown. A folder that has got something new
// since then stays, and is an error.
func (t *target) removeExtras(extras []string) error {
	for _, name := range extras {
		if err := t.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", t.display(name), err)
		}
	}
	return nil
}
