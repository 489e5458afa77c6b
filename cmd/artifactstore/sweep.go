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
		Short: "Remove orphaned objects from a backend",
		Long: `Have the registry remove what interrupted uploads and probes left in a backend:
blobs that neither its log nor an upload session names, staged objects, probe
objects, and unfinished multipart uploads. Nothing younger than 24 hours is
removed. With --dry-run they are listed only. Exit 1 if something could not be
removed, or if the run was interrupted.`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context, _ []string) error { return a.storageSweep(ctx, backend, dryRun) }),
	}
	command.Flags().StringVar(&backend, "backend", "", "name or id of the backend")
	command.Flags().BoolVar(&dryRun, "dry-run", false, "remove nothing; list what would be removed,\nand why the rest is kept")
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
		return named(backend, runErr) // the run never started: there is nothing to report
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
			at := "time unknown to the storage"
			if !o.Modified.IsZero() {
				at = o.Modified.UTC().Format(time.RFC3339)
			}
			fmt.Fprintf(w, "%s  %s  %s  %d bytes  %s\n", shown(o.Outcome), shown(o.Kind), shown(o.Key), o.Size, at)
		}
	}
}

// sweepVerdict returns an error if the run did not check everything, or did not
// remove everything that was due.
func sweepVerdict(r registry.SweepReport, runErr error) error {
	name := backendName(r.Backend, r.BackendID)
	var failed int64
	for _, c := range r.Kinds {
		failed += c.Failed
	}
	switch {
	case runErr != nil:
		return fmt.Errorf("%s: the sweep was interrupted: %w", name, runErr)
	case r.Error != "":
		return fmt.Errorf("%s: the sweep has not seen everything: %s", name, r.Error)
	case !r.Done:
		return fmt.Errorf("%s: the sweep was interrupted", name)
	case failed > 0:
		return fmt.Errorf("%s: %d orphans could not be removed", name, failed)
	}
	return nil
}
