package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"slices"
	"text/tabwriter"

	"github.com/coulomb/artifact-store/pkg/registry/view"
)

// viewsCheck works on the database itself, not through the registry, and may run
// while managers serve. It needs a user that may create tables, and drops its own.
var viewsCheck = verb{
	name: "views check",
	does: "replay the log into fresh views and compare every row; exit 3 if they differ",
	prepare: func(set *flag.FlagSet, env environment) func(ctx context.Context) error {
		open, show := databaseFlag(set, env), outputFlag(set, env)
		dir := set.String("config-dir", "", "`folder` of the backends' YAML files: also compare the head mark of each with the log")
		dataDir := set.String("data-dir", "data", "`folder` that relative paths of local backends start from")
		return func(ctx context.Context) error {
			db, err := open(ctx)
			if err != nil {
				return err
			}
			defer db.Close() //nolint:errcheck // nothing in it is changed
			report, err := view.New(db).Check(ctx, replayProgress(env))
			if err != nil {
				return err
			}
			checked := struct {
				view.Report
				HeadMarks map[string]string `json:"headMarks,omitempty"`
			}{Report: report}
			if *dir != "" {
				if checked.HeadMarks, err = compareMarks(ctx, db, *dir, *dataDir); err != nil {
					return err
				}
			}
			return show(checked, func(w *tabwriter.Writer) {
				printRows(w, report, "rows, equal to the replay")
				for _, backend := range slices.Sorted(maps.Keys(checked.HeadMarks)) {
					fmt.Fprintf(w, "head mark of %s\t%s\n", backend, checked.HeadMarks[backend])
				}
			})
		}
	},
}
