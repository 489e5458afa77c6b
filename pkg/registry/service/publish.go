package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/pkg/registry/upload"
	"github.com/coulomb/artifact-store/pkg/registry/view"
	"github.com/coulomb/artifact-store/pkg/storage"
)

const (
	// copyConcurrency bounds copies from other backends within one publish.
	copyConcurrency = 4
	// publishAttempts: between the moment the session is read and the moment
	// the head is locked, a reused location can fail verification, and the
	// session can be changed or sealed by another request.
	publishAttempts = 3
)

// errMoved: the session or a reused location is no longer what the publication was built on.
var errMoved = errors.New("what is being published has changed meanwhile")

// Publish implements Uploads. Order of writes: every blob of the package is
// durable in the placement, then the manifest's, then the event.
func (s *Service) Publish(ctx context.Context, id string, sent []byte) (registry.Publication, error) {
	patience := s.sweptPatience
	for attempt := 1; ; {
		publication, err := s.publish(ctx, id, sent)
		if swept, ok := errors.AsType[*sweptError](err); ok {
			// No attempt is used up: each round settles some blobs, or waits.
			if err := s.settle(ctx, swept, &patience); err != nil {
				return registry.Publication{}, err
			}
			continue
		}
		if attempt < publishAttempts && errors.Is(err, errMoved) {
			attempt++
			continue
		}
		return publication, err
	}
}

func (s *Service) publish(ctx context.Context, id string, sent []byte) (registry.Publication, error) {
	draft, err := s.draft(ctx, id)
	if err != nil {
		return registry.Publication{}, err
	}
	if draft.encoded == nil { // published before
		return draft.published, sameManifest(sent, draft.published)
	}
	if sent != nil && !bytes.Equal(sent, draft.encoded) {
		return registry.Publication{}, manifestDiffers(sent, draft)
	}
	store, err := s.writable(draft.session.BackendID, draft.session.BackendName)
	if err != nil {
		return registry.Publication{}, err
	}
	if err := s.copyMissing(ctx, draft, store); err != nil {
		return registry.Publication{}, err
	}
	if _, err := s.put(ctx, store, storage.Source{
		Reader: bytes.NewReader(draft.encoded), Size: int64(len(draft.encoded)), Want: digest.Of(draft.encoded), Tier: draft.session.Tier,
	}); err != nil {
		return registry.Publication{}, fmt.Errorf("storing the manifest of %s: %w", draft.ref(), err)
	}
	return s.seal(ctx, draft)
}

// draft is a session that is ready to be published, or was.
type draft struct {
	session   upload.Session
	manifest  *manifest.Manifest
	encoded   []byte
	reused    []digest.Digest      // blobs that this session did not send
	published registry.Publication // if encoded is nil
}

func (d *draft) ref() registry.PackageRef {
	return registry.PackageRef{Producer: d.session.Producer, Name: d.session.Name, Version: d.session.Version}
}

func (d *draft) manifestDigest() digest.Digest { return manifest.Digest(d.encoded) }

func (s *Service) draft(ctx context.Context, id string) (*draft, error) {
	var (
		d     draft
		files []upload.File
		blobs map[digest.Digest]upload.Blob
	)
	err := s.read(ctx, func(tx database.Tx) error {
		var err error
		if d.session, err = s.session(ctx, tx, id); err != nil {
			return err
		}
		if d.session.State == upload.StatePublished {
			d.published, err = s.findPublication(ctx, tx, d.ref())
			return err
		}
		if files, err = upload.ListFiles(ctx, tx, id); err != nil {
			return err
		}
		blobs, err = upload.ListBlobs(ctx, tx, id)
		return err
	})
	if err != nil || d.session.State == upload.StatePublished {
		return &d, err
	}
	if len(files) == 0 {
		return nil, registry.Invalid("files", "a package needs at least one file")
	}
	d.manifest = &manifest.Manifest{
		Producer: d.session.Producer, Name: d.session.Name, Version: d.session.Version,
		MediaType: d.session.MediaType, Annotations: d.session.Annotations, Files: make([]manifest.File, 0, len(files)),
	}
	var missing []string
	for _, f := range files {
		blob, there := blobs[f.Digests.SHA256]
		if !there {
			missing = append(missing, f.Path)
			continue
		}
		if f.Size != upload.UnknownSize && f.Size != blob.Size || !f.Digests.Matches(blob.Digests) {
			return nil, registry.Invalid("files", "%q was declared with %d bytes and %s; its bytes are %d and %s", f.Path, f.Size, f.Digests, blob.Size, blob.Digests)
		}
		d.manifest.Files = append(d.manifest.Files, manifest.File{Path: f.Path, Size: blob.Size, Digests: blob.Digests, Executable: f.Executable, MediaType: f.MediaType})
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return nil, &registry.IncompleteError{Count: len(missing), Paths: missing[:min(10, len(missing))]}
	}
	for sha, blob := range blobs {
		if blob.Source == upload.SourceReused {
			d.reused = append(d.reused, sha)
		}
	}
	if d.encoded, err = manifest.Encode(d.manifest); err != nil {
		return nil, asInvalid(err)
	}
	return &d, nil
}

