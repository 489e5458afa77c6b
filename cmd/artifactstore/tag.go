package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/pkg/registry"
)

func (a *app) tagCommand() *cobra.Command {
	immutable := false
	command := &cobra.Command{
		Use:   "tag PRODUCER/NAME@VERSION TAG...",
		Short: "Point a tag to a version, and see what tags point to",
		Long: `Point tags to a version. A tag is a name that may be moved; what it pointed to
before stays in its history. A tag cannot have the name of a version.`,
		Example:           "  artifactstore tag me/api@1.4 stable\n  artifactstore pull me/api:stable -d ./api",
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: a.completePackages,
		RunE:              a.verb(func(ctx context.Context, args []string) error { return a.tag(ctx, args[0], args[1:], immutable) }),
	}
	command.Flags().BoolVar(&immutable, "immutable", false, "the tag can never be moved or removed")
	command.AddCommand(a.tagListCommand(), a.tagHistoryCommand(), a.tagRemoveCommand())
	return command
}

func (a *app) tag(ctx context.Context, name string, tags []string, immutable bool) error {
	w, err := parseWanted(name)
	if err != nil {
		return err
	}
	for _, tag := range tags {
		if err := registry.ValidateTag(tag); err != nil {
			return asUsage(err)
		}
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	ref, err := w.resolve(ctx, client)
	if err != nil {
		return err
	}
	set := []registry.Tag{}
	for _, tag := range tags {
		one, err := client.SetTag(ctx, registry.TagRef{Producer: ref.Producer, Name: ref.Name, Tag: tag}, registry.TagSetting{Version: ref.Version, Manifest: w.manifest, Immutable: immutable})
		if errors.Is(err, registry.ErrNotFound) {
			return named(ref.String(), err)
		}
		if err != nil {
			return named(ref.Producer+"/"+ref.Name+":"+tag, err)
		}
		set = append(set, one)
	}
	return a.print(struct {
		Tags []registry.Tag `json:"tags"`
	}{set}, func(w *tabwriter.Writer) {
		for _, one := range set {
			row(w, one.TagRef, one.Version, one.ManifestDigest)
		}
	})
}

func (a *app) tagListCommand() *cobra.Command {
	var at uint64
	command := &cobra.Command{
		Use:     "list PRODUCER/NAME",
		Short:   "List the tags of a package name",
		Example: "  artifactstore tag list me/api\n  artifactstore tag list me/api --at 1700",
		Args:    cobra.ExactArgs(1),
		RunE: a.verb(func(ctx context.Context, args []string) error {
			w, err := parseWanted(args[0])
			if err != nil {
				return err
			}
			if w.version != "" || w.tag != "" || !w.manifest.IsZero() {
				return usage("%s: must be PRODUCER/NAME", shown(args[0]))
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			tags := []registry.Tag{}
			for query := (registry.TagQuery{Producer: w.producer, Name: w.name, At: at, Limit: registry.MaxPackagePage}); ; {
				page, err := client.ListTags(ctx, query)
				if err != nil {
					return err
				}
				tags = append(tags, page.Tags...)
				if query.After = page.Next; page.Next == "" {
					return a.printTags(tags, "TAG", func(t registry.Tag) string { return t.Tag })
				}
			}
		}),
	}
	atFlag(command, &at)
	return command
}

func (a *app) tagHistoryCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "history PRODUCER/NAME:TAG",
		Short:   "List what a tag pointed to, the last first",
		Example: "  artifactstore tag history me/api:stable",
		Args:    cobra.ExactArgs(1),
		RunE: a.verb(func(ctx context.Context, args []string) error {
			ref, err := registry.ParseTagRef(args[0])
			if err != nil {
				return asUsage(err)
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			tags := []registry.Tag{}
			for query := (registry.HistoryQuery{Limit: registry.MaxPackagePage}); ; {
				page, err := client.ListTagHistory(ctx, ref, query)
				if err != nil {
					return err
				}
				tags = append(tags, page.Tags...)
				if page.Next == "" {
					break
				}
				if query.Before, err = strconv.ParseUint(page.Next, 10, 64); err != nil {
					return fmt.Errorf("the registry says that the history continues before %q, which is no position", page.Next)
				}
			}
			return a.printTags(tags, "POSITION", func(t registry.Tag) string { return fmt.Sprint(t.Position) })
		}),
	}
}

// printTags prints tags, with what the first column is for.
func (a *app) printTags(tags []registry.Tag, head string, first func(registry.Tag) string) error {
	if a.output == formatJSON || a.output == formatYAML {
		return a.print(struct {
			Tags []registry.Tag `json:"tags"`
		}{tags}, nil)
	}
	now := time.Now()
	table := columns{head: []string{head, "VERSION", "SET", "BY"}, short: []int{0, 1, 3}}
	if a.output == formatWide {
		table.head = append(table.head, "IMMUTABLE", "POSITION", "MANIFEST")
	}
	for _, t := range tags {
		version, manifest := t.Version, t.ManifestDigest.String()
		if version == "" {
			version, manifest = "(removed)", ""
		}
		cells := []any{first(t), version, ago(t.Time, now), t.Actor}
		if a.output == formatWide {
			cells[2] = t.Time.UTC().Format(time.RFC3339)
			cells = append(cells, t.Immutable, t.Position, manifest)
		}
		table.add(cells...)
	}
	width := a.columnsOfTerminal()
	if a.output == formatWide {
		width = 0
	}
	return table.print(a.stdout, width)
}

func (a *app) tagRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "remove PRODUCER/NAME:TAG...",
		Short:   "Remove tags; their history and the packages stay",
		Example: "  artifactstore tag remove me/api:preview",
		Args:    cobra.MinimumNArgs(1),
		RunE: a.verb(func(ctx context.Context, args []string) error {
			refs := make([]registry.TagRef, len(args))
			for i, text := range args {
				ref, err := registry.ParseTagRef(text)
				if err != nil {
					return asUsage(err)
				}
				refs[i] = ref
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			for _, ref := range refs {
				if err := client.RemoveTag(ctx, ref); err != nil {
					return named(ref.String(), err)
				}
			}
			return a.print(struct {
				Removed []registry.TagRef `json:"removed"`
			}{refs}, func(w *tabwriter.Writer) {
				for _, ref := range refs {
					fmt.Fprintf(w, "%s removed\n", ref)
				}
			})
		}),
	}
}
