package main

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/pkg/glob"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/versions"
)

type listOptions struct {
	registry.PackageFilter
	tier         string
	since, until when
	sort         string
	reverse      bool
	latest       bool
	limit        int
}

// What list sorts by.
const (
	byVersion   = "version"
	byPublished = "published"
	bySize      = "size"
)

func (a *app) listCommand() *cobra.Command {
	var o listOptions
	command := &cobra.Command{
		Use:   "list [PRODUCER[/NAME[@VERSION]]]",
		Short: "List packages",
		Long: `List packages: all of them, those of a producer, or those with a name. Each part
may be a pattern: * stands for any text within one component of a name, **
also for slashes, ? for one character; a name that is * alone is any name.

Versions are in the order that people mean: 1.9 before 1.10, 2.0.0-rc1 before
2.0.0. Others come before those, with numbers in them as numbers.`,
		Example: "  artifactstore list ci/webapp\n  artifactstore list 'ci/*' --latest\n  artifactstore list --since 7d --sort published --limit 20",
		Args:    cobra.MaximumNArgs(1),
		RunE: a.verb(func(ctx context.Context, args []string) error {
			return a.list(ctx, o, args)
		}),
		ValidArgsFunction: a.completePackages,
	}
	flags := command.Flags()
	flags.StringVar(&o.Producer, "producer", "", "only packages of this producer")
	flags.StringVar(&o.Name, "name", "", "only packages with this name")
	flags.StringVar(&o.RetentionClass, "retention-class", "", "only packages in this retention class")
	flags.StringVar(&o.tier, "tier", "", "only packages of this tier: hot, warm or cold")
	flags.StringVar(&o.Actor, "actor", "", "only packages that they published")
	flags.Var((*annotations)(&o.Annotations), "annotation", "only packages with this annotation; may be repeated")
	flags.Var(&o.since, "since", "only packages published then or later: a time, a day\n(2026-01-31), or how long ago (24h, 7d)")
	flags.Var(&o.until, "until", "only packages published before")
	flags.StringVar(&o.sort, "sort", byVersion, "version (names, then versions), published (newest\nfirst) or size (largest first)")
	flags.BoolVar(&o.reverse, "reverse", false, "turn the order around")
	flags.BoolVar(&o.latest, "latest", false, "only the newest version of each name: the highest\nrelease if all versions are numbers such as 1.2.3,\nelse the last published")
	flags.IntVar(&o.limit, "limit", 0, "at most that many")
	atFlag(command, &o.At)
	complete(command, "sort", byVersion, byPublished, bySize)
	complete(command, "tier", string(registry.TierHot), string(registry.TierWarm), string(registry.TierCold))
	return command
}

// pattern is the argument of list, parted.
type pattern struct{ producer, version string }

// narrow reads the argument into the filter, and returns what the filter cannot say.
func (o *listOptions) narrow(args []string) (p pattern, err error) {
	if len(args) == 0 {
		return p, nil
	}
	if o.Producer != "" || o.Name != "" {
		return p, usage("%s: not together with --producer or --name", args[0])
	}
	text := args[0]
	if at := strings.LastIndexByte(text, '@'); at >= 0 {
		if text, p.version = text[:at], text[at+1:]; p.version == "" {
			return p, usage("%s: the version after @ is missing", args[0])
		}
	}
	producer, name, named := strings.Cut(text, "/")
	if producer == "" || named && name == "" || p.version != "" && !named {
		return p, usage("%s: must be PRODUCER, PRODUCER/NAME or PRODUCER/NAME@VERSION", args[0])
	}
	if glob.Is(producer) {
		p.producer = producer
	} else {
		o.Producer = producer
	}
	if glob.Is(name) {
		o.NameGlob = name
	} else {
		o.Name = name
	}
	return p, nil
}

func (p pattern) matches(ref registry.PackageRef) bool {
	return (p.producer == "" || glob.Match(p.producer, ref.Producer)) && (p.version == "" || glob.Match(p.version, ref.Version))
}

