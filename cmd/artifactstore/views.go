package main

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/registry/view"
)

const databaseEnv = "ARTIFACTSTORE_DATABASE"

func (a *app) viewsCommand() *cobra.Command {
	command := &cobra.Command{Use: "views", Short: "Look after the tables that are made of the event log"}
	group(command)
	command.AddCommand(a.viewsCheckCommand())
	return command
}

func (a *app) viewsCheckCommand() *cobra.Command {
	var address string
	command := &cobra.Command{
		Use:   "check",
		Short: "Replay the log into fresh views and compare; exit 3 if they differ",
		Long: `Read the registry's database itself (not through the registry), replay its log
into fresh views in a temporary file, and compare every row. The chain of records
is checked as well. It may run beside a live registry.`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context, _ []string) error { return a.viewsCheck(ctx, address) }),
	}
	command.Flags().StringVar(&address, "database", a.getenv(databaseEnv),
		"sqlite:///path or postgres://…; "+databaseEnv+" sets the default and keeps a password out of the list of processes")
	command.Flags().Lookup("database").DefValue = "" // never shown: it may hold a password
	return command
}

func (a *app) viewsCheck(ctx context.Context, address string) error {
	if address == "" {
		return usage("database: must be given, by --database or %s", databaseEnv)
	}
	// Opening SQLite makes the file: a check of a mistyped path must not
	// leave an empty database behind and call it right.
	if escaped, ok := strings.CutPrefix(address, "sqlite://"); ok {
		if path, err := url.PathUnescape(escaped); err == nil {
			if _, err := os.Stat(path); err != nil {
				return fmt.Errorf("database: %w", err)
			}
		}
	}
	db, err := database.Open(ctx, address)
	if err != nil {
		return err
	}
	defer db.Close() //nolint:errcheck // it was only read
	report, err := view.New(db).Check(ctx, view.Progress{})
	if err != nil {
		return err
	}
	return a.print(report, func(w *tabwriter.Writer) {
		field(w, "log", report.LogID)
		field(w, "events", report.Events)
		for _, table := range slices.Sorted(maps.Keys(report.Rows)) {
			field(w, table, fmt.Sprintf("%d rows, equal to the replay", report.Rows[table]))
		}
	})
}
