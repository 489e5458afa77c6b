package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
)

func (a *app) routingCommand() *cobra.Command {
	command := &cobra.Command{Use: "routing", Short: "Explain where packages are stored"}
	group(command)
	command.AddCommand(a.routingExplainCommand())
	return command
}

func (a *app) routingExplainCommand() *cobra.Command {
	var request placement.Request
	command := &cobra.Command{
		Use:   "explain",
		Short: "Show which rule and backend a new package would use, and why",
		Args:  cobra.NoArgs,
		RunE:  a.verb(func(ctx context.Context, _ []string) error { return a.routingExplain(ctx, request) }),
	}
	command.Flags().StringVar(&request.Producer, "producer", "", "producer of the package")
	command.Flags().StringVar(&request.RetentionClass, "retention-class", "", "retention class of the package")
	require(command, "producer", "retention-class")
	return command
}

func (a *app) routingExplain(ctx context.Context, request placement.Request) error {
	if err := registry.ValidateName("producer", request.Producer); err != nil {
		return asUsage(err)
	}
	if err := registry.ValidateName("retentionClass", request.RetentionClass); err != nil {
		return asUsage(err)
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	e, err := client.Explain(ctx, request)
	if err != nil {
		return err
	}
	return a.print(e, func(w *tabwriter.Writer) {
		rule := "implicit (no policy, one backend)"
		if e.Policy != "" {
			rule = fmt.Sprintf("%s, rules[%d]", e.Policy, e.Rule)
		}
		field(w, "rule", rule)
		field(w, "backend", dash(e.Backend))
		field(w, "reason", e.Reason)
		for _, c := range e.Considered {
			verdict := "skipped"
			if c.Taken {
				verdict = "taken"
			}
			field(w, "considered", c.Backend, verdict, c.Reason)
		}
	})
}
