package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/coulomb/artifact-store/pkg/registry/view"
)

const (
	// replayMemory bounds the heap of verbs that replay the log, in bytes: a record is
	// held once, of at most 32 MiB. As much again is SQLite's, which reads it whole, and
	// the rest of the 128 MiB that they are promised to fit in is the program.
	replayMemory = 52 << 20
	// replayInterval is how often they say how far they have come.
	replayInterval = 5 * time.Second
)

// viewsRebuild works while managers serve, which use the old tables until
// the new ones are complete.
var viewsRebuild = verb{
	name: "views rebuild",
	does: "replay the log into new views and replace the old ones, while managers serve",
	prepare: func(set *flag.FlagSet, env environment) func(ctx context.Context) error {
		open, show := databaseFlag(set, env), outputFlag(set, env)
		return func(ctx context.Context) error {
			db, err := open(ctx)
			if err != nil {
				return err
			}
			defer db.Close() //nolint:errcheck // what was changed is committed
			report, err := view.New(db).Rebuild(ctx, replayProgress(env))
			if err != nil {
				return err
			}
			return show(report, func(w *tabwriter.Writer) { printRows(w, report, "rows") })
		}
	},
}

// replayProgress has the memory bounded and tells stderr how a replay goes.
func replayProgress(env environment) view.Progress {
	if env.getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(replayMemory)
	}
	last := time.Now()
	return view.Progress{
		Waiting: func(holder string) {
			fmt.Fprintf(env.stderr, "manager: another rebuild or check is under way (%s): waiting until it ends\n", holder)
		},
		Replayed: func(position, head uint64) {
			if time.Since(last) >= replayInterval {
				last = time.Now()
				fmt.Fprintf(env.stderr, "manager: replayed %d of %d events\n", position, head)
			}
		},
		Busy: func(err error) {
			fmt.Fprintf(env.stderr, "manager: the new views are complete and wait for a long read, such as a backup, to end: %v\n", err)
		},
	}
}

func printRows(w *tabwriter.Writer, report view.Report, what string) {
	fmt.Fprintf(w, "log\t%s\nevents\t%d\n", report.LogID, report.Events)
	for _, table := range slices.Sorted(maps.Keys(report.Rows)) {
		fmt.Fprintf(w, "%s\t%d %s\n", table, report.Rows[table], what)
	}
}
