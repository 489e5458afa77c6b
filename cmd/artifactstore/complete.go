package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/cmd/artifactstore/contexts"
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

// completeNames registers proposals for flags that many verbs have.
func (a *app) completeNames(root *cobra.Command) {
	proposals := map[string]cobra.CompletionFunc{"producer": a.completeProducers, "name": a.completePackageNames, "retention-class": a.completeClasses}
	var visit func(command *cobra.Command)
	visit = func(command *cobra.Command) {
		for flag, propose := range proposals {
			if command.Flags().Lookup(flag) == nil {
				continue
			}
			if _, there := command.GetFlagCompletionFunc(flag); !there {
				must(command.RegisterFlagCompletionFunc(flag, propose))
			}
		}
		for _, below := range command.Commands() {
			visit(below)
		}
	}
	visit(root)
}

func (a *app) completeContexts(_ *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	file, err := contexts.Load(contexts.Path(a.getenv), func(string) {})
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := slices.DeleteFunc(file.Names(), func(name string) bool { return !strings.HasPrefix(name, prefix) })
	return names, cobra.ShellCompDirectiveNoFileComp
}

// last sorts behind every name and every version.
var last = strings.Repeat("z", registry.MaxFieldLength)

// completeProducers finds one producer after another: between two of them it skips
// all packages of the first.
func (a *app) completeProducers(command *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	after := ""
	if registry.ValidateName("producer", prefix) == nil {
		after = registry.CursorAt(prefix)
	}
	return a.proposeEach(command, prefix, registry.PackageFilter{After: after}, func(p registry.PackageRef) (string, string) {
		if after != "" && !strings.HasPrefix(p.Producer, prefix) {
			return "", "" // behind all that begin so
		}
		return p.Producer, registry.PackageCursor(registry.PackageRef{Producer: p.Producer, Name: last, Version: last})
	})
}

// completePackageNames proposes those of the producer that the command names.
func (a *app) completePackageNames(command *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	filter := registry.PackageFilter{Producer: flagText(command, "producer")}
	return a.proposeEach(command, prefix, filter, func(p registry.PackageRef) (string, string) {
		return p.Name, registry.PackageCursor(registry.PackageRef{Producer: p.Producer, Name: p.Name, Version: last})
	})
}

// completeClasses proposes those of the first packages, of the producer that the
// command names.
func (a *app) completeClasses(command *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return a.propose(command, func(ctx context.Context, client registry.Registry) (names []string, err error) {
		page, err := client.ListPackages(ctx, registry.PackageFilter{Producer: flagText(command, "producer"), Limit: registry.MaxPackagePage})
		for _, p := range page.Packages {
			if strings.HasPrefix(p.RetentionClass, prefix) && !slices.Contains(names, p.RetentionClass) {
				names = append(names, p.RetentionClass)
			}
		}
		return names, err
	})
}

func flagText(command *cobra.Command, name string) string {
	if flag := command.Flag(name); flag != nil {
		return flag.Value.String()
	}
	return ""
}

// completionSkips bounds the requests of one proposal.
const completionSkips = 50

// proposeEach reads one package, takes a name from it, and continues at the cursor that
// comes with the name, until there is none.
func (a *app) proposeEach(command *cobra.Command, prefix string, filter registry.PackageFilter, take func(registry.PackageRef) (name, next string)) ([]string, cobra.ShellCompDirective) {
	return a.propose(command, func(ctx context.Context, client registry.Registry) (names []string, err error) {
		filter.Limit = 1
		for range completionSkips {
			page, err := client.ListPackages(ctx, filter)
			if err != nil {
				if len(names) > 0 {
					err = nil // some are better than none
				}
				return names, err
			}
			if len(page.Packages) == 0 {
				if filter.After = page.Next; page.Next == "" {
					return names, nil
				}
				continue // none that may be listed in this page
			}
			name, next := take(page.Packages[0].PackageRef)
			if name == "" {
				return names, nil
			}
			if strings.HasPrefix(name, prefix) && !slices.Contains(names, name) {
				names = append(names, name)
			}
			filter.After = next
		}
		return names, nil
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
