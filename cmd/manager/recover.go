package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"text/tabwriter"

	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/service"
)

// recoverLog may run beside a live manager, which has found what it accepts.
var recoverLog = verb{
	name: "recover",
	does: "accept that the log is older than what backends hold, after the database was restored from a backup; nothing is removed for 14 days",
	prepare: func(set *flag.FlagSet, env environment) func(ctx context.Context) error {
		open, show := databaseFlag(set, env), outputFlag(set, env)
		accept := set.Bool("accept-older-log", false, "confirm it: after 14 days, sweeps remove what only the lost log knew")
		reason := set.String("reason", "", "`text` that the log records")
		return func(ctx context.Context) error {
			if !*accept || *reason == "" {
				return &usageError{errors.New("recover needs --accept-older-log and --reason")}
			}
			db, err := open(ctx)
			if err != nil {
				return err
			}
			defer db.Close() //nolint:errcheck // what was written is committed
			backends, err := service.AcceptOlderLog(ctx, db, *reason)
			if errors.Is(err, registry.ErrNotFound) {
				return errors.New("no backend is known with a head mark that the log lacks: start the manager and wait until it has probed the backends")
			}
			if err != nil {
				return err
			}
			return show(map[string]any{"backends": backends}, func(w *tabwriter.Writer) {
				for _, name := range backends {
					fmt.Fprintf(w, "%s\taccepted; the manager moves its head mark with the next probe\n", name)
				}
				fmt.Fprintln(w, "For 14 days nothing is removed.")
			})
		}
	},
}
