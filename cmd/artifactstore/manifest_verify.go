package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

func (a *app) manifestVerifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify FILE|PRODUCER/NAME@VERSION DIR",
		Short: "Compare a folder with a manifest; exit 3 if they differ",
		Long: `Compare a folder with the manifest of a package or in a file: files and their
bytes, symbolic links, empty folders, executable bits, and permission bits if the
manifest has them. The last line says what is not compared.`,
		Example: "  artifactstore manifest verify ci/webapp@1.4.2 ./dist",
		Args:    cobra.ExactArgs(2),
		RunE:    a.verb(func(ctx context.Context, args []string) error { return a.manifestVerify(ctx, args[0], args[1]) }),
	}
}

// Kinds of difference.
const (
	differenceMissing    = "missing"    // in the manifest, not on disk
	differenceExtra      = "extra"      // on disk, not in the manifest
	differenceContent    = "content"    // the bytes differ
	differenceExecutable = "executable" // the executable bit differs
	differenceMode       = "mode"       // the permission bits differ
	differenceTarget     = "target"     // the link points elsewhere
	differenceKind       = "kind"       // such as a file where the manifest has a link
)

type difference struct {
	Path       string `json:"path"`
	Difference string `json:"difference"`
}

func (a *app) manifestVerify(ctx context.Context, name, dir string) error {
	encoded, m, err := a.loadManifest(ctx, name)
	if err != nil {
		return err
	}
	if info, err := os.Stat(dir); err != nil {
		return err
	} else if !info.IsDir() {
		return usage("%s: not a folder", dir)
	}
	tree := &localTree{}
	if err := errors.Join(tree.add(dir, true, walkOptions{modes: true, anyLink: true}), tree.arrange()); err != nil {
		return err
	}
	progress := a.meter("hashing", totalSize(tree.files)).of(len(tree.files))
	err = hashFiles(ctx, tree.files, 0, progress)
	progress.finish()
	if err != nil {
		return err
	}
	differences, notCompared := compareTree(m, tree)
	result := struct {
		ManifestDigest digest.Digest `json:"manifestDigest"`
		Files          int           `json:"files"`
		Bytes          int64         `json:"bytes"`
		Links          int           `json:"links,omitempty"`
		EmptyFolders   int           `json:"emptyFolders,omitempty"`
		Differences    []difference  `json:"differences"`
		NotCompared    []string      `json:"notCompared"`
	}{manifest.Digest(encoded), len(m.Files), m.Bytes(), len(m.Links), m.EmptyFolders(), differences, notCompared}
	err = a.print(result, func(w *tabwriter.Writer) {
		for _, d := range differences {
			row(w, d.Difference, d.Path)
		}
		if len(differences) == 0 {
			fmt.Fprintf(w, "%s matches %s: %d files, %d bytes\n", shown(dir), result.ManifestDigest, result.Files, result.Bytes)
		}
		fmt.Fprintf(w, "not compared: %s\n", strings.Join(notCompared, "; "))
	})
	if err != nil {
		return err
	}
	if len(differences) > 0 {
		return integrity(dir, "%d differences from %s; the first is %s (%s)", len(differences), name, differences[0].Path, differences[0].Difference)
	}
	return nil
}

// compareTree compares a manifest with a hashed tree, all modes of which are recorded. A
// manifest without links and folders may be of a client that could not record them, so
// the empty folders of the tree are then not compared.
func compareTree(m *manifest.Manifest, t *localTree) (found []difference, notCompared []string) {
	notCompared = []string{"times"}
	if !m.HasModes() {
		notCompared = append(notCompared, "modes")
	}
	want, listed := itemsOf(m), make(map[string]bool)
	for _, f := range m.Folders {
		listed[f.Path] = true
	}
	empty, unlisted := t.emptyFolders(), 0
	have := slices.DeleteFunc(itemsOf(manifestOf(registry.OpenUpload{}, t, t.links, true)), func(i item) bool {
		switch {
		case i.kind != aFolder || listed[i.path]:
			return false
		case !empty[i.path]: // it is there without being listed
			return true
		case len(m.Links) == 0 && len(m.Folders) == 0:
			unlisted++
			return true
		}
		return false
	})
	if unlisted > 0 {
		notCompared = append(notCompared, plural(unlisted, "empty folder"))
	}
	found = []difference{}
	note := func(path, what string) { found = append(found, difference{path, what}) }
	for len(want) > 0 || len(have) > 0 {
		switch {
		case len(have) == 0 || len(want) > 0 && want[0].path < have[0].path:
			note(want[0].path, differenceMissing)
			want = want[1:]
		case len(want) == 0 || have[0].path < want[0].path:
			note(have[0].path, differenceExtra)
			have = have[1:]
		default:
			for _, what := range want[0].differences(have[0]) {
				note(want[0].path, what)
			}
			want, have = want[1:], have[1:]
		}
	}
	return found, notCompared
}

// Kinds of item.
const (
	aFile = iota
	aLink
	aFolder
)

// item is one entry of a manifest.
type item struct {
	path   string
	kind   int
	file   manifest.File
	target string
	mode   manifest.Mode
}

// itemsOf lists all entries by path.
func itemsOf(m *manifest.Manifest) []item {
	items := make([]item, 0, len(m.Files)+len(m.Links)+len(m.Folders))
	for _, f := range m.Files {
		items = append(items, item{path: f.Path, kind: aFile, file: f, mode: f.Mode})
	}
	for _, l := range m.Links {
		items = append(items, item{path: l.Path, kind: aLink, target: l.Target})
	}
	for _, f := range m.Folders {
		items = append(items, item{path: f.Path, kind: aFolder, mode: f.Mode})
	}
	slices.SortFunc(items, func(a, b item) int { return strings.Compare(a.path, b.path) })
	return items
}

func (i *item) differences(have item) (found []string) {
	if i.kind != have.kind {
		return []string{differenceKind}
	}
	if i.file.Size != have.file.Size || i.file.Digests != have.file.Digests {
		found = append(found, differenceContent)
	}
	if i.target != have.target {
		found = append(found, differenceTarget)
	}
	switch {
	case i.mode.Recorded() && i.mode != have.mode:
		found = append(found, differenceMode)
	case !i.mode.Recorded() && i.file.Executable != have.file.Executable:
		found = append(found, differenceExecutable)
	}
	return found
}
