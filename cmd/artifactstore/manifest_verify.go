package main

import (
	"context"
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
)

func (a *app) manifestVerifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify FILE|PRODUCER/NAME@VERSION DIR",
		Short: "Compare a folder with a manifest; exit 3 if they differ",
		Args:  cobra.ExactArgs(2),
		RunE:  a.verb(func(ctx context.Context, args []string) error { return a.manifestVerify(ctx, args[0], args[1]) }),
	}
}

// Kinds of difference.
const (
	differenceMissing    = "missing"    // in the manifest, not on disk
	differenceExtra      = "extra"      // on disk, not in the manifest
	differenceContent    = "content"    // the bytes differ
	differenceExecutable = "executable" // the executable bit differs
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
	files, err := collectFiles([]string{dir}, false)
	if err != nil {
		return err
	}
	progress := a.meter("hashing", totalSize(files))
	err = hashFiles(ctx, files, 0, progress)
	progress.finish()
	if err != nil {
		return err
	}
	differences := compareFiles(m.Files, files)
	result := struct {
		ManifestDigest digest.Digest `json:"manifestDigest"`
		Files          int           `json:"files"`
		Bytes          int64         `json:"bytes"`
		Differences    []difference  `json:"differences"`
	}{manifest.Digest(encoded), len(m.Files), m.Bytes(), differences}
	err = a.print(result, func(w *tabwriter.Writer) {
		for _, d := range differences {
			row(w, d.Difference, d.Path)
		}
		if len(differences) == 0 {
			fmt.Fprintf(w, "%s matches %s: %d files, %d bytes\n", shown(dir), result.ManifestDigest, result.Files, result.Bytes)
		}
	})
	if err != nil {
		return err
	}
	if len(differences) > 0 {
		return integrity(dir, "%d differences from %s; the first is %s (%s)", len(differences), name, differences[0].Path, differences[0].Difference)
	}
	return nil
}

// compareFiles compares two lists that are both sorted by path.
func compareFiles(want []manifest.File, have []localFile) []difference {
	found := []difference{}
	note := func(path, what string) { found = append(found, difference{path, what}) }
	for len(want) > 0 || len(have) > 0 {
		switch {
		case len(have) == 0 || len(want) > 0 && want[0].Path < have[0].path:
			note(want[0].Path, differenceMissing)
			want = want[1:]
		case len(want) == 0 || have[0].path < want[0].Path:
			note(have[0].path, differenceExtra)
			have = have[1:]
		default:
			if want[0].Size != have[0].size() || want[0].Digests != have[0].digests {
				note(want[0].Path, differenceContent)
			}
			if want[0].Executable != have[0].executable {
				note(want[0].Path, differenceExecutable)
			}
			want, have = want[1:], have[1:]
		}
	}
	return found
}
