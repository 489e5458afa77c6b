package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

func (a *app) findCommand() *cobra.Command {
	var text, producer string
	command := &cobra.Command{
		Use:   "find --digest DIGEST",
		Short: "Find the packages and backends that have some bytes",
		Long: `Find where the bytes with a digest are: in which packages, under which paths,
and in which backends. A package whose manifest has the digest has no path.
Packages that you may not read are left out.`,
		Example: "  artifactstore find --digest sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		Args:    cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context, _ []string) error {
			name, err := digest.Parse(text)
			if err != nil {
				return usage("--digest: %v", err)
			}
			return a.find(ctx, name, producer)
		}),
	}
	flags := command.Flags()
	flags.StringVar(&text, "digest", "", "sha256:… or blake3:… of a file, or of a manifest")
	flags.StringVar(&producer, "producer", "", "only packages of this producer")
	require(command, "digest")
	return command
}

func (a *app) find(ctx context.Context, name digest.Digest, producer string) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	var all registry.UsePage
	query := registry.UseQuery{Producer: producer, Limit: registry.MaxPackagePage}
	for {
		page, err := client.FindUses(ctx, name, query)
		if err != nil {
			return named(name.String(), err)
		}
		page.Uses = append(all.Uses, page.Uses...)
		if all = page; page.Next == "" {
			break
		}
		query.After = page.Next
	}
	if a.output == formatJSON || a.output == formatYAML {
		return a.print(all, nil)
	}
	table := columns{head: []string{"PACKAGE", "PATH"}}
	for _, use := range all.Uses {
		path := use.Path
		if path == "" {
			path = "(manifest)"
		}
		table.add(use.PackageRef, path)
	}
	if err := table.print(a.stdout, 0); err != nil {
		return err
	}
	if len(all.Locations) == 0 {
		return nil
	}
	fmt.Fprintln(a.stdout)
	table = columns{head: []string{"BACKEND", "STATE", "REASON"}}
	for _, l := range all.Locations {
		table.add(backendName(l.Backend, l.BackendID), l.State, l.Reason)
	}
	return table.print(a.stdout, 0)
}
