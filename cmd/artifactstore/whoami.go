package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/pkg/registry"
)

func (a *app) whoamiCommand() *cobra.Command {
	var producer string
	command := &cobra.Command{
		Use:   "whoami",
		Short: "Show who the registry takes you for, and what you may do",
		Long: `Show who the registry takes you for, and what you may do: verbs on resources,
for the named producers or backends, or for all. Where Kubernetes decides,
permissions for single producers are shown of those that you may list;
--producer asks about another.`,
		Example: `  artifactstore whoami
  artifactstore whoami --producer team-a`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context, _ []string) error { return a.whoami(ctx, producer) }),
	}
	command.Flags().StringVar(&producer, "producer", "", "include what you may do with packages of this producer")
	return command
}

// whoamiAnswer adds to the registry's answer which registry that is.
type whoamiAnswer struct {
	Server    string `json:"server"`
	From      string `json:"from"`
	TokenFrom string `json:"tokenFrom,omitempty"`
	registry.Caller
}

func (a *app) whoami(ctx context.Context, producer string) error {
	if producer != "" {
		if err := registry.ValidateName("producer", producer); err != nil {
			return asUsage(err)
		}
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	caller, err := client.WhoAmI(ctx, producer)
	if err != nil {
		return err
	}
	answer := whoamiAnswer{a.server, a.from, a.tokenFrom, caller}
	return a.print(answer, func(w *tabwriter.Writer) {
		field(w, "name", caller.Name)
		for _, group := range caller.Groups {
			field(w, "group", group)
		}
		field(w, "server", answer.Server+" ("+answer.From+")")
		switch {
		case !caller.Authenticated:
			field(w, "token", "not needed: the registry asks nobody who they are")
		case answer.TokenFrom != "":
			field(w, "token", answer.TokenFrom)
		}
		fmt.Fprintln(w)
		row(w, "RESOURCE", "VERBS", "NAMES")
		for _, p := range caller.Permissions {
			names := strings.Join(p.Names, ",")
			if names == "" {
				names = "all"
			}
			row(w, p.Resource, strings.Join(p.Verbs, ","), names)
		}
		if !caller.Complete {
			fmt.Fprintln(w, "\nThere may be permissions for other producers: --producer asks about one.")
		}
	})
}
