package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/coulomb/artifact-store/pkg/interrupt"
	"github.com/coulomb/artifact-store/pkg/manifest"
)

// standardInput names it as an argument.
const standardInput = "-"

// source is one argument of push: what to read, and where it goes in the package.
type source struct {
	name   string
	prefix string // of a folder; of a file its path, or with a slash at its end its folder
	placed bool   // a prefix was given, perhaps an empty one
}

// parseSource reads NAME or NAME=PREFIX. What exists under the whole name is meant.
func parseSource(arg string) (source, error) {
	at := strings.LastIndexByte(arg, '=')
	if at < 0 {
		return source{name: arg}, nil
	}
	if _, err := os.Lstat(arg); err == nil {
		return source{name: arg}, nil
	}
	s := source{name: arg[:at], prefix: arg[at+1:], placed: true}
	if s.name == "" {
		return s, usage("%s: the name before = is empty", arg)
	}
	if p := strings.TrimSuffix(s.prefix, "/"); p != "" {
		if err := manifest.ValidatePath(p); err != nil {
			return s, usage("%s: prefix: %w", arg, err)
		}
	}
	return s, nil
}

// pathOf is where a file goes.
func (s source) pathOf() string {
	switch {
	case !s.placed:
		return filepath.Base(s.name)
	case s.prefix == "" || strings.HasSuffix(s.prefix, "/"):
		return s.prefix + filepath.Base(s.name)
	}
	return s.prefix
}

// collect finds what the arguments of push name: the content of folders, files, and
// standard input as the path stdinAs. The lists of the result are sorted by path.
func collect(args []string, o walkOptions, stdin io.Reader, stdinAs string) (*localTree, error) {
	t := &localTree{}
	var err error
	for _, arg := range args {
		if arg == standardInput {
			err = t.spool(stdin, stdinAs, o)
		} else {
			err = t.add(arg, len(args) == 1, o)
		}
		if err != nil {
			break
		}
	}
	if err == nil {
		err = t.arrange()
	}
	if err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// add gathers one folder or file.
func (t *localTree) add(arg string, alone bool, o walkOptions) error {
	from, err := parseSource(arg)
	if err != nil {
		return err
	}
	// The argument itself may be a link to a folder: the user meant the folder.
	info, err := os.Stat(from.name)
	if err != nil {
		return err
	}
	w := walker{walkOptions: o, into: t}
	if !info.IsDir() {
		if info, err = os.Lstat(from.name); err != nil {
			return err
		}
		return w.entry(from.name, from.pathOf(), info, nil)
	}
	if !alone && !from.placed {
		return usage("%s: a folder must be the only argument, or have a prefix: %s=PREFIX", arg, arg)
	}
	if w.root, err = filepath.EvalSymlinks(from.name); err == nil {
		w.root, err = filepath.Abs(w.root)
	}
	if err != nil {
		return err
	}
	if p := strings.TrimSuffix(from.prefix, "/"); p != "" {
		w.prefix = p + "/"
		t.folders = append(t.folders, localFolder{p, info.Mode(), o.modes})
	}
	return w.folder(from.name, "", []fs.FileInfo{info})
}

// arrange sorts, and finds what two sources have.
func (t *localTree) arrange() error {
	slices.SortFunc(t.files, func(a, b localFile) int { return strings.Compare(a.path, b.path) })
	for i := 1; i < len(t.files); i++ {
		if t.files[i].path == t.files[i-1].path {
			return usage("%s and %s have the same name", t.files[i-1].name, t.files[i].name)
		}
	}
	slices.SortFunc(t.links, func(a, b manifest.Link) int { return strings.Compare(a.Path, b.Path) })
	slices.SortFunc(t.folders, func(a, b localFolder) int {
		return cmp.Or(strings.Compare(a.path, b.path), cmp.Compare(a.mode, b.mode))
	})
	slices.SortFunc(t.leftOut, func(a, b leftOut) int { return strings.Compare(a.Path, b.Path) })
	for i := 1; i < len(t.folders); i++ {
		if a, b := t.folders[i-1], t.folders[i]; a.path == b.path && a.keep && a.mode.Perm() != b.mode.Perm() {
			return usage("%s: two sources have this folder, with the modes %04o and %04o", a.path, a.mode.Perm(), b.mode.Perm())
		}
	}
	t.folders = slices.CompactFunc(t.folders, func(a, b localFolder) bool { return a.path == b.path })
	return nil
}

// listed returns the folders that a manifest with these links lists: those that are
// empty, and those whose mode is recorded.
func (t *localTree) listed(links []manifest.Link) (list []manifest.Folder) {
	full := t.full(links)
	for _, f := range t.folders {
		switch {
		case f.keep:
			list = append(list, manifest.Folder{Path: f.path, Mode: manifest.ModeOf(f.mode)})
		case !full[f.path]:
			list = append(list, manifest.Folder{Path: f.path})
		}
	}
	return list
}

// emptyFolders are those with nothing in them.
func (t *localTree) emptyFolders() map[string]bool {
	full, empty := t.full(t.links), make(map[string]bool)
	for _, f := range t.folders {
		if !full[f.path] {
			empty[f.path] = true
		}
	}
	return empty
}

// full are the folders with something in them, if the links are these.
func (t *localTree) full(links []manifest.Link) map[string]bool {
	full := make(map[string]bool)
	note := func(p string) {
		for p = path.Dir(p); p != "." && !full[p]; p = path.Dir(p) {
			full[p] = true
		}
	}
	for i := range t.files {
		note(t.files[i].path)
	}
	for _, l := range links {
		note(l.Path)
	}
	for _, f := range t.folders {
		note(f.path)
	}
	return full
}

// spool keeps what cannot be read twice in a file of its own.
func (t *localTree) spool(from io.Reader, as string, o walkOptions) error {
	f, err := t.spoolFile(from, as, 0o644, o)
	if err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	t.files = append(t.files, f)
	return nil
}

// spoolFile copies one file's bytes. It has the path and mode that are given.
func (t *localTree) spoolFile(from io.Reader, as string, mode fs.FileMode, o walkOptions) (localFile, error) {
	if t.temp == "" {
		temp, err := os.MkdirTemp("", "artifactstore-push-")
		if err != nil {
			return localFile{}, err
		}
		t.temp = temp
	}
	name := filepath.Join(t.temp, strconv.Itoa(len(t.files)))
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return localFile{}, err
	}
	_, err = io.Copy(file, from)
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return localFile{}, err
	}
	info, err := os.Stat(name)
	if err != nil {
		return localFile{}, err
	}
	f := newLocalFile(as, name, info, mode, o.modes)
	f.allowed = o.allows(as)
	if !f.allowed {
		_, err = t.noteSecret(name, as, info)
	}
	return f, err
}

// interruptible reads until its context ends, even if whoever writes says nothing.
type interruptible struct {
	ctx  context.Context
	from io.Reader
}

func (r *interruptible) Read(p []byte) (int, error) {
	// A read that nobody waits for any more must not touch the caller's buffer.
	buffer := make([]byte, len(p))
	n, err := interrupt.Do(r.ctx, func() (int, error) { return r.from.Read(buffer) })
	return copy(p, buffer[:n]), err
}
