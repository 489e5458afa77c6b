package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/pkg/registry"
)

func (a *app) storageCommand() *cobra.Command {
	command := &cobra.Command{Use: "storage", Short: "Look after stored bytes"}
	group(command)
	command.AddCommand(a.storageVerifyCommand(), a.storageSweepCommand(), a.storageProbeCommand())
	return command
}

func (a *app) storageVerifyCommand() *cobra.Command {
	var backend string
	command := &cobra.Command{
		Use:   "verify",
		Short: "Have every object of a backend read again and compared with its digests",
		Long: `Have the registry read every object that its log says is in the backend, compute
both digests, and log what it finds. Exit 3 if an object is corrupt or missing;
exit 1 if some could not be read, or the run broke off.`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context, _ []string) error { return a.storageVerify(ctx, backend) }),
	}
	command.Flags().StringVar(&backend, "backend", "", "name or id of the backend")
	require(command, "backend")
	must(command.RegisterFlagCompletionFunc("backend", a.completeBackends))
	return command
}

func (a *app) storageVerify(ctx context.Context, backend string) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	progress := a.meter("verifying", 0)
	report, runErr := client.VerifyBackend(ctx, backend, func(r registry.VerifyReport) { progress.set(r.CheckedBytes, r.Bytes) })
	progress.finish()
	if runErr != nil && report.CheckedObjects == 0 && report.Objects == 0 {
		return named(backend, runErr) // it never began: there is nothing to report
	}
	if err := a.print(report, func(w *tabwriter.Writer) { verifyRows(w, report) }); err != nil {
		return err
	}
	return verdict(report, runErr)
}

func verifyRows(w *tabwriter.Writer, r registry.VerifyReport) {
	field(w, "backend", backendName(r.Backend, r.BackendID))
	field(w, "checked", fmt.Sprintf("%d of %d objects, %d of %d bytes", r.CheckedObjects, r.Objects, r.CheckedBytes, r.Bytes))
	field(w, "verified", r.Verified)
	field(w, "corrupt", r.Corrupt)
	field(w, "missing", r.Missing)
	field(w, "unreachable", r.Unreachable)
	for _, f := range r.Failed {
		field(w, f.Reason, fmt.Sprintf("%s %s", f.SHA256, f.Detail))
	}
}

// verdict says what a run proves. What was found corrupt or missing outweighs
// that the run broke off; a run that did not look at everything proves nothing
// about the rest, so it is never a success.
func verdict(r registry.VerifyReport, runErr error) error {
	name := backendName(r.Backend, r.BackendID)
	switch {
	case r.Corrupt+r.Missing > 0:
		return integrity(name, "%d objects corrupt, %d missing", r.Corrupt, r.Missing)
	case runErr != nil:
		return fmt.Errorf("%s: the verification broke off: %w", name, runErr)
	case r.Error != "":
		return fmt.Errorf("%s: the verification broke off: %s", name, r.Error)
	case r.Unreachable > 0:
		return fmt.Errorf("%s: %d objects could not be read", name, r.Unreachable)
	case !r.Done || r.Verified < r.Objects:
		return fmt.Errorf("%s: only %d of %d objects were looked at", name, r.Verified, r.Objects)
	}
	return nil
}
