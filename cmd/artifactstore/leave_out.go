package main

import (
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/coulomb/artifact-store/cmd/artifactstore/secrets"
	"github.com/coulomb/artifact-store/cmd/artifactstore/selection"
	"github.com/coulomb/artifact-store/pkg/regular"
)

// secretsInError are named when secrets stop a push.
const secretsInError = 10

// foundSecret is a secret that would be pushed.
type foundSecret struct{ path, what string }

// globs is the value of --exclude.
type globs []selection.Glob

func (g *globs) String() string { return "" }
func (g *globs) Type() string   { return "glob" }

func (g *globs) Set(text string) error {
	glob, err := selection.ParseGlob(text)
	if err == nil {
		*g = append(*g, glob)
	}
	return err
}

// decide returns what leaves an entry out, or with kept what an ignore file takes back.
func (w *walker) decide(path, packaged string, folder bool) (why string, kept bool) {
	for _, glob := range w.exclude {
		if glob.Match(packaged, folder) {
			w.into.match(glob)
			why = cmp.Or(why, "--exclude "+glob.String())
		}
	}
	if why != "" {
		return why, false
	}
	return w.ignored.Find(path, folder)
}

// match notes that a glob matched something.
func (t *localTree) match(glob selection.Glob) {
	if t.matched == nil {
		t.matched = make(map[string]bool)
	}
	t.matched[glob.String()] = true
}

// unmatched lists the globs that matched nothing: they may be misspelt.
func (t *localTree) unmatched(all globs) (list []string) {
	for _, glob := range all {
		if !t.matched[glob.String()] {
			list = append(list, glob.String())
		}
	}
	return list
}

// allows reports whether a secret may be pushed, by its path or that of a folder above.
func (o *walkOptions) allows(packaged string) bool {
	if !o.secrets {
		return true
	}
	for _, included := range o.included {
		if packaged == included || strings.HasPrefix(packaged, included+"/") {
			return true
		}
	}
	return false
}

// noteSecret notes what is a secret by its name. Private keys are found as files are hashed.
func (t *localTree) noteSecret(name, packaged string, info fs.FileInfo) (bool, error) {
	switch base := path.Base(packaged); {
	case info.IsDir() && base == ".git":
		t.found = append(t.found, foundSecret{packaged + "/", "a Git repository"})
		return true, nil
	case info.Mode().IsRegular() && secrets.IsEnvironment(base):
		file, err := regular.Open(name)
		if err != nil {
			return false, err
		}
		defer file.Close()
		has, err := secrets.HasValue(file)
		if has {
			t.found = append(t.found, foundSecret{packaged, "values of environment variables"})
		}
		return has, err
	}
	return false, nil
}

// noteKeys reads the first line of each file: what else was found stops the push, so
// hashing all of them would be for nothing.
func (t *localTree) noteKeys() error {
	for i := range t.files {
		f := &t.files[i]
		if f.allowed {
			continue
		}
		file, err := f.open()
		if err != nil {
			return err
		}
		begin, err := io.ReadAll(io.LimitReader(file, secrets.KeyBytes))
		file.Close()
		if err != nil {
			return err
		}
		f.privateKey = secrets.IsPrivateKey(begin)
	}
	return nil
}

// refuseSecrets is one error for all secrets that were found.
func (t *localTree) refuseSecrets() error {
	found := t.found
	for i := range t.files {
		if f := &t.files[i]; f.privateKey && !f.allowed {
			found = append(found, foundSecret{f.path, "a private key"})
		}
	}
	if len(found) == 0 {
		return nil
	}
	var list strings.Builder
	for i, secret := range found {
		if i == secretsInError {
			fmt.Fprintf(&list, ", and %d more", len(found)-i)
			break
		}
		if i > 0 {
			list.WriteString(", ")
		}
		fmt.Fprintf(&list, "%s (%s)", shown(secret.path), secret.what)
	}
	return usage("%s would be published: %s; leave them out with --exclude or %s, or allow each with --include-secrets PATH", plural(len(found), "secret"), list.String(), selection.IgnoreFile)
}

// checkIncluded refuses paths of --include-secrets that name nothing: they may be misspelt.
func (t *localTree) checkIncluded(included []string) error {
	for _, want := range included {
		o := walkOptions{secrets: true, included: []string{want}}
		known := false
		for i := range t.files {
			known = known || o.allows(t.files[i].path)
		}
		if !known {
			return usage("--include-secrets: no file is pushed as %s", shown(want))
		}
	}
	return nil
}

// addIgnoreFile reads an ignore file of a folder of a tree.
func addIgnoreFile(into *selection.Ignored, folder, name string, from io.Reader) error {
	content, err := io.ReadAll(io.LimitReader(from, selection.MaxIgnoreFile+1))
	if err == nil && len(content) > selection.MaxIgnoreFile {
		err = fmt.Errorf("larger than %d bytes", selection.MaxIgnoreFile)
	}
	if err == nil {
		err = into.Add(folder, content)
	}
	if err != nil {
		return usage("%s: %w", name, err)
	}
	return nil
}

// plural counts things whose plural ends in s.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