func (a *app) list(ctx context.Context, o listOptions, args []string) error {
	p, err := o.narrow(args)
	if err != nil {
		return err
	}
	o.Tier, o.Since, o.Until = registry.Tier(o.tier), o.since.at, o.until.at
	switch {
	case !slices.Contains([]string{byVersion, byPublished, bySize}, o.sort):
		return usage("--sort: must be version, published or size, is %q", o.sort)
	case o.limit < 0:
		return usage("--limit: must not be negative, is %d", o.limit)
	}
	if err := o.Validate(); err != nil {
		return asUsage(err)
	}
	packages, err := a.findPackages(ctx, o, p)
	if err != nil {
		return err
	}
	if o.latest {
		packages = latest(packages)
	}
	sortPackages(packages, o.sort)
	if o.reverse {
		slices.Reverse(packages)
	}
	if o.limit > 0 && len(packages) > o.limit {
		packages = packages[:o.limit]
	}
	return a.printPackages(packages)
}

// findPackages reads all that match.
func (a *app) findPackages(ctx context.Context, o listOptions, p pattern) ([]registry.Package, error) {
	client, err := a.client()
	if err != nil {
		return nil, err
	}
	filter := o.PackageFilter
	filter.Limit = registry.MaxPackagePage
	packages := []registry.Package{}
	for {
		page, err := client.ListPackages(ctx, filter)
		if err != nil {
			return nil, err
		}
		for _, one := range page.Packages {
			if p.matches(one.PackageRef) {
				packages = append(packages, one)
			}
		}
		if page.Next == "" {
			return packages, nil
		}
		filter.After = page.Next
	}
}

// latest keeps the newest version of each name.
func latest(packages []registry.Package) []registry.Package {
	type name struct{ producer, name string }
	newest := make(map[name]registry.Package)
	last := make(map[name]registry.Package) // published
	other := make(map[name]bool)            // some version is not semantic
	for _, p := range packages {
		n := name{p.Producer, p.Name}
		if versions.KindOf(p.Version) == versions.Other {
			other[n] = true
		}
		if old, is := last[n]; !is || old.Position < p.Position {
			last[n] = p
		}
		if old, is := newest[n]; !is || newer(p.Version, old.Version) {
			newest[n] = p
		}
	}
	kept := make([]registry.Package, 0, len(newest))
	for n, p := range newest {
		if other[n] {
			p = last[n]
		}
		kept = append(kept, p)
	}
	return kept
}

// newer reports whether a semantic version comes after another: every release comes after
// every pre-release.
func newer(a, b string) bool {
	return cmp.Or(cmp.Compare(versions.KindOf(a), versions.KindOf(b)), versions.Compare(a, b)) > 0
}

func sortPackages(packages []registry.Package, by string) {
	slices.SortFunc(packages, func(a, b registry.Package) int {
		order := 0
		switch by {
		case byPublished:
			order = cmp.Compare(b.Position, a.Position)
		case bySize:
			order = cmp.Compare(b.Bytes, a.Bytes)
		}
		return cmp.Or(order, strings.Compare(a.Producer, b.Producer), strings.Compare(a.Name, b.Name), versions.Compare(a.Version, b.Version))
	})
}

func (a *app) printPackages(packages []registry.Package) error {
	all := struct {
		Packages []registry.Package `json:"packages"`
	}{packages}
	switch a.output {
	case formatJSON, formatYAML:
		return a.print(all, nil)
	}
	now := time.Now()
	table := columns{head: []string{"NAME", "VERSION", "FILES", "SIZE", "PUBLISHED", "BY"}, right: []int{2, 3}, short: []int{0, 1, 5}}
	if a.output == formatWide {
		table.head = append(table.head, "RETENTION CLASS", "TIER", "BACKEND", "POSITION", "MANIFEST")
	}
	for _, p := range packages {
		cells := []any{p.Producer + "/" + p.Name, p.Version, p.Files, size(p.Bytes), ago(p.Published, now), p.Actor}
		if a.output == formatWide {
			cells[4] = p.Published.UTC().Format(time.RFC3339)
			cells = append(cells, p.RetentionClass, p.Tier, backendOf(p), p.Position, p.ManifestDigest)
		}
		table.add(cells...)
	}
	width := a.columnsOfTerminal()
	if a.output == formatWide {
		width = 0
	}
	return table.print(a.stdout, width)
}
