package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/pkg/registry"
)

func (a *app) storageSweepCommand() *cobra.Command {
	var (
		backend string
		dryRun  bool
	)
	command := &cobra.Command{
		Use:   "sweep",
		Short: "Have what was left behind in a backend removed",
		Long: `Have the registry remove from a backend what uploads that broke off left there:
blobs that its log does not name and no upload session has, staged objects, what
probes left, and unfinished multipart uploads; all of them only if older than 24
hours. With --dry-run they are listed. Exit 1 if something could not be removed,
or the run broke off.`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context, _ []string) error { return a.storageSweep(ctx, backend, dryRun) }),
	}
	command.Flags().StringVar(&backend, "backend", "", "name or id of the backend")
	command.Flags().BoolVar(&dryRun, "dry-run", false, "remove nothing; list what would go, and why the rest stays")
	require(command, "backend")
	must(command.RegisterFlagCompletionFunc("backend", a.completeBackends))
	return command
}

func (a *app) storageSweep(ctx context.Context, backend string, dryRun bool) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	report, runErr := client.SweepBackend(ctx, backend, dryRun, nil)
	if runErr != nil && len(report.Kinds) == 0 {
		return named(backend, runErr) // it never began: there is nothing to report
	}
	if err := a.print(report, func(w *tabwriter.Writer) { sweepRows(w, report) }); err != nil {
		return err
	}
	return sweepVerdict(report, runErr)
}

func sweepRows(w *tabwriter.Writer, r registry.SweepReport) {
	row(w, "KIND", "FOUND", "BYTES", "DUE", "BYTES", "REMOVED", "BYTES", "TOO YOUNG", "CLAIMED", "FAILED")
	for _, c := range r.Kinds {
		row(w, c.Kind, c.Found, c.FoundBytes, c.Due, c.DueBytes, c.Removed, c.RemovedBytes, c.TooYoung, c.Claimed, c.Failed)
	}
	for _, o := range r.Orphans {
		if r.DryRun || o.Outcome == "failed" {
			at := "the storage does not tell since when"
			if !o.Modified.IsZero() {
				at = o.Modified.UTC().Format(time.RFC3339)
			}
			fmt.Fprintf(w, "%s  %s  %s  %d bytes  %s\n", o.Outcome, o.Kind, o.Key, o.Size, at)
		}
	}
}

// sweepVerdict: a run that did not look at everything, or left something that
// should have gone, is no success.
func sweepVerdict(r registry.SweepReport, runErr error) error {
	name := backendName(r.Backend, r.BackendID)
	var failed int64
	for _, c := range r.Kinds {
		failed += c.Failed
	}
	switch {
	case runErr != nil:
		return fmt.Errorf("%s: the sweep broke off: %w", name, runErr)
	case r.Error != "" || !r.Done:
		return fmt.Errorf("%s: the sweep broke off: %s", name, r.Error)
	case failed > 0:
		return fmt.Errorf("%s: %d orphans could not be removed", name, failed)
	}
	return nil
}
