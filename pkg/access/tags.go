package access

import (
	"context"

	"github.com/coulomb/artifact-store/pkg/registry"
)

// Tags belong to the packages of their producer.

// SetTag implements registry.Tags.
func (g *guard) SetTag(ctx context.Context, ref registry.TagRef, set registry.TagSetting) (registry.Tag, error) {
	if err := g.mayTag(ctx, Create, ref); err != nil {
		return registry.Tag{}, err
	}
	return g.inner.SetTag(ctx, ref, set)
}

// RemoveTag implements registry.Tags.
func (g *guard) RemoveTag(ctx context.Context, ref registry.TagRef) error {
	if err := g.mayTag(ctx, Delete, ref); err != nil {
		return err
	}
	return g.inner.RemoveTag(ctx, ref)
}

// GetTag implements registry.Tags.
func (g *guard) GetTag(ctx context.Context, ref registry.TagRef, at uint64) (registry.Tag, error) {
	if err := g.mayTag(ctx, Get, ref); err != nil {
		return registry.Tag{}, err
	}
	return g.inner.GetTag(ctx, ref, at)
}

// ListTags implements registry.Tags.
func (g *guard) ListTags(ctx context.Context, query registry.TagQuery) (registry.TagPage, error) {
	if err := registry.ValidateName("producer", query.Producer); err != nil {
		return registry.TagPage{}, err
	}
	if err := g.may(ctx, List, Packages, query.Producer); err != nil {
		return registry.TagPage{}, err
	}
	return g.inner.ListTags(ctx, query)
}

// ListTagHistory implements registry.Tags.
func (g *guard) ListTagHistory(ctx context.Context, ref registry.TagRef, query registry.HistoryQuery) (registry.TagPage, error) {
	if err := g.mayTag(ctx, Get, ref); err != nil {
		return registry.TagPage{}, err
	}
	return g.inner.ListTagHistory(ctx, ref, query)
}

func (g *guard) mayTag(ctx context.Context, verb string, ref registry.TagRef) error {
	if err := ref.Validate(); err != nil {
		return err
	}
	return g.may(ctx, verb, Packages, ref.Producer)
}