// asInvalid turns the manifest's complaint into the registry's.
func asInvalid(err error) error {
	var invalid *manifest.InvalidError
	if errors.As(err, &invalid) {
		return &registry.InvalidError{Field: invalid.Field, Message: invalid.Message}
	}
	return err
}

// manifestDiffers says why a client's manifest is not the one of the session.
func manifestDiffers(sent []byte, d *draft) error {
	theirs, err := manifest.Decode(sent)
	if err != nil {
		return asInvalid(err)
	}
	want, got := manifest.Digest(d.encoded), manifest.Digest(sent)
	for i, f := range d.manifest.Files {
		if i >= len(theirs.Files) || theirs.Files[i] != f {
			return registry.Invalid(fmt.Sprintf("manifest.files[%d]", i), "is not %q as it was sent; the manifest computed here is %s, the one sent %s", f.Path, want, got)
		}
	}
	if len(theirs.Files) > len(d.manifest.Files) {
		return registry.Invalid(fmt.Sprintf("manifest.files[%d]", len(d.manifest.Files)), "%q was not declared in this session", theirs.Files[len(d.manifest.Files)].Path)
	}
	return registry.Invalid("manifest", "is %s, the one computed here is %s: the files agree, so compare producer, name, version, mediaType and annotations", got, want)
}

func sameManifest(sent []byte, published registry.Publication) error {
	if sent == nil || manifest.Digest(sent) == published.ManifestDigest {
		return nil
	}
	return registry.Invalid("manifest", "is %s, the version was published with %s", manifest.Digest(sent), published.ManifestDigest)
}

