// Package tagging points tags to versions, and tells what they point to.
package tagging

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/pkg/registry/service/core"
	"github.com/coulomb/artifact-store/pkg/registry/view"
	"github.com/coulomb/artifact-store/pkg/registry/view/tags"
)

// Tagger implements registry.Tags.
type Tagger struct{ core *core.Core }

var _ registry.Tags = (*Tagger)(nil)

// New returns the room.
func New(c *core.Core) *Tagger { return &Tagger{c} }

// key is that of the command that publishes a version of that name: the two exclude each
// other, and so do two that set the same tag.
func key(ref registry.TagRef) string {
	return registry.PackageRef{Producer: ref.Producer, Name: ref.Name, Version: ref.Tag}.String()
}

// SetTag implements registry.Tags.
func (t *Tagger) SetTag(ctx context.Context, ref registry.TagRef, set registry.TagSetting) (registry.Tag, error) {
	if err := errors.Join(ref.Validate(), set.Validate()); err != nil {
		return registry.Tag{}, err
	}
	var is tags.Tag
	records, err := t.core.AppendKeyed(ctx, key(ref), func(ctx context.Context, tx database.Tx) ([]eventlog.Event, error) {
		is = tags.Tag{}
		target, err := view.FindPackage(ctx, tx, ref.Producer, ref.Name, set.Version)
		if errors.Is(err, view.ErrNotFound) {
			return nil, fmt.Errorf("%s/%s@%s: %w", ref.Producer, ref.Name, set.Version, registry.ErrNotFound)
		}
		if err != nil {
			return nil, err
		}
		if !set.Manifest.IsZero() && set.Manifest != target.ManifestDigest {
			return nil, &registry.ConflictError{Field: "manifest", Existing: target.ManifestDigest, Message: fmt.Sprintf("%s/%s@%s has the manifest %s", ref.Producer, ref.Name, set.Version, target.ManifestDigest)}
		}
		switch _, err := view.FindPackage(ctx, tx, ref.Producer, ref.Name, ref.Tag); {
		case err == nil:
			return nil, &registry.ConflictError{Field: "tag", Message: fmt.Sprintf("%q is a version of %s/%s, and versions never move", ref.Tag, ref.Producer, ref.Name)}
		case !errors.Is(err, view.ErrNotFound):
			return nil, err
		}
		old, err := tags.Find(ctx, tx, ref.Producer, ref.Name, ref.Tag, 0)
		if err != nil && !errors.Is(err, view.ErrNotFound) {
			return nil, err
		}
		same := err == nil && old.Manifest == target.ManifestDigest && old.Version == target.Version
		switch {
		case same && (old.Immutable || !set.Immutable):
			is = old
			return nil, nil
		case err == nil && old.Immutable:
			return nil, immutable(ref, old)
		}
		is = tags.Tag{
			Producer: ref.Producer, Name: ref.Name, Tag: ref.Tag, Version: target.Version, Manifest: target.ManifestDigest, Immutable: set.Immutable,
		}
		return event.NewAll(registry.ActorOf(ctx), []event.Payload{event.TagSet{
			Producer: ref.Producer, Name: ref.Name, Tag: ref.Tag, Version: target.Version, Manifest: target.ManifestDigest.Bytes(), Immutable: set.Immutable,
		}})
	})
	if err != nil {
		return registry.Tag{}, err
	}
	if len(records) > 0 {
		is.Position, is.Actor, is.Set = records[0].Position, records[0].Actor, records[0].Time
	}
	return describe(is), nil
}

func immutable(ref registry.TagRef, old tags.Tag) error {
	return &registry.ConflictError{Field: "tag", Existing: old.Manifest, Message: fmt.Sprintf("%s was set to %s for good (event %d)", ref, old.Version, old.Position)}
}

