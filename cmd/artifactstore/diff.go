package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

type diffOptions struct{ stat, exitCode bool }

func (a *app) diffCommand() *cobra.Command {
	var o diffOptions
	command := &cobra.Command{
		Use:   "diff PACKAGE PACKAGE|@VERSION|:TAG",
		Short: "Compare the files of two packages",
		Long: `List which files the second package has more (A), has no more (D), and has with
other bytes or another mode (M). No bytes are fetched: the manifests tell.
Without a name, the second package is another version of the first.`,
		Example: "  artifactstore diff ci/webapp@1.4.1 @1.4.2\n  artifactstore diff ci/webapp@1.4.1 @1.4.2 --stat",
		Args:    cobra.ExactArgs(2),
		RunE:    a.verb(func(ctx context.Context, args []string) error { return a.diff(ctx, o, args) }),
	}
	flags := command.Flags()
	flags.BoolVar(&o.stat, "stat", false, "only how many files and bytes")
	flags.BoolVar(&o.exitCode, "exit-code", false, "exit with 1 if they differ")
	command.ValidArgsFunction = a.completePackages
	return command
}

// change is a file that differs.
type change struct {
	Change  string `json:"change"` // added, removed or changed
	Path    string `json:"path"`
	OldSize *int64 `json:"oldSize,omitempty"`
	NewSize *int64 `json:"newSize,omitempty"`
	// Mode says that its permissions have changed; its bytes may be the same.
	Mode bool `json:"mode,omitempty"`
	// Targets of a symbolic link.
	OldTarget string `json:"oldTarget,omitempty"`
	NewTarget string `json:"newTarget,omitempty"`
}

const (
	added   = "added"
	removed = "removed"
	changed = "changed"
)

// compared is what diff found.
type compared struct {
	Old        registry.PackageRef `json:"old"`
	New        registry.PackageRef `json:"new"`
	Changes    []change            `json:"changes,omitzero"` // not with --stat
	Added      int                 `json:"added"`
	Removed    int                 `json:"removed"`
	Changed    int                 `json:"changed"`
	Unchanged  int                 `json:"unchanged"`
	BytesAdded int64               `json:"bytesAdded"` // of added and changed files
	BytesGone  int64               `json:"bytesGone"`  // of removed and changed files
}

