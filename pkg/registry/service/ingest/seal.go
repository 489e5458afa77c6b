package ingest

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/doubt"
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/pkg/registry/service/ingest/rules"
	"github.com/coulomb/artifact-store/pkg/registry/upload"
	"github.com/coulomb/artifact-store/pkg/registry/view"
)

// seal appends the events of the publication and of also.
func (in *Intake) seal(ctx context.Context, d *draft, also Also) (registry.Publication, error) {
	actor := registry.ActorOf(ctx)
	// Encoded before the lock: a manifest can be megabytes.
	published, err := event.New(actor, event.PackagePublished{
		Producer: d.session.Producer, Name: d.session.Name, Version: d.session.Version,
		RetentionClass: d.session.RetentionClass, Tier: d.session.Tier,
		Backends: []string{d.session.BackendID}, Manifest: d.encoded,
	})
	if err != nil {
		return registry.Publication{}, err
	}
	if _, at, err := event.PublishedFront(published.Payload); err == nil {
		d.encoded = published.Payload[at:][:len(d.encoded)] // not to hold it twice
	}
	var before *view.Package
	// What a publish decides depends on its own version, session and blobs: others that
	// share its commit only make more blobs live. What also asks is not known.
	key := d.ref().String()
	if also != nil {
		key = ""
	}
	records, err := in.core.AppendKeyed(ctx, key, func(ctx context.Context, tx database.Tx) (events []eventlog.Event, err error) {
		before, err = in.decide(ctx, tx, d)
		switch {
		case err != nil:
			return nil, err
		case before == nil:
			events = []eventlog.Event{published}
		default:
			events, err = revive(ctx, tx, d, actor)
		}
		if err != nil || also == nil {
			return events, err
		}
		beside, err := also(ctx, tx)
		if err != nil {
			return nil, err
		}
		more, err := event.NewAll(actor, beside)
		return append(events, more...), err
	})
	switch {
	case err != nil:
		return registry.Publication{}, err
	case before != nil:
		return in.publicationOf(*before), nil
	}
	return registry.Publication{
		PackageRef: d.ref(), ManifestDigest: d.digest, Position: records[0].Position,
		Backend: in.core.NameOf(d.session.BackendID), BackendID: d.session.BackendID, Files: d.files, Bytes: d.bytes,
	}, nil
}

// decide seals the session. It returns the package if the version is published with
// this content already.
func (in *Intake) decide(ctx context.Context, tx database.Tx, d *draft) (*view.Package, error) {
	if d.inSession() {
		if err := upload.Seal(ctx, tx, d.session.ID, d.session.Revision); err != nil {
			return nil, moved(err)
		}
	}
	odd, err := oddsOf(ctx, tx, d)
	if err != nil {
		return nil, err
	}
	if odd&oddAbandoned != 0 {
		if err := checkAbandoned(ctx, tx, d.session.BackendID, d.session.BackendName); err != nil {
			return nil, err
		}
	}
	if odd&oddDoubts != 0 {
		if err := in.hasten(ctx, tx, d); err != nil {
			return nil, err
		}
	}
	relied := slices.Concat(d.reused, d.here, d.held)
	if live, err := view.CountLive(ctx, tx, d.session.BackendID, relied); err != nil || live != len(relied) {
		return nil, errors.Join(errMoved, err)
	}
	if odd&oddDoubts != 0 {
		if err := checkDoubts(ctx, tx, d.session.BackendID, relied); err != nil {
			return nil, err
		}
	}
	if odd&oddRemovals != 0 {
		if err := in.checkSwept(ctx, tx, d); err != nil {
			return nil, err
		}
	}
	if odd&oddTaken == 0 {
		return nil, rules.NewVersion(d.ref(), odd&oddTagged != 0)
	}
	return findTaken(ctx, tx, d)
}

// What a publish has to look at and hardly ever meets, as bits.
const (
	oddTaken     = 1  // the version is published
	oddAbandoned = 2  // the backend is given up
	oddDoubts    = 4  // there are doubts about something in the backend
	oddRemovals  = 8  // something is being removed from the backend, or was lately
	oddHeld      = 16 // the backend has one of the contents
	oddTagged    = 32 // a tag has the version's name
)

// oddities asks for all of them at once: a statement costs more than its look-up.
const oddities = `SELECT
	CASE WHEN EXISTS (SELECT 1 FROM packages WHERE producer = $1 AND name = $2 AND version = $3) THEN 1 ELSE 0 END +
	CASE WHEN EXISTS (SELECT 1 FROM abandoned WHERE backend_id = $4) THEN 2 ELSE 0 END +
	CASE WHEN EXISTS (SELECT 1 FROM doubts WHERE backend_id = $5) THEN 4 ELSE 0 END +
	CASE WHEN EXISTS (SELECT 1 FROM sweeping WHERE backend_id = $6) THEN 8 ELSE 0 END +
	CASE WHEN EXISTS (SELECT 1 FROM tags WHERE producer = $1 AND name = $2 AND tag = $7) THEN 32 ELSE 0 END`

func oddsOf(ctx context.Context, tx database.Tx, d *draft) (odd int, err error) {
	at := d.session.BackendID
	err = tx.QueryRowContext(ctx, oddities, d.session.Producer, d.session.Name, d.session.Version, at, at, at, []byte(d.session.Version)).Scan(&odd)
	return odd, err
}

// fewContents are looked up with the oddities.
const fewContents = 8