// copyMissing brings reused blobs that are live only elsewhere into the
// placement: a publication's locations are all where the session was placed.
func (s *Service) copyMissing(ctx context.Context, d *draft, into storage.Store) error {
	if len(d.reused) == 0 {
		return nil
	}
	var reusable map[digest.Digest]view.Reusable
	if err := s.read(ctx, func(tx database.Tx) (err error) {
		reusable, err = view.FindReusable(ctx, tx, d.session.Producer, d.reused)
		return err
	}); err != nil {
		return err
	}
	var gone, stay []digest.Digest
	var copied []upload.Blob
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(copyConcurrency)
	for _, sha := range d.reused {
		r, live := reusable[sha]
		switch {
		case !live:
			gone = append(gone, sha)
		case slices.Contains(r.Backends, d.session.BackendID):
			stay = append(stay, sha)
		default:
			copied = append(copied, upload.Blob{Digests: r.Digests, Size: r.Size, Source: upload.SourceSent})
			group.Go(func() error { return s.copyBlob(groupCtx, r, into, d.session.Tier) })
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	err := s.write(ctx, func(tx database.Tx) error {
		return errors.Join(upload.InsertBlobs(ctx, tx, d.session.ID, copied), upload.DropBlobs(ctx, tx, d.session.ID, gone))
	})
	if err == nil && len(gone) > 0 {
		return &registry.IncompleteError{Count: len(gone), Paths: pathsOf(d.manifest, gone)}
	}
	d.reused = stay
	return err
}

// pathsOf returns the first paths that have one of the contents.
func pathsOf(m *manifest.Manifest, contents []digest.Digest) []string {
	var paths []string
	for _, f := range m.Files {
		if slices.Contains(contents, f.Digests.SHA256) && len(paths) < 10 {
			paths = append(paths, f.Path)
		}
	}
	return paths
}

func (s *Service) copyBlob(ctx context.Context, r view.Reusable, into storage.Store, tier string) error {
	var errs error
	for _, id := range r.Backends {
		from, err := s.placer.Open(id)
		if err != nil || from.Store == nil {
			continue
		}
		body, _, err := from.Store.Get(ctx, r.Digests.SHA256, nil)
		if err == nil {
			_, err = s.put(ctx, into, storage.Source{Reader: body, Size: r.Size, Want: r.Digests, Tier: tier})
			err = errors.Join(err, body.Close())
		}
		if err == nil {
			return nil
		}
		errs = errors.Join(errs, fmt.Errorf("copying %s from %s: %w", r.Digests.SHA256, from.Name, err))
	}
	if errs == nil {
		errs = fmt.Errorf("%w: %s", registry.ErrUnavailable, r.Digests.SHA256)
	}
	return errs
}

// seal appends the event, unless the version is taken.
func (s *Service) seal(ctx context.Context, d *draft) (registry.Publication, error) {
	published, err := event.New(registry.ActorOf(ctx), event.PackagePublished{
		Producer: d.session.Producer, Name: d.session.Name, Version: d.session.Version,
		RetentionClass: d.session.RetentionClass, Tier: d.session.Tier,
		Backends: []string{d.session.BackendID}, Manifest: d.encoded,
	})
	if err != nil {
		return registry.Publication{}, err
	}
	err = s.append(ctx, func(ctx context.Context, tx database.Tx) ([]eventlog.Event, error) {
		if err := upload.Seal(ctx, tx, d.session.ID, d.session.Revision); err != nil {
			return nil, moved(err)
		}
		if err := checkAbandoned(ctx, tx, d.session.BackendID, d.session.BackendName); err != nil {
			return nil, err
		}
		if live, err := view.CountLive(ctx, tx, d.session.BackendID, d.reused); err != nil || live != len(d.reused) {
			return nil, errors.Join(errMoved, err)
		}
		if err := s.checkSwept(ctx, tx, d); err != nil {
			return nil, err
		}
		taken, err := view.FindPackage(ctx, tx, d.session.Producer, d.session.Name, d.session.Version)
		if err == nil {
			if err := s.checkTaken(d, taken); err != nil {
				return nil, err
			}
			return s.revive(ctx, tx, d)
		}
		if !errors.Is(err, view.ErrNotFound) {
			return nil, err
		}
		return []eventlog.Event{published}, nil
	})
	if err != nil {
		return registry.Publication{}, err
	}
	var publication registry.Publication
	err = s.read(ctx, func(tx database.Tx) (err error) {
		publication, err = s.findPublication(ctx, tx, d.ref())
		return err
	})
	return publication, err
}

// moved: the next attempt finds out whether a session that is not open any more
// was sealed by the same request sent twice, or has other files now.
func moved(err error) error {
	if errors.Is(err, upload.ErrNotOpen) {
		return errors.Join(errMoved, &registry.ConflictError{Field: "files", Message: "were added to the session while it was being published"})
	}
	return err
}

// revive logs what publishing a version again has brought back: blobs whose
// every location had failed, and which this session has stored in its
// placement. What was reused is live, so what is not live was sent.
func (s *Service) revive(ctx context.Context, tx database.Tx, d *draft) ([]eventlog.Event, error) {
	contents := []digest.Digest{manifest.Digest(d.encoded)}
	seen := make(map[digest.Digest]bool)
	for _, f := range d.manifest.Files {
		if sha := f.Digests.SHA256; !seen[sha] {
			seen[sha] = true
			contents = append(contents, sha)
		}
	}
	dead, err := view.ListNotLive(ctx, tx, contents)
	if err != nil {
		return nil, err
	}
	var events []eventlog.Event
	for chunk := range slices.Chunk(dead, event.MaxDigests) {
		sums := make([][]byte, len(chunk))
		for i, sha := range chunk {
			sums[i] = sha.Bytes()
		}
		added, err := event.New(registry.ActorOf(ctx), event.LocationAdded{BackendID: d.session.BackendID, SHA256: sums})
		if err != nil {
			return nil, err
		}
		events = append(events, added)
	}
	return events, nil
}

// checkTaken: the same content under the same terms is the same publication.
func (s *Service) checkTaken(d *draft, taken view.Package) error {
	if taken.ManifestDigest != manifest.Digest(d.encoded) {
		return &registry.ConflictError{Field: "version", Existing: taken.ManifestDigest,
			Message: fmt.Sprintf("%s is published with the manifest %s, not %s", d.ref(), taken.ManifestDigest, manifest.Digest(d.encoded))}
	}
	return sameTerms(d.session, taken)
}

func (s *Service) findPublication(ctx context.Context, tx database.Tx, ref registry.PackageRef) (registry.Publication, error) {
	p, err := view.FindPackage(ctx, tx, ref.Producer, ref.Name, ref.Version)
	if err != nil {
		return registry.Publication{}, err
	}
	return registry.Publication{
		PackageRef: ref, ManifestDigest: p.ManifestDigest, Position: p.Position,
		Backend: s.backendName(p.BackendID), BackendID: p.BackendID, Files: p.Files, Bytes: p.Bytes,
	}, nil
}

// backendName is the name under which a recorded backend is declared today, "" if it is not.
func (s *Service) backendName(id string) string {
	b, err := s.placer.Open(id)
	if err != nil {
		return ""
	}
	return b.Name
}
