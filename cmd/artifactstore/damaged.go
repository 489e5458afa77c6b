package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/pkg/registry"
)

func (a *app) damagedCommand() *cobra.Command {
	var filter registry.DamageFilter
	command := &cobra.Command{
		Use:               "damaged [PRODUCER/NAME@VERSION]",
		Short:             "List files of packages whose bytes are corrupt, missing or in doubt",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completePackages,
		RunE: a.verb(func(ctx context.Context, args []string) error {
			if len(args) == 1 {
				if filter.Producer != "" {
					return usage("--producer: not with a package")
				}
				ref, err := registry.ParsePackageRef(args[0])
				if err != nil {
					return asUsage(err)
				}
				filter.Producer, filter.Name, filter.Version = ref.Producer, ref.Name, ref.Version
			}
			return a.damaged(ctx, filter)
		}),
	}
	command.Flags().StringVar(&filter.Producer, "producer", "", "only packages of this producer")
	return command
}

func (a *app) damaged(ctx context.Context, filter registry.DamageFilter) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	damaged, err := listDamaged(ctx, client, filter)
	if err != nil {
		return err
	}
	return a.print(registry.DamagePage{Damaged: damaged}, func(w *tabwriter.Writer) {
		row(w, "PACKAGE", "PATH", "REASON", "BACKEND", "SINCE", "SHA256")
		for _, d := range damaged {
			row(w, d.PackageRef, cmp.Or(d.Path, "(manifest)"), d.Reason, backendName(d.Backend, d.BackendID), d.Since.Format(time.RFC3339), d.SHA256)
		}
	})
}

// listDamaged reads all pages.
func listDamaged(ctx context.Context, client registry.Registry, filter registry.DamageFilter) ([]registry.DamagedFile, error) {
	filter.Limit = registry.MaxPackagePage
	all := []registry.DamagedFile{}
	for {
		page, err := client.ListDamaged(ctx, filter)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Damaged...)
		if page.Next == "" {
			return all, nil
		}
		filter.After = page.Next
	}
}

// damageOf says in a line what is damaged of a package.
func damageOf(ref registry.PackageRef, damaged []registry.DamagedFile) string {
	counts := map[string]int{}
	for _, d := range damaged {
		counts[d.Reason]++
	}
	var words []string
	for _, reason := range slices.Sorted(maps.Keys(counts)) {
		words = append(words, fmt.Sprintf("%d %s", counts[reason], reason))
	}
	return fmt.Sprintf("%s: artifactstore damaged %s lists them", strings.Join(words, ", "), ref)
}
