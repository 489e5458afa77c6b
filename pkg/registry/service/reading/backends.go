package reading

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/headmark"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
)

// ListBackends implements Backends.
func (r *Reader) ListBackends(ctx context.Context) ([]registry.BackendStatus, error) {
	declared := r.core.Placer.Backends()
	all := make([]registry.BackendStatus, 0, len(declared))
	for _, b := range declared {
		status, err := r.backendStatus(ctx, b)
		if err != nil {
			return nil, err
		}
		all = append(all, status)
	}
	return all, nil
}

// GetBackend implements Backends.
func (r *Reader) GetBackend(ctx context.Context, nameOrID string) (registry.BackendStatus, error) {
	b, err := r.core.FindBackend(nameOrID)
	if err != nil {
		return registry.BackendStatus{}, err
	}
	return r.backendStatus(ctx, b)
}

func (r *Reader) backendStatus(ctx context.Context, b placement.Backend) (registry.BackendStatus, error) {
	findings, err := r.Findings(ctx, b.ID)
	return registry.BackendStatus{Backend: b, Verified: verified(findings), Findings: findings}, err
}

// ProbeBackend implements Backends.
func (r *Reader) ProbeBackend(ctx context.Context, nameOrID string) (registrar.ProbeReport, error) {
	b, err := r.core.FindBackend(nameOrID)
	if err != nil {
		return registrar.ProbeReport{}, err
	}
	if b.Prober == nil {
		return registrar.ProbeReport{}, &registry.UnavailableError{Backend: b.Name, Message: "it cannot be probed by this process"}
	}
	report, err := b.Prober.Probe(ctx)
	if errors.Is(err, registrar.ErrProbing) {
		err = &registry.ConflictError{Field: "backend", Message: "a probe of " + b.Name + " is running"}
	}
	return report, err
}

// verified: one failed location is False; if nothing was ever verified, nothing is known.
func verified(f registrar.Findings) string {
	switch {
	case f.Failed > 0:
		return registry.VerifiedFalse
	case f.LastVerified.IsZero(), f.Unreadable > 0:
		return registry.VerifiedUnknown
	}
	return registry.VerifiedTrue
}

// Explain implements Backends.
func (r *Reader) Explain(_ context.Context, req placement.Request) (placement.Explanation, error) {
	if err := registry.ValidateName("producer", req.Producer); err != nil {
		return placement.Explanation{}, err
	}
	if err := registry.ValidateName("retentionClass", req.RetentionClass); err != nil {
		return placement.Explanation{}, err
	}
	return r.core.Placer.Explain(req), nil
}

// databaseReason is what may be told of an error of the database: not hosts and queries.
func databaseReason(err error) string {
	if refused, is := errors.AsType[*registry.DatabaseError](err); is {
		return refused.Error()
	}
	return registry.ErrDatabase.Error()
}

// Health implements Backends.
func (r *Reader) Health(ctx context.Context) (registry.Health, error) {
	head, err := r.LogHead(ctx)
	if err != nil {
		return registry.Health{}, err
	}
	backends, err := r.ListBackends(ctx)
	if err != nil {
		return registry.Health{}, err
	}
	health := registry.Health{Status: registry.HealthOK, Reasons: []string{}, Log: head, Backends: backends}
	if len(backends) == 0 {
		health.Reasons = append(health.Reasons, "no backend is declared")
	}
	for _, b := range backends {
		if !b.Ready {
			health.Reasons = append(health.Reasons, fmt.Sprintf("backend %s is not ready: %s: %s", b.Name, b.Reason, b.Message))
		} else if b.Reason != "" {
			health.Reasons = append(health.Reasons, fmt.Sprintf("backend %s is ready, but: %s: %s", b.Name, b.Reason, b.Message))
		}
		if b.Findings.Failed > 0 {
			health.Reasons = append(health.Reasons, fmt.Sprintf("backend %s: %d locations failed verification (%d corrupt, %d missing)",
				b.Name, b.Findings.Failed, b.Findings.Corrupt, b.Findings.Missing))
		}
		if n := b.Findings.Unreadable; n > 0 {
			health.Reasons = append(health.Reasons, fmt.Sprintf("backend %s: %d objects could not be read when they were last verified, so nothing is known about their bytes", b.Name, n))
		}
		if n := b.Findings.Suspect; n > 0 {
			health.Reasons = append(health.Reasons, fmt.Sprintf("backend %s: a reader found %d objects missing or short, or could not read them; they are verified within a minute", b.Name, n))
		}
	}
	var older []headmark.Row
	if err := r.core.Read(ctx, func(tx database.Tx) (err error) {
		older, err = headmark.List(ctx, tx)
		return err
	}); err != nil {
		return registry.Health{}, err
	}
	for _, row := range older {
		if slices.ContainsFunc(backends, func(b registry.BackendStatus) bool { return b.ID == row.BackendID }) {
			health.Reasons = append(health.Reasons, fmt.Sprintf("backend %s: the event log is older than what it holds, and nothing is removed: %s", row.BackendName, row.Message))
		}
	}
	checking, cancel := context.WithTimeout(ctx, registry.CheckTimeout)
	defer cancel()
	if err := r.core.CheckWrites(checking); err != nil {
		health.Reasons = append(health.Reasons, "nothing can be written: "+databaseReason(err))
	}
	if len(health.Reasons) > 0 {
		health.Status = registry.HealthDegraded
	}
	return health, nil
}