func (a *app) diff(ctx context.Context, o diffOptions, args []string) error {
	second := args[1]
	if strings.HasPrefix(second, "@") || strings.HasPrefix(second, ":") { // of the same name
		first := args[0]
		if end := strings.IndexAny(first, "@:"); end >= 0 {
			first = first[:end]
		}
		second = first + second
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	old, err := a.findRef(ctx, client, args[0], 0)
	if err != nil {
		return err
	}
	fresh, err := a.findRef(ctx, client, second, 0)
	if err != nil {
		return err
	}
	_, before, err := readManifest(ctx, client, old)
	if err != nil {
		return err
	}
	_, after, err := readManifest(ctx, client, fresh)
	if err != nil {
		return err
	}
	result := comparePackages(before, after)
	result.Old, result.New = old, fresh
	if err := a.printDiff(o, result); err != nil {
		return err
	}
	if o.exitCode && len(result.Changes) > 0 {
		return fmt.Errorf("%s and %s differ", old, fresh)
	}
	return nil
}

// comparePackages compares files, symbolic links, and the folders that the manifests list.
// A folder's path ends with a slash.
func comparePackages(before, after *manifest.Manifest) compared {
	result := compareFiles(before.Files, after.Files)
	compareBy(&result, before.Links, after.Links, func(l manifest.Link) string { return l.Path }, func(c *change, x, y *manifest.Link) {
		if x != nil {
			c.OldTarget = x.Target
		}
		if y != nil {
			c.NewTarget = y.Target
		}
	})
	compareBy(&result, before.Folders, after.Folders, func(f manifest.Folder) string { return f.Path + "/" }, func(c *change, x, y *manifest.Folder) {
		c.Mode = x != nil && y != nil
	})
	slices.SortStableFunc(result.Changes, func(a, b change) int { return strings.Compare(a.Path, b.Path) })
	return result
}

// compareBy adds what differs between two lists of what has no bytes.
func compareBy[T comparable](result *compared, before, after []T, path func(T) string, describe func(c *change, x, y *T)) {
	old := make(map[string]T, len(before))
	for _, x := range before {
		old[path(x)] = x
	}
	for _, y := range after {
		c := change{Change: added, Path: path(y)}
		x, was := old[c.Path]
		delete(old, c.Path)
		switch {
		case !was:
			result.Added++
			describe(&c, nil, &y)
		case x == y:
			result.Unchanged++
			continue
		default:
			result.Changed++
			c.Change = changed
			describe(&c, &x, &y)
		}
		result.Changes = append(result.Changes, c)
	}
	for p, x := range old {
		c := change{Change: removed, Path: p}
		result.Removed++
		describe(&c, &x, nil)
		result.Changes = append(result.Changes, c)
	}
}

// compareFiles compares two lists that are sorted by path.
func compareFiles(before, after []manifest.File) (result compared) {
	result.Changes = []change{}
	for len(before) > 0 || len(after) > 0 {
		switch {
		case len(after) == 0 || len(before) > 0 && before[0].Path < after[0].Path:
			f := before[0]
			before = before[1:]
			result.Removed++
			result.BytesGone += f.Size
			result.Changes = append(result.Changes, change{Change: removed, Path: f.Path, OldSize: &f.Size})
		case len(before) == 0 || after[0].Path < before[0].Path:
			f := after[0]
			after = after[1:]
			result.Added++
			result.BytesAdded += f.Size
			result.Changes = append(result.Changes, change{Change: added, Path: f.Path, NewSize: &f.Size})
		default:
			x, y := before[0], after[0]
			before, after = before[1:], after[1:]
			if x == y {
				result.Unchanged++
				continue
			}
			result.Changed++
			if x.Digests != y.Digests {
				result.BytesGone += x.Size
				result.BytesAdded += y.Size
			}
			result.Changes = append(result.Changes, change{Change: changed, Path: x.Path, OldSize: &x.Size, NewSize: &y.Size, Mode: x.Executable != y.Executable || x.Mode != y.Mode})
		}
	}
	return result
}

// details is what follows the path in a line of diff.
func (c change) details() string {
	var what []string
	switch {
	case c.OldSize != nil && c.NewSize != nil:
		what = append(what, size(*c.OldSize)+" -> "+size(*c.NewSize))
	case c.OldSize != nil:
		what = append(what, size(*c.OldSize))
	case c.NewSize != nil:
		what = append(what, size(*c.NewSize))
	case c.OldTarget != "" && c.NewTarget != "":
		what = append(what, "link to "+shown(c.OldTarget)+" -> "+shown(c.NewTarget))
	case c.OldTarget != "" || c.NewTarget != "":
		what = append(what, "link to "+shown(c.OldTarget+c.NewTarget))
	}
	if c.Mode {
		what = append(what, "mode")
	}
	if len(what) == 0 {
		return ""
	}
	return "  " + strings.Join(what, ", ")
}

func (a *app) printDiff(o diffOptions, result compared) error {
	if a.output == formatJSON || a.output == formatYAML {
		if o.stat {
			result.Changes = nil
		}
		return a.print(result, nil)
	}
	if !o.stat {
		for _, c := range result.Changes {
			line := map[string]string{added: "A", removed: "D", changed: "M"}[c.Change] + "  " + shown(c.Path) + c.details()
			if _, err := fmt.Fprintln(a.stdout, line); err != nil {
				return err
			}
		}
	}
	_, err := fmt.Fprintf(a.stdout, "%d added, %d removed, %d changed, %d unchanged; +%s, -%s\n",
		result.Added, result.Removed, result.Changed, result.Unchanged, size(result.BytesAdded), size(result.BytesGone))
	return err
}
