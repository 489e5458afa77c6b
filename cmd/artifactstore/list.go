package main

import (
	"context"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/pkg/registry"
)

func (a *app) listCommand() *cobra.Command {
	var filter registry.PackageFilter
	command := &cobra.Command{
		Use:   "list",
		Short: "List packages",
		Args:  cobra.NoArgs,
		RunE:  a.verb(func(ctx context.Context, _ []string) error { return a.list(ctx, filter) }),
	}
	flags := command.Flags()
	flags.StringVar(&filter.Producer, "producer", "", "only packages of this producer")
	flags.StringVar(&filter.Name, "name", "", "only packages with this name")
	flags.StringVar(&filter.RetentionClass, "retention-class", "", "only packages in this retention class")
	return command
}

func (a *app) list(ctx context.Context, filter registry.PackageFilter) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	filter.Limit = registry.MaxPackagePage
	packages := []registry.Package{}
	for {
		page, err := client.ListPackages(ctx, filter)
		if err != nil {
			return err
		}
		packages = append(packages, page.Packages...)
		if page.Next == "" {
			break
		}
		filter.After = page.Next
	}
	all := struct {
		Packages []registry.Package `json:"packages"`
	}{packages}
	return a.print(all, func(w *tabwriter.Writer) {
		row(w, "PACKAGE", "RETENTION CLASS", "TIER", "FILES", "BYTES", "BACKEND", "POSITION", "PUBLISHED")
		for _, p := range packages {
			row(w, p.PackageRef, p.RetentionClass, p.Tier, p.Files, p.Bytes,
				backendOf(p), p.Position, p.Published.Format(time.RFC3339))
		}
	})
}
