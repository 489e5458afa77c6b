package main

import (
	"context"

	"github.com/spf13/cobra"
)

// viewsCommand says where its verb went: it needs the database itself, which
// this program does not link.
func (a *app) viewsCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "views",
		Hidden:             true,
		DisableFlagParsing: true, // whatever flags it was called with
		RunE: a.verb(func(context.Context, []string) error {
			return usage("views check is a verb of the manager: run manager views check")
		}),
	}
}
