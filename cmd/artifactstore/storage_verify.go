package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/verify"
)

// verifyFlags are what storage verify is told.
type verifyFlags struct {
	backend string
	options verify.Options
	place   placeFlags
}

func (a *app) storageVerifyCommand() *cobra.Command {
	var f verifyFlags
	command := &cobra.Command{
		Use:   "verify",
		Short: "Have the objects of a backend read again and compared with their digests",
		Long: `Have objects that the registry's log says are in the backend read, both digests
computed, and what is found logged. The registry reads them, unless --file or
` + backendConfigEnv + ` says how to reach the place: then they are read
here, and the registry gives the list and takes the findings.

Those verified longest ago come first, so a run that broke off is gone on with by
the next. Exit 3 if an object is corrupt or missing; exit 1 if some could not be
read, or the run broke off.`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context, _ []string) error { return a.storageVerify(ctx, f) }),
	}
	flags := command.Flags()
	flags.StringVar(&f.backend, "backend", "", "name or id of the backend")
	flags.StringVar((*string)(&f.options.Mode), "mode", string(verify.Full), "full: everything; rolling: what was never verified and a share of the rest; failed: what failed before")
	flags.DurationVar(&f.options.RollingPeriod, "rolling-period", 0, "with --mode rolling: in what time everything is read once (default 720h)")
	flags.DurationVar(&f.options.RollingInterval, "rolling-interval", 0, "with --mode rolling: the time until the next run (default 24h)")
	flags.IntVar(&f.options.Concurrency, "concurrency", verify.DefaultConcurrency, fmt.Sprintf("objects read at once, 1 to %d", verify.MaxConcurrency))
	flags.Int64Var(&f.options.Bandwidth, "bandwidth", 0, fmt.Sprintf("bytes per second that are read at most, from %d on (default no bound)", verify.MinBandwidth))
	flags.DurationVar(&f.options.TimeLimit, "time-limit", 0, "begin nothing more after this time (default no limit)")
	f.place.add(flags)
	require(command, "backend")
	complete(command, "mode", string(verify.Full), string(verify.Rolling), string(verify.Failed))
	must(command.RegisterFlagCompletionFunc("backend", a.completeBackends))
	return command
}

func (a *app) storageVerify(ctx context.Context, f verifyFlags) error {
	if err := f.options.Validate(); err != nil {
		return asUsage(err)
	}
	config, direct, err := a.placeConfig(f.place)
	if err != nil {
		return err
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	progress := a.meter("verifying", 0)
	show := func(r registry.VerifyReport) { progress.set(r.CheckedBytes, r.Bytes) }
	var report registry.VerifyReport
	var runErr error
	if direct {
		report, runErr = a.verifyHere(ctx, client, config, f, show)
	} else {
		report, runErr = client.VerifyBackend(ctx, f.backend, f.options, show)
	}
	progress.finish()
	if runErr != nil && report.CheckedObjects == 0 && report.Objects == 0 {
		return named(f.backend, invalidFlag(runErr)) // it never began: there is nothing to report
	}
	if err := a.print(report, func(w *tabwriter.Writer) { verifyRows(w, report) }); err != nil {
		return err
	}
	return verdict(report, runErr)
}

// invalidFlag: a registry of another version may refuse an option.
func invalidFlag(err error) error {
	if errors.Is(err, registry.ErrInvalid) {
		return asUsage(err)
	}
	return err
}

func verifyRows(w *tabwriter.Writer, r registry.VerifyReport) {
	field(w, "backend", backendName(r.Backend, r.BackendID))
	field(w, "mode", r.Mode)
	field(w, "checked", fmt.Sprintf("%d of %d objects, %d of %d bytes", r.CheckedObjects, r.Objects, r.CheckedBytes, r.Bytes))
	field(w, "verified", r.Verified)
	field(w, "corrupt", r.Corrupt)
	field(w, "missing", r.Missing)
	field(w, "unreachable", r.Unreachable)
	if r.TimeLimitReached {
		field(w, "time limit", "reached; the next run goes on where this one ended")
	}
	for _, f := range r.Failed {
		field(w, f.Reason, fmt.Sprintf("%s %s", f.SHA256, f.Detail))
	}
}

// verdict says what a run proves. What was found corrupt or missing outweighs
// that the run broke off; a run that did not look at all that it was to look at
// proves nothing about the rest, so it is no success, unless it was told not to.
func verdict(r registry.VerifyReport, runErr error) error {
	name := backendName(r.Backend, r.BackendID)
	all := r.Mode != verify.Rolling && !r.TimeLimitReached
	switch {
	case r.Corrupt+r.Missing > 0:
		return integrity(name, "%d objects corrupt, %d missing", r.Corrupt, r.Missing)
	case runErr != nil:
		return fmt.Errorf("%s: the verification broke off: %w", name, runErr)
	case r.Error != "":
		return fmt.Errorf("%s: the verification broke off: %s", name, r.Error)
	case r.Unreachable > 0:
		return fmt.Errorf("%s: %d objects could not be read", name, r.Unreachable)
	case !r.Done || all && r.Verified < r.Objects || r.Verified == 0 && r.Objects > 0:
		return fmt.Errorf("%s: only %d of %d objects were looked at", name, r.Verified, r.Objects)
	}
	return nil
}
