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

// verifyFlags are the flags of storage verify.
type verifyFlags struct {
	backend string
	options verify.Options
	place   placeFlags
}

func (a *app) storageVerifyCommand() *cobra.Command {
	var f verifyFlags
	command := &cobra.Command{
		Use:   "verify",
		Short: "Read the objects of a backend and compare them with their digests",
		Long: `Have the registry read the objects that its log says are in the backend, compute
both digests, and log the results. With --file or ` + backendConfigEnv + `
this program reads the objects itself; the registry still provides the list and
records the results.

Objects verified longest ago come first, so the next run continues where an
interrupted one stopped. Exit 3 if an object is corrupt or missing; exit 1 if
some could not be read, or if the run was interrupted.`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context, _ []string) error { return a.storageVerify(ctx, f) }),
	}
	flags := command.Flags()
	flags.StringVar(&f.backend, "backend", "", "name or id of the backend")
	flags.StringVar((*string)(&f.options.Mode), "mode", string(verify.Full), "full: all objects; rolling: objects never\nverified and a share of the rest; failed:\nobjects that failed before")
	flags.DurationVar(&f.options.RollingPeriod, "rolling-period", 0, "with --mode rolling: period in which every\nobject is read once (default 720h)")
	flags.DurationVar(&f.options.RollingInterval, "rolling-interval", 0, "with --mode rolling: time until the next run\n(default 24h)")
	flags.IntVar(&f.options.Concurrency, "concurrency", verify.DefaultConcurrency, fmt.Sprintf("parallel reads, 1 to %d", verify.MaxConcurrency))
	flags.Int64Var(&f.options.Bandwidth, "bandwidth", 0, fmt.Sprintf("maximum bytes read per second, at least\n%d (default no limit)", verify.MinBandwidth))
	flags.DurationVar(&f.options.TimeLimit, "time-limit", 0, "start no further object after this time\n(default no limit)")
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
		return named(f.backend, invalidFlag(runErr)) // the run never started: there is nothing to report
	}
	if err := a.print(report, func(w *tabwriter.Writer) { verifyRows(w, report) }); err != nil {
		return err
	}
	return verdict(report, runErr)
}

// invalidFlag marks the refusal of an option: a registry of another version may refuse one.
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
		field(w, "time limit", "reached; the next run continues where this one stopped")
	}
	for _, f := range r.Failed {
		field(w, f.Reason, fmt.Sprintf("%s %s", f.SHA256, f.Detail))
	}
}

// verdict says what a run proves. A corrupt or missing object outweighs an
// interruption. A run that did not check all its objects is not a success: it
// proves nothing about the rest. Rolling runs and time limits leave a rest on purpose.
func verdict(r registry.VerifyReport, runErr error) error {
	name := backendName(r.Backend, r.BackendID)
	all := r.Mode != verify.Rolling && !r.TimeLimitReached
	switch {
	case r.Corrupt+r.Missing > 0:
		return integrity(name, "%d objects corrupt, %d missing", r.Corrupt, r.Missing)
	case runErr != nil:
		return fmt.Errorf("%s: the verification was interrupted: %w", name, runErr)
	case r.Error != "":
		return fmt.Errorf("%s: the verification was interrupted: %s", name, r.Error)
	case r.Unreachable > 0:
		return fmt.Errorf("%s: %d objects could not be read", name, r.Unreachable)
	case !r.Done || all && r.Verified < r.Objects || r.Verified == 0 && r.Objects > 0:
		return fmt.Errorf("%s: only %d of %d objects were verified", name, r.Verified, r.Objects)
	}
	return nil
}
