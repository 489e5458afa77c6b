package observetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// Registrar is a registrar.Registrar without a log: markers are "<log> <id>".
type Registrar struct {
	log string

	mu        sync.Mutex
	places    map[string]string // id -> name
	findings  map[string]registrar.Findings
	abandoned []string // ids
	released  []string // ids
	older     map[string]bool
	refused   error // of every head mark
	away      bool  // the log
}

// NewRegistrar returns one that has seen no place.
func NewRegistrar() *Registrar {
	return &Registrar{log: uuid.NewString(), places: map[string]string{}, findings: map[string]registrar.Findings{}, older: map[string]bool{}}
}

// RegisterBackend implements registrar.Registrar.
func (r *Registrar) RegisterBackend(ctx context.Context, name, _, place string, b storage.Marked) (string, error) {
	marker, err := b.ReadMarker(ctx)
	if errors.Is(err, storage.ErrNotFound) {
		marker, err = b.CreateMarker(ctx, []byte(r.log+" "+uuid.NewString()))
	}
	if err != nil {
		return "", err
	}
	log, id, _ := strings.Cut(string(marker), " ")
	r.mu.Lock()
	defer r.mu.Unlock()
	if log != r.log {
		return "", fmt.Errorf("the marker in %s: %w", place, registrar.ErrForeignMarker)
	}
	if r.away {
		return id, fmt.Errorf("%w: %w", registrar.ErrNotRecorded, context.DeadlineExceeded)
	}
	r.places[id] = name
	return id, nil
}

// TakeLog says whether the log is away.
func (r *Registrar) TakeLog(away bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away = away
}

// MarkHead implements registrar.Registrar. It writes what it is given in place of a mark.
func (r *Registrar) MarkHead(ctx context.Context, owner registrar.Owner, b storage.Marked, every time.Duration) error {
	if _, err := b.ReadHeadMark(ctx); err != nil && !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	r.mu.Lock()
	older, refused := r.older[owner.BackendID], r.refused
	r.mu.Unlock()
	if refused != nil {
		return refused
	}
	if older || every == registrar.CompareOnly {
		if older {
			return &registrar.MarkerError{Kind: registrar.ErrOlderLog, Message: owner.Name + ": the log had come to event 7"}
		}
		return nil
	}
	_, err := b.WriteHeadMark(ctx, []byte(every.String()))
	return err
}

// Age says whether the log is older than the backend's head mark.
func (r *Registrar) Age(id string, older bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.older[id] = older
}

// RefuseHeadMarks has every head mark fail with err; nil ends that.
func (r *Registrar) RefuseHeadMarks(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused = err
}

// Findings implements registrar.Registrar.
func (r *Registrar) Findings(_ context.Context, id string) (registrar.Findings, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.findings[id], nil
}

// InUse implements registrar.Registrar.
func (r *Registrar) InUse(_ context.Context, ids []string) (used []string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		if r.findings[id].Live > 0 {
			used = append(used, id)
		}
	}
	return used, nil
}

// ReleaseBackend implements registrar.Registrar.
func (r *Registrar) ReleaseBackend(_ context.Context, leaving registrar.Leaving) (registrar.Released, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := leaving.ID
	for known, name := range r.places {
		if id == "" && name == leaving.Name {
			id = known
		}
	}
	live := r.findings[id].Live
	if live > 0 && leaving.Abandon != id {
		return registrar.Released{ID: id, Live: live, Held: true}, nil
	}
	r.released = append(r.released, id)
	if live > 0 {
		r.abandoned = append(r.abandoned, id)
		r.findings[id] = registrar.Findings{Abandoned: live}
	}
	return registrar.Released{ID: id, Live: live}, nil
}

// Given lists the backends that were given up.
func (r *Registrar) Given() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.abandoned)
}

// Released lists the backends that the log let go of, given up or not.
func (r *Registrar) Released() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.released)
}

// Find has the log hold the findings of a backend.
func (r *Registrar) Find(id string, f registrar.Findings) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.findings[id] = f
}
