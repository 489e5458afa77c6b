package main

import (
	"context"

	"github.com/spf13/cobra"
)

// viewsCommand points to the manager, which has views check now: the verb needs the
// database, which this program does not link.
func (a *app) viewsCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "views",
		Hidden:             true,
		DisableFlagParsing: true, // accept any flags
		RunE: a.verb(func(context.Context, []string) error {
			return usage("views check is a verb of the manager: run manager views check")
		}),
	}
}
