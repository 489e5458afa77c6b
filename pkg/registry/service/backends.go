package service

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/registry/view"
)

// ListBackends implements Backends.
func (s *Service) ListBackends(ctx context.Context) ([]registry.BackendStatus, error) {
	declared := s.placer.Backends()
	all := make([]registry.BackendStatus, 0, len(declared))
	for _, b := range declared {
		status, err := s.backendStatus(ctx, b)
		if err != nil {
			return nil, err
		}
		all = append(all, status)
	}
	return all, nil
}

// GetBackend implements Backends.
func (s *Service) GetBackend(ctx context.Context, nameOrID string) (registry.BackendStatus, error) {
	b, err := s.findBackend(nameOrID)
	if err != nil {
		return registry.BackendStatus{}, err
	}
	return s.backendStatus(ctx, b)
}

func (s *Service) findBackend(nameOrID string) (placement.Backend, error) {
	for _, b := range s.placer.Backends() {
		if b.Name == nameOrID || b.ID == nameOrID && b.ID != "" {
			return b, nil
		}
	}
	return placement.Backend{}, fmt.Errorf("backend %.100q: %w", nameOrID, registry.ErrNotFound)
}

func (s *Service) backendStatus(ctx context.Context, b placement.Backend) (registry.BackendStatus, error) {
	findings, err := s.Findings(ctx, b.ID)
	return registry.BackendStatus{Backend: b, Verified: verified(findings), Findings: findings}, err
}

// ProbeBackend implements Backends.
func (s *Service) ProbeBackend(ctx context.Context, nameOrID string) (registrar.ProbeReport, error) {
	b, err := s.findBackend(nameOrID)
	if err != nil {
		return registrar.ProbeReport{}, err
	}
	if b.Prober == nil {
		return registrar.ProbeReport{}, &registry.UnavailableError{Backend: b.Name, Message: "it cannot be probed from here"}
	}
	report, err := b.Prober.Probe(ctx)
	if errors.Is(err, registrar.ErrProbing) {
		err = &registry.ConflictError{Field: "backend", Message: "a probe of " + b.Name + " is under way"}
	}
	return report, err
}

// verified: one failed location is False; nothing ever looked at proves nothing.
func verified(f registrar.Findings) string {
	switch {
	case f.Failed > 0:
		return registry.VerifiedFalse
	case f.LastVerified.IsZero():
		return registry.VerifiedUnknown
	}
	return registry.VerifiedTrue
}

// counted are findings, and the log's head when they were counted.
type counted struct {
	head     eventlog.Head
	findings registrar.Findings
}

// Findings implements registrar.Registrar. Counting reads every location of the
// backend, so it is done only when something was logged since the last time.
func (s *Service) Findings(ctx context.Context, id string) (registrar.Findings, error) {
	if id == "" {
		return registrar.Findings{}, nil
	}
	var now counted
	err := s.read(ctx, func(tx database.Tx) error {
		head, err := eventlog.HeadTx(ctx, tx)
		if err != nil {
			return err
		}
		if last, found := s.counted.Load(id); found && last.(counted).head == head {
			now = last.(counted)
			return nil
		}
		now.head = head
		now.findings, err = findingsTx(ctx, tx, id)
		return err
	})
	if err != nil {
		return registrar.Findings{}, err
	}
	s.counted.Store(id, now)
	now.findings.Failures = slices.Clone(now.findings.Failures)
	return now.findings, nil
}

func findingsTx(ctx context.Context, tx database.Tx, id string) (registrar.Findings, error) {
	f, err := view.FindFindings(ctx, tx, id)
	if err != nil {
		return registrar.Findings{}, err
	}
	answer := registrar.Findings{
		Live: f.Live, Failed: f.Corrupt + f.Missing, Corrupt: f.Corrupt, Missing: f.Missing, Abandoned: f.Abandoned, LastVerified: f.Newest,
		WaitingSince: f.OldestLive,
	}
	if f.NeverChecked == 0 {
		answer.OldestVerified = f.Oldest
	}
	if f.FirstUnchecked != 0 {
		stored, err := eventlog.TimeTx(ctx, tx, f.FirstUnchecked)
		if err != nil {
			return registrar.Findings{}, err
		}
		if answer.WaitingSince.IsZero() || stored.Before(answer.WaitingSince) {
			answer.WaitingSince = stored
		}
	}
	if answer.Failed == 0 {
		return answer, nil
	}
	failed, err := view.ListFailed(ctx, tx, id, registrar.MaxFailures)
	for _, location := range failed {
		answer.Failures = append(answer.Failures, registrar.FailedLocation{SHA256: location.SHA256.String(), Reason: location.Reason})
	}
	return answer, err
}

// Explain implements Backends.
func (s *Service) Explain(_ context.Context, req placement.Request) (placement.Explanation, error) {
	if err := registry.ValidateName("producer", req.Producer); err != nil {
		return placement.Explanation{}, err
	}
	if err := registry.ValidateName("retentionClass", req.RetentionClass); err != nil {
		return placement.Explanation{}, err
	}
	return s.placer.Explain(req), nil
}

// Health implements Backends.
func (s *Service) Health(ctx context.Context) (registry.Health, error) {
	head, err := s.LogHead(ctx)
	if err != nil {
		return registry.Health{}, err
	}
	backends, err := s.ListBackends(ctx)
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
			health.Reasons = append(health.Reasons, fmt.Sprintf("backend %s takes bytes, but: %s: %s", b.Name, b.Reason, b.Message))
		}
		if b.Findings.Failed > 0 {
			health.Reasons = append(health.Reasons, fmt.Sprintf("backend %s: %d locations failed verification (%d corrupt, %d missing)",
				b.Name, b.Findings.Failed, b.Findings.Corrupt, b.Findings.Missing))
		}
	}
	if len(health.Reasons) > 0 {
		health.Status = registry.HealthDegraded
	}
	return health, nil
}
