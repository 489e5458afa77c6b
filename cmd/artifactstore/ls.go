package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

func (a *app) lsCommand() *cobra.Command {
	recursive := false
	command := &cobra.Command{
		Use:   "ls PRODUCER/NAME[@VERSION|:TAG] [PATH]",
		Short: "List the files of a package",
		Long: `List what is in a package, or in a folder of it. A folder is one line, with a
slash at its end, and with the files and bytes below it.`,
		Example:           "  artifactstore ls ci/webapp@1.4.2\n  artifactstore ls ci/webapp@1.4.2 static/js -r",
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: a.completePackages,
		RunE: a.verb(func(ctx context.Context, args []string) error {
			path := ""
			if len(args) == 2 {
				path = args[1]
			}
			return a.ls(ctx, args[0], path, recursive)
		}),
	}
	command.Flags().BoolVarP(&recursive, "recursive", "r", false, "list every file, however deep")
	return command
}

// entry is a file or a folder of a listing.
type entry struct {
	Path       string `json:"path"` // a folder's ends with a slash
	Size       int64  `json:"size"` // of all files below a folder
	Files      int    `json:"files,omitempty"`
	Executable bool   `json:"executable,omitempty"`
	MediaType  string `json:"mediaType,omitempty"`
	SHA256     string `json:"sha256,omitempty"`
	BLAKE3     string `json:"blake3,omitempty"`
}

func (a *app) ls(ctx context.Context, name, path string, recursive bool) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	ref, err := a.findRef(ctx, client, name, 0)
	if err != nil {
		return err
	}
	_, m, err := readManifest(ctx, client, ref)
	if err != nil {
		return err
	}
	entries, found := entriesBelow(m.Files, path, recursive)
	if !found {
		return named(ref.String(), noPath(path))
	}
	all := struct {
		registry.PackageRef
		Entries []entry `json:"entries"`
	}{ref, entries}
	if a.output == formatJSON || a.output == formatYAML {
		return a.print(all, nil)
	}
	table := columns{head: []string{"SIZE", "FILES", "PATH"}, right: []int{0, 1}}
	if a.output == formatWide {
		table.head = []string{"SIZE", "FILES", "EXECUTABLE", "SHA256", "PATH"}
	}
	for _, e := range entries {
		files := any("")
		if e.Files > 0 {
			files = e.Files
		}
		if a.output == formatWide {
			table.add(e.Size, files, e.Executable, e.SHA256, e.Path)
			continue
		}
		table.add(size(e.Size), files, e.Path)
	}
	return table.print(a.stdout, 0) // paths are for copying
}

// noPath says that a package has no such file.
func noPath(path string) error {
	return &notThere{path}
}

type notThere struct{ path string }

func (e *notThere) Error() string        { return shown(e.path) + ": no such file or folder in the package" }
func (e *notThere) Is(target error) bool { return target == registry.ErrNotFound }

// entriesBelow lists what is directly below a folder, or with recursive every file there.
// It returns false if there is neither such a folder nor such a file.
func entriesBelow(files []manifest.File, path string, recursive bool) (entries []entry, found bool) {
	path = strings.Trim(strings.TrimPrefix(path, "./"), "/")
	if path == "." {
		path = ""
	}
	entries = []entry{}
	for _, f := range files {
		below, inside := f.Path, true
		if path != "" {
			below, inside = strings.CutPrefix(f.Path, path+"/")
		}
		if !inside && f.Path != path {
			continue
		}
		folder, _, deeper := strings.Cut(below, "/")
		if !inside || recursive || !deeper {
			entries = append(entries, entry{
				Path: f.Path, Size: f.Size, Executable: f.Executable, MediaType: f.MediaType,
				SHA256: f.Digests.SHA256.String(), BLAKE3: f.Digests.BLAKE3.String(),
			})
			continue
		}
		folder = strings.TrimPrefix(path+"/"+folder+"/", "/")
		if last := len(entries) - 1; last >= 0 && entries[last].Path == folder {
			entries[last].Files++
			entries[last].Size += f.Size
			continue
		}
		entries = append(entries, entry{Path: folder, Size: f.Size, Files: 1})
	}
	slices.SortFunc(entries, func(x, y entry) int { return strings.Compare(x.Path, y.Path) })
	return entries, path == "" || len(entries) > 0
}