// odditiesAndHeld has a text for each power of two of contents, so that each is parsed once.
var odditiesAndHeld = func() (texts [4]string) {
	for i := range texts {
		texts[i] = oddities + ` +
	CASE WHEN EXISTS (SELECT 1 FROM storage_locations WHERE backend_id = $8 AND sha256 IN (` + database.Parameters(9, 1<<i) + `) AND state <> 'failed') THEN 16 ELSE 0 END`
	}
	return texts
}()

// oddsAndHeld is oddsOf, and asks whether the backend has one of the contents.
func oddsAndHeld(ctx context.Context, tx database.Tx, d *draft) (odd int, err error) {
	if len(d.contents) > fewContents {
		odd, err = oddsOf(ctx, tx, d)
		return odd | oddHeld, err
	}
	at, power := d.session.BackendID, bits.Len(uint(len(d.contents)-1))
	args := []any{d.session.Producer, d.session.Name, d.session.Version, at, at, at, []byte(d.session.Version), at}
	for i := range 1 << power {
		args = append(args, d.contents[min(i, len(d.contents)-1)].Bytes())
	}
	err = tx.QueryRowContext(ctx, odditiesAndHeld[power], args...).Scan(&odd)
	return odd, err
}

// findTaken returns the package if it is the same, nil if there is none.
func findTaken(ctx context.Context, tx database.Tx, d *draft) (*view.Package, error) {
	taken, err := view.FindPackage(ctx, tx, d.session.Producer, d.session.Name, d.session.Version)
	if errors.Is(err, view.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &taken, checkTaken(d, taken)
}

// hasten makes the doubts due whose bytes were stored again.
func (in *Intake) hasten(ctx context.Context, tx database.Tx, d *draft) error {
	if d.inSession() {
		return doubt.Hasten(ctx, tx, d.session.BackendID, d.session.ID, in.core.Now())
	}
	sent := slices.DeleteFunc(slices.Clone(d.contents), func(sha digest.Digest) bool { return slices.Contains(d.held, sha) })
	return doubt.HastenBlobs(ctx, tx, d.session.BackendID, sent, in.core.Now())
}

// checkDoubts makes another attempt if a reader met a reused blob meanwhile, and it is not
// as the log says.
func checkDoubts(ctx context.Context, tx database.Tx, backendID string, blobs []digest.Digest) error {
	doubts, err := doubt.Find(ctx, tx, blobs)
	for _, backends := range doubts {
		if slices.Contains(backends, backendID) {
			return errMoved
		}
	}
	return err
}

// moved makes another attempt of a publish whose session is no longer open: it
// finds out whether the same request sealed it or the files changed.
func moved(err error) error {
	if errors.Is(err, upload.ErrNotOpen) {
		return errors.Join(errMoved, &registry.ConflictError{Field: "files", Message: "the session's files changed while it was being published"})
	}
	return err
}

// revive returns events for blobs that publishing a version again brings back:
// every location of them had failed or is in doubt, and this session stored them
// in its placement. What was reused is live and in no doubt, so the others were sent.
func revive(ctx context.Context, tx database.Tx, d *draft, actor string) ([]eventlog.Event, error) {
	contents := []digest.Digest{d.digest}
	seen := make(map[digest.Digest]bool)
	for _, f := range rules.EachFile(d.encoded) {
		if sha := f.Digests.SHA256; !seen[sha] {
			seen[sha] = true
			contents = append(contents, sha)
		}
	}
	dead, err := view.ListNotLive(ctx, tx, contents)
	if err != nil {
		return nil, err
	}
	doubted, err := doubt.ListNotElsewhere(ctx, tx, d.session.BackendID, contents)
	if err != nil {
		return nil, err
	}
	dead = append(dead, doubted...)
	var added []event.Payload
	for chunk := range slices.Chunk(dead, event.MaxDigests) {
		sums := make([][]byte, len(chunk))
		for i, sha := range chunk {
			sums[i] = sha.Bytes()
		}
		added = append(added, event.LocationAdded{BackendID: d.session.BackendID, SHA256: sums})
	}
	return event.NewAll(actor, added)
}

// checkTaken accepts the same content under the same terms: it is the same publication.
func checkTaken(d *draft, taken view.Package) error {
	if taken.ManifestDigest != d.digest {
		return &registry.ConflictError{Field: "version", Existing: taken.ManifestDigest,
			Message: fmt.Sprintf("%s is published with the manifest %s, not %s", d.ref(), taken.ManifestDigest, d.digest)}
	}
	return sameTerms(d.session, taken)
}

func (in *Intake) findPublication(ctx context.Context, tx database.Tx, ref registry.PackageRef) (registry.Publication, error) {
	p, err := view.FindPackage(ctx, tx, ref.Producer, ref.Name, ref.Version)
	if err != nil {
		return registry.Publication{}, err
	}
	return in.publicationOf(p), nil
}

func (in *Intake) publicationOf(p view.Package) registry.Publication {
	return registry.Publication{
		PackageRef:     registry.PackageRef{Producer: p.Producer, Name: p.Name, Version: p.Version},
		ManifestDigest: p.ManifestDigest, Position: p.Position,
		Backend: in.core.NameOf(p.BackendID), BackendID: p.BackendID, Files: p.Files, Bytes: p.Bytes,
	}
}

// checkAbandoned refuses new locations in a backend that was abandoned while
// bytes were on their way to it. It runs under the lock of the log's head.
func checkAbandoned(ctx context.Context, tx database.Tx, id, name string) error {
	position, err := view.FindAbandoned(ctx, tx, id)
	if errors.Is(err, view.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: %s was abandoned (event %d): begin a new upload", registry.ErrUnavailable, name, position)
}
