package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"

	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// registrar is a placement.Registrar without a log: markers are "<log> <id>".
type registrar struct {
	log string

	mu        sync.Mutex
	places    map[string]string // id -> name
	findings  map[string]placement.Findings
	abandoned []string // ids
}

func newRegistrar() *registrar {
	return &registrar{log: uuid.NewString(), places: map[string]string{}, findings: map[string]placement.Findings{}}
}

func (r *registrar) RegisterBackend(ctx context.Context, name, _, place string, b storage.Marked) (string, error) {
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
		return "", fmt.Errorf("the marker in %s: %w", place, placement.ErrForeignMarker)
	}
	r.places[id] = name
	return id, nil
}

func (r *registrar) Findings(_ context.Context, id string) (placement.Findings, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.findings[id], nil
}

func (r *registrar) ReleaseBackend(_ context.Context, leaving placement.Leaving) (placement.Released, error) {
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
		return placement.Released{ID: id, Live: live, Held: true}, nil
	}
	if live > 0 {
		r.abandoned = append(r.abandoned, id)
		r.findings[id] = placement.Findings{Abandoned: live}
	}
	return placement.Released{ID: id, Live: live}, nil
}

// given lists the backends that were given up.
func (r *registrar) given() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.abandoned)
}

func (r *registrar) find(id string, f placement.Findings) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.findings[id] = f
}
