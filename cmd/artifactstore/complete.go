package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/pkg/registry"
)

const (
	// completionTimeout is short: no proposals are better than a shell that hangs on Tab.
	completionTimeout = 2 * time.Second
	// completionPage is the maximum number of packages proposed.
	completionPage = 200
)

// complete proposes fixed values for a flag. It panics if the flag does not
// exist, which every test would show.
func complete(command *cobra.Command, flag string, values ...string) {
	must(command.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)))
}

func require(command *cobra.Command, flags ...string) {
	for _, flag := range flags {
		must(command.MarkFlagRequired(flag))
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func (a *app) completeBackends(command *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return a.propose(command, func(ctx context.Context, client registry.Registry) (names []string, err error) {
		backends, err := client.ListBackends(ctx)
		for _, backend := range backends {
			if strings.HasPrefix(backend.Name, prefix) {
				names = append(names, backend.Name)
			}
		}
		return names, err
	})
}

// completePackages proposes P/N@V for the first argument. Text before a slash
// restricts the proposals to that producer.
func (a *app) completePackages(command *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return a.propose(command, func(ctx context.Context, client registry.Registry) (names []string, err error) {
		filter := registry.PackageFilter{Limit: completionPage}
		if producer, _, found := strings.Cut(prefix, "/"); found {
			filter.Producer = producer
		}
		page, err := client.ListPackages(ctx, filter)
		for _, p := range page.Packages {
			if name := p.PackageRef.String(); strings.HasPrefix(name, prefix) {
				names = append(names, name)
			}
		}
		return names, err
	})
}

func (a *app) propose(command *cobra.Command, ask func(context.Context, registry.Registry) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	ctx := command.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	a.retryFor, a.quiet = 0, true // no line of ours may appear in a command line
	client, err := a.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	names, err := ask(ctx, client)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	names = slices.DeleteFunc(names, func(name string) bool { return shown(name) != name })
	return names, cobra.ShellCompDirectiveNoFileComp
}
