package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/coulomb/artifact-store/pkg/backoff"
	"github.com/coulomb/artifact-store/pkg/client"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/registry/verify"
	"github.com/coulomb/artifact-store/pkg/storage/backends"
)

// registryPatience is how long the registry may be unavailable during a run, for
// example while its pods are replaced.
const registryPatience = 2 * time.Minute

// registryRetries is the backoff while the registry is unavailable.
var registryRetries = backoff.Policy{First: time.Second, Most: 15 * time.Second, Jitter: 0.2}

// verifyHere reads the objects in this process.
func (a *app) verifyHere(ctx context.Context, client registry.Registry, config backends.Config, f verifyFlags, progress func(registry.VerifyReport)) (report registry.VerifyReport, err error) {
	// The registry, not the configuration, says whose bytes these must be.
	page, err := patiently(ctx, func() (registry.LocationPage, error) {
		return client.ListLocations(ctx, f.backend, registry.LocationQuery{Limit: 1})
	})
	if err != nil {
		return report, err
	}
	store, err := backends.Open(ctx, config, nil)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	report.Backend, report.BackendID = page.Backend, page.BackendID
	return verify.Run(ctx, verify.Task{
		Ledger: patientLedger{registry.NewLedger(client, page.BackendID)}, Source: store,
		Options: f.options, Report: report, Progress: progress,
		Same: func(ctx context.Context) error {
			return registrar.CheckMarker(ctx, store, registrar.Owner{LogID: page.LogID, BackendID: page.BackendID, Name: page.Backend, Place: config.Place()})
		},
		Unread: func(r verify.Result) {
			fmt.Fprintf(a.stderr, "artifactstore: %s: %s: could not be read: %s\n", printable(page.Backend), r.Digests.SHA256, printable(r.Detail))
		},
	})
}

// patientLedger retries while the registry is unavailable. Both calls are safe to
// repeat.
type patientLedger struct{ verify.Ledger }

func (l patientLedger) List(ctx context.Context, failed bool, after string) (verify.Page, error) {
	return patiently(ctx, func() (verify.Page, error) { return l.Ledger.List(ctx, failed, after) })
}

func (l patientLedger) Record(ctx context.Context, found verify.Found) error {
	_, err := patiently(ctx, func() (struct{}, error) { return struct{}{}, l.Ledger.Record(ctx, found) })
	return err
}

func patiently[T any](ctx context.Context, ask func() (T, error)) (T, error) {
	until := time.Now().Add(registryPatience)
	for n := 1; ; n++ {
		answer, err := ask()
		wait := registryRetries.Delay(n, rand.Float64()) //nolint:gosec // spreads load
		if err == nil || ctx.Err() != nil || !client.IsTemporary(err) || time.Now().Add(wait).After(until) {
			return answer, err
		}
		if !backoff.Sleep(ctx, wait) {
			return answer, err
		}
	}
}
