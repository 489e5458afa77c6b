package ingest

import (
	"context"
	"errors"
	"runtime/debug"
	"slices"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/service/ingest/rules"
	"github.com/coulomb/artifact-store/pkg/registry/upload"
	"github.com/coulomb/artifact-store/pkg/shares"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// draft is a session that is ready to be published, or is published already. It
// has a share of what drafts may weigh until it is released.
type draft struct {
	session   upload.Session
	files     int
	bytes     int64                // of the files
	encoded   []byte               // the manifest, nil if it is published or released
	digest    digest.Digest        // of it
	digests   digest.Dual          // the same, both
	reused    []digest.Digest      // blobs that this session did not send
	here      []digest.Digest      // of them, those that the placement had when they were declared
	held      []digest.Digest      // blobs that it sent and the placement had
	published registry.Publication // if it is published
	contents  []digest.Digest      // its blobs, the manifest first, if there is no session
	claim     rules.Claim          // what the client says of the manifest, if there is no session
	extras    rules.Extras         // what only the client can say
	weight    *shares.Share
}

func (d *draft) ref() registry.PackageRef {
	return registry.PackageRef{Producer: d.session.Producer, Name: d.session.Name, Version: d.session.Version}
}

func (d *draft) isPublished() bool { return d.session.State == upload.StatePublished }

// release drops what weighs. It may be called again.
func (d *draft) release() {
	d.encoded, d.reused, d.here, d.held = nil, nil, nil, nil
	d.weight.Return()
	d.weight = nil
}

// sweepUp gives memory back after a large draft was made: its rows were several
// times the manifest. The database is about to take room that Go does not know of.
func (d *draft) sweepUp() {
	if int64(len(d.encoded)) > smallDraft {
		debug.FreeOSMemory()
	}
}

// draft reads a session. What it takes is known before it is read: as many
// publish at a time as have room.
func (in *Intake) draft(ctx context.Context, id string, extras rules.Extras) (*draft, error) {
	d, got, weight := &draft{extras: extras}, rows{}, int64(0)
	err := in.core.ReadSmall(ctx, func(tx database.Tx) (err error) {
		d.release() // of an attempt that failed
		if err = in.beginDraft(ctx, tx, d, id); err != nil || d.isPublished() {
			return err
		}
		var texts int64
		d.files, texts, err = upload.Weigh(ctx, tx, id)
		weight = draftTimes * (texts + int64(d.files)*draftFile + extras.Texts() + int64(extras.Count())*draftFile)
		if err != nil || d.files == 0 || weight > smallDraft {
			return err
		}
		// The usual draft is small and waits for none: one transaction is enough.
		if d.weight = in.smallDrafts.TryTake(ctx, weight); d.weight != nil {
			got, err = in.rowsOf(ctx, tx, d, id)
		}
		return err
	})
	switch {
	case err != nil:
		d.release()
		return nil, err
	case d.isPublished():
		return d, nil
	case d.files == 0:
		return nil, errNoFiles()
	case d.weight == nil:
		if d.weight, err = in.weighs(weight).Take(ctx, weight); err != nil {
			return nil, err
		}
		err = in.core.Read(ctx, func(tx database.Tx) (err error) {
			if err = in.beginDraft(ctx, tx, d, id); err == nil && !d.isPublished() {
				got, err = in.rowsOf(ctx, tx, d, id)
			}
			return err
		})
	}
	if err == nil && !d.isPublished() {
		err = in.encode(ctx, d, id, got)
	}
	if err != nil {
		d.release()
		return nil, err
	}
	return d, nil
}

func errNoFiles() error { return registry.Invalid("files", "a package needs at least one file") }

// inSession reports whether there is a session: its rows say what the draft has.
func (d *draft) inSession() bool { return d.session.ID != "" }

// weighs returns the pool for drafts of that weight: small ones do not wait for large ones.
func (in *Intake) weighs(weight int64) *shares.Pool {
	if weight <= smallDraft {
		return in.smallDrafts
	}
	return in.largeDrafts
}

func (in *Intake) beginDraft(ctx context.Context, tx database.Tx, d *draft, id string) (err error) {
	if d.session, err = in.session(ctx, tx, id); err == nil && d.isPublished() {
		d.published, err = in.findPublication(ctx, tx, d.ref())
	}
	return err
}

// rows are a session's files, those without content by their paths.
type rows struct {
	files   []manifest.File
	missing []string
}

// rowsOf reads the session's files.
func (in *Intake) rowsOf(ctx context.Context, tx database.Tx, d *draft, id string) (got rows, err error) {
	got.files = make([]manifest.File, 0, d.files)
	notSent := map[digest.Digest]bool{}
	d.reused, d.here, d.held = nil, nil, nil
	err = upload.EachFile(ctx, tx, id, func(f upload.File, content *upload.Blob) error {
		if content == nil {
			got.missing = append(got.missing, f.Path)
			return nil
		}
		if f.Size != upload.UnknownSize && f.Size != content.Size || !f.Digests.Matches(content.Digests) {
			return registry.Invalid("files", "%q was declared with %d bytes and %s; its bytes are %d and %s", f.Path, f.Size, f.Digests, content.Size, content.Digests)
		}
		got.files = append(got.files, manifest.File{Path: f.Path, Size: content.Size, Digests: content.Digests, Executable: f.Executable, MediaType: f.MediaType})
		if sha := content.Digests.SHA256; content.Source != upload.SourceSent && !notSent[sha] {
			notSent[sha] = true
			switch content.Source {
			case upload.SourceHeld:
				d.held = append(d.held, sha)
			case upload.SourceHere:
				d.here = append(d.here, sha)
			default:
				d.reused = append(d.reused, sha)
			}
		}
		return nil
	})
	d.files = len(got.files) + len(got.missing)
	return got, err
}

// encode makes the manifest. The rows are not kept.
func (in *Intake) encode(ctx context.Context, d *draft, id string, got rows) (err error) {
	if len(got.missing) > 0 {
		slices.Sort(got.missing)
		return in.incomplete(ctx, id, d.files, got.missing)
	}
	m := &manifest.Manifest{Producer: d.session.Producer, Name: d.session.Name, Version: d.session.Version,
		MediaType: d.session.MediaType, Annotations: d.session.Annotations, Files: got.files}
	d.extras.AddTo(m)
	if d.encoded, err = manifest.Encode(m); err != nil {
		return rules.AsInvalid(err)
	}
	d.digests = digest.Of(d.encoded)
	d.digest = d.digests.SHA256
	for _, f := range got.files {
		d.bytes += f.Size
	}
	return nil
}

// incomplete says what is missing of a session's files.
func (in *Intake) incomplete(ctx context.Context, id string, files int, missing []string) error {
	e := &registry.IncompleteError{Count: len(missing), Files: files, Paths: missing[:min(pathsInError, len(missing))]}
	err := in.core.Read(ctx, func(tx database.Tx) error {
		e.Partial = nil
		for _, path := range e.Paths {
			progress, err := fileProgress(ctx, tx, id, path)
			if err != nil && !errors.Is(err, upload.ErrNotFound) {
				return err
			}
			if progress.Offset == 0 {
				continue
			}
			partial := registry.PartialFile{Path: path, Offset: progress.Offset, Size: storage.UnknownSize}
			if progress.Size != nil {
				partial.Size = *progress.Size
			}
			e.Partial = append(e.Partial, partial)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return e
}
