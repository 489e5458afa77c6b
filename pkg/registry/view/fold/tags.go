package fold

import (
	"context"
	"fmt"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry/event"
)

// tagTables are made by a step of Schema and by create. A tag is bytes: the order of
// PostgreSQL's text is that of a language.
func tagTables(n Names, byKey string) string {
	return `
CREATE TABLE ` + n.Of("tags") + ` (
	producer        TEXT   NOT NULL,
	name            TEXT   NOT NULL,
	tag             BYTEA  NOT NULL,
	version         TEXT   NOT NULL,
	manifest_sha256 BYTEA  NOT NULL, -- of the version
	digest          TEXT   NOT NULL, -- by which it was set, if that is another
	immutable       BIGINT NOT NULL, -- 0 or 1
	position        BIGINT NOT NULL, -- of v1.tag.set
	PRIMARY KEY (producer, name, tag)
)` + byKey + `;

CREATE TABLE ` + n.Of("tag_history") + ` (
	producer        TEXT   NOT NULL,
	name            TEXT   NOT NULL,
	tag             BYTEA  NOT NULL,
	position        BIGINT NOT NULL, -- of v1.tag.set or v1.tag.removed
	version         TEXT   NOT NULL, -- '' if it was removed
	manifest_sha256 BYTEA  NOT NULL, -- empty if it was removed
	digest          TEXT   NOT NULL,
	immutable       BIGINT NOT NULL,
	actor           TEXT   NOT NULL,
	set_us          BIGINT NOT NULL,
	PRIMARY KEY (producer, name, tag, position)
)` + byKey + `;
`
}

var (
	tagColumns     = []string{"producer", "name", "tag", "version", "manifest_sha256", "digest", "immutable", "position"}
	historyColumns = []string{"producer", "name", "tag", "position", "version", "manifest_sha256", "digest", "immutable", "actor", "set_us"}
)

func (f Fold) applyTagSet(ctx context.Context, tx database.Tx, rec eventlog.Record, p event.TagSet) error {
	if len(p.Manifest) != digest.Size {
		return fmt.Errorf("the digest of the manifest has %d bytes", len(p.Manifest))
	}
	immutable := 0
	if p.Immutable {
		immutable = 1
	}
	if _, err := f.insert(ctx, tx, "tags", tagColumns, [][]any{{p.Producer, p.Name, []byte(p.Tag), p.Version, p.Manifest, p.Digest, immutable, rec.Position}},
		`ON CONFLICT (producer, name, tag) DO UPDATE SET version = excluded.version, manifest_sha256 = excluded.manifest_sha256,
		 digest = excluded.digest, immutable = excluded.immutable, position = excluded.position`); err != nil {
		return err
	}
	_, err := f.insert(ctx, tx, "tag_history", historyColumns, [][]any{{p.Producer, p.Name, []byte(p.Tag), rec.Position, p.Version, p.Manifest, p.Digest, immutable,
		rec.Actor, rec.Time.UnixMicro()}}, "")
	return err
}

func (f Fold) applyTagRemoved(ctx context.Context, tx database.Tx, rec eventlog.Record, p event.TagRemoved) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM `+f.Of("tags")+` WHERE producer = $1 AND name = $2 AND tag = $3`, p.Producer, p.Name, []byte(p.Tag)); err != nil {
		return err
	}
	_, err := f.insert(ctx, tx, "tag_history", historyColumns, [][]any{{p.Producer, p.Name, []byte(p.Tag), rec.Position, "", []byte{}, "", 0,
		rec.Actor, rec.Time.UnixMicro()}}, "")
	return err
}
