package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/backends"
	"github.com/coulomb/artifact-store/pkg/storage/probe"
)

func (a *app) storageProbeCommand() *cobra.Command {
	var (
		backend string
		place   placeFlags
	)
	command := &cobra.Command{
		Use:   "probe",
		Short: "Test each verb and feature of a backend separately",
		Long: `Have the registry test each verb and feature of a backend. Test objects are
created below the backend's probe prefix and deleted again. Exit 1 if something
that new blobs need does not work: put, head, get, list, and on S3 multipart.
Where nothing can be deleted, because it is denied or objects are locked, one
object stays. If a request is refused, the words of the answer are shown. The
test uses the backend as it is declared now. Exit 1 also if that declaration is
not in service, for example because earlier credentials are still in use.

With --file this program tests the place itself and needs no registry, for
example before the place is declared.`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context, _ []string) error { return a.storageProbe(ctx, backend, place) }),
	}
	command.Flags().StringVar(&backend, "backend", "", "name or id of the backend")
	place.add(command.Flags())
	command.MarkFlagsMutuallyExclusive("backend", "file")
	must(command.RegisterFlagCompletionFunc("backend", a.completeBackends))
	return command
}

func (a *app) storageProbe(ctx context.Context, backend string, place placeFlags) error {
	report, err := a.probeReport(ctx, backend, place)
	if err != nil {
		return err
	}
	if err := a.print(report, func(w *tabwriter.Writer) { probeRows(w, report) }); err != nil {
		return err
	}
	return probeVerdict(report)
}

func (a *app) probeReport(ctx context.Context, backend string, place placeFlags) (registrar.ProbeReport, error) {
	if backend != "" {
		client, err := a.client()
		if err != nil {
			return registrar.ProbeReport{}, err
		}
		report, err := client.ProbeBackend(ctx, backend)
		return report, named(backend, err)
	}
	config, direct, err := a.placeConfig(place)
	if err != nil {
		return registrar.ProbeReport{}, err
	}
	if !direct {
		return registrar.ProbeReport{}, usage("--backend or --file is required")
	}
	return probeHere(ctx, config)
}

// probeHere tests the place from this process.
func probeHere(ctx context.Context, config backends.Config) (registrar.ProbeReport, error) {
	began := time.Now()
	report := registrar.ProbeReport{Backend: config.Place(), At: began.UTC(), Results: []registrar.ProbeResult{}}
	store, err := backends.Open(ctx, config.ForProbe(), nil)
	if err != nil {
		report.Reason, report.Message = storage.ReasonOf(err), err.Error()
		return report, nil
	}
	defer store.Close() //nolint:errcheck // the probe deleted its objects, or reports them
	found := probe.Full(ctx, store, false)
	if ctx.Err() != nil {
		return report, ctx.Err()
	}
	report.Seconds, report.OK = time.Since(began).Seconds(), found.OK()
	for _, one := range found.Results {
		report.Results = append(report.Results, registrar.ProbeResult{Capability: one.Capability, Needed: one.Needed, Reason: one.Why(), Detail: one.Detail, Seconds: one.Took.Seconds()})
	}
	return report, nil
}

func probeRows(w *tabwriter.Writer, r registrar.ProbeReport) {
	if len(r.Results) == 0 {
		return // the verdict says why
	}
	row(w, "VERB", "RESULT", "TIME", "MESSAGE")
	for _, one := range r.Results {
		message := one.Message
		if one.Detail != "" {
			message += " (" + one.Detail + ")"
		}
		took := ""
		if one.Seconds > 0 {
			took = time.Duration(one.Seconds * float64(time.Second)).Round(time.Millisecond).String()
		}
		row(w, one.Name, one.Status, took, message)
	}
}

// probeVerdict returns an error unless everything needed is known to work. What
// could not be tested is not known to work.
func probeVerdict(r registrar.ProbeReport) error {
	name := backendName(r.Backend, r.BackendID)
	if len(r.Results) == 0 {
		return fmt.Errorf("%s: could not be probed: %s: %s", name, r.Reason, r.Message)
	}
	var missing, unknown []string
	reason := ""
	for _, one := range r.Results {
		switch {
		case !one.Needed || one.Status == storage.Supported:
		case one.Status == storage.Unsupported:
			missing = append(missing, one.Name)
		default:
			unknown = append(unknown, one.Name)
			if one.Reason != storage.ReasonUnknown { // not tested
				reason = cmp.Or(reason, one.Reason)
			}
		}
	}
	var words []string
	if len(missing) > 0 {
		words = append(words, "required but not working: "+strings.Join(missing, ", "))
	}
	if len(unknown) > 0 {
		why := ""
		if reason != "" {
			why = " (" + reason + ")"
		}
		words = append(words, "required but not known to work"+why+": "+strings.Join(unknown, ", "))
	}
	if r.Configuration == registrar.ConfigurationDeclared {
		words = append(words, fmt.Sprintf("the current declaration is not in service: %s: %s", r.Reason, r.Message))
	}
	if len(words) > 0 {
		return fmt.Errorf("%s: %s", name, strings.Join(words, "; "))
	}
	return nil
}