// RemoveTag implements registry.Tags.
func (t *Tagger) RemoveTag(ctx context.Context, ref registry.TagRef) error {
	if err := ref.Validate(); err != nil {
		return err
	}
	_, err := t.core.AppendKeyed(ctx, key(ref), func(ctx context.Context, tx database.Tx) ([]eventlog.Event, error) {
		old, err := tags.Find(ctx, tx, ref.Producer, ref.Name, ref.Tag, 0)
		if err != nil {
			return nil, err
		}
		if old.Immutable {
			return nil, immutable(ref, old)
		}
		return event.NewAll(registry.ActorOf(ctx), []event.Payload{event.TagRemoved{Producer: ref.Producer, Name: ref.Name, Tag: ref.Tag}})
	})
	return err
}

// GetTag implements registry.Tags.
func (t *Tagger) GetTag(ctx context.Context, ref registry.TagRef, at uint64) (registry.Tag, error) {
	if err := ref.Validate(); err != nil {
		return registry.Tag{}, err
	}
	var is tags.Tag
	read := t.core.ReadOne
	if at != 0 {
		read = t.core.Read // two questions of one state
	}
	err := read(ctx, func(tx database.Tx) (err error) {
		if err := core.WasAt(ctx, tx, at); err != nil {
			return err
		}
		is, err = tags.Find(ctx, tx, ref.Producer, ref.Name, ref.Tag, at)
		return err
	})
	if err != nil {
		return registry.Tag{}, err
	}
	return describe(is), nil
}

// ListTags implements registry.Tags.
func (t *Tagger) ListTags(ctx context.Context, query registry.TagQuery) (registry.TagPage, error) {
	limit, err := registry.PackagePageLimit(query.Limit)
	if err == nil {
		err = registry.ValidateName("producer", query.Producer)
	}
	if err == nil {
		err = registry.ValidatePackageName("name", query.Name)
	}
	if err != nil {
		return registry.TagPage{}, err
	}
	after, err := registry.ParseTagCursor(query.After)
	if err != nil {
		return registry.TagPage{}, err
	}
	return t.page(ctx, limit, func(last registry.Tag) string { return registry.TagCursor(last.Tag) }, func(tx database.Tx) ([]tags.Tag, error) {
		if err := core.WasAt(ctx, tx, query.At); err != nil {
			return nil, err
		}
		return tags.List(ctx, tx, query.Producer, query.Name, after, query.At, limit+1)
	})
}

// ListTagHistory implements registry.Tags.
func (t *Tagger) ListTagHistory(ctx context.Context, ref registry.TagRef, query registry.HistoryQuery) (registry.TagPage, error) {
	limit, err := registry.PackagePageLimit(query.Limit)
	if err == nil {
		err = ref.Validate()
	}
	if err != nil {
		return registry.TagPage{}, err
	}
	return t.page(ctx, limit, func(last registry.Tag) string { return strconv.FormatUint(last.Position, 10) }, func(tx database.Tx) ([]tags.Tag, error) {
		return tags.ListHistory(ctx, tx, ref.Producer, ref.Name, ref.Tag, query.Before, limit+1)
	})
}

// page is limit tags of those that read returns, which may be one more.
func (t *Tagger) page(ctx context.Context, limit int, next func(last registry.Tag) string, read func(tx database.Tx) ([]tags.Tag, error)) (registry.TagPage, error) {
	var rows []tags.Tag
	err := t.core.Read(ctx, func(tx database.Tx) (err error) {
		rows, err = read(tx)
		return err
	})
	page := registry.TagPage{Tags: make([]registry.Tag, 0, min(limit, len(rows)))}
	for i, row := range rows {
		if i == limit {
			page.Next = next(page.Tags[i-1])
			break
		}
		page.Tags = append(page.Tags, describe(row))
	}
	return page, err
}

func describe(t tags.Tag) registry.Tag {
	return registry.Tag{
		TagRef: registry.TagRef{Producer: t.Producer, Name: t.Name, Tag: t.Tag}, Version: t.Version, ManifestDigest: t.Manifest, Digest: t.Digest,
		Immutable: t.Immutable, Position: t.Position, Actor: t.Actor, Time: t.Set,
	}
}
