package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/upload"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// draft is a session that is ready to be published, or is published already.
type draft struct {
	session   upload.Session
	manifest  *manifest.Manifest
	encoded   []byte
	reused    []digest.Digest      // blobs that this session did not send
	held      []digest.Digest      // blobs that it sent and the placement had
	published registry.Publication // if encoded is nil
}

func (d *draft) ref() registry.PackageRef {
	return registry.PackageRef{Producer: d.session.Producer, Name: d.session.Name, Version: d.session.Version}
}

func (d *draft) manifestDigest() digest.Digest { return manifest.Digest(d.encoded) }

func (in *Intake) draft(ctx context.Context, id string) (*draft, error) {
	var (
		d     draft
		files []upload.File
		blobs map[digest.Digest]upload.Blob
	)
	err := in.core.Read(ctx, func(tx database.Tx) error {
		var err error
		if d.session, err = in.session(ctx, tx, id); err != nil {
			return err
		}
		if d.session.State == upload.StatePublished {
			d.published, err = in.findPublication(ctx, tx, d.ref())
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
		return nil, in.incomplete(ctx, id, len(files), missing)
	}
	for sha, blob := range blobs {
		switch blob.Source {
		case upload.SourceReused:
			d.reused = append(d.reused, sha)
		case upload.SourceHeld:
			d.held = append(d.held, sha)
		}
	}
	if d.encoded, err = manifest.Encode(d.manifest); err != nil {
		return nil, asInvalid(err)
	}
	return &d, nil
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

// asInvalid turns the manifest's complaint into the registry's.
func asInvalid(err error) error {
	var invalid *manifest.InvalidError
	if errors.As(err, &invalid) {
		return &registry.InvalidError{Field: invalid.Field, Message: invalid.Message}
	}
	return err
}

// manifestDiffers says how a client's manifest differs from the session's.
func manifestDiffers(sent []byte, d *draft) error {
	theirs, err := manifest.Decode(sent)
	if err != nil {
		return asInvalid(err)
	}
	want, got := manifest.Digest(d.encoded), manifest.Digest(sent)
	for i, f := range d.manifest.Files {
		if i >= len(theirs.Files) || theirs.Files[i] != f {
			return registry.Invalid(fmt.Sprintf("manifest.files[%d]", i), "differs from %q as it was stored; the server's manifest is %s, the client's is %s", f.Path, want, got)
		}
	}
	if len(theirs.Files) > len(d.manifest.Files) {
		return registry.Invalid(fmt.Sprintf("manifest.files[%d]", len(d.manifest.Files)), "%q was not declared in this session", theirs.Files[len(d.manifest.Files)].Path)
	}
	return registry.Invalid("manifest", "is %s, the server's is %s: the files agree, so compare producer, name, version, mediaType and annotations", got, want)
}

func sameManifest(sent []byte, published registry.Publication) error {
	if sent == nil || manifest.Digest(sent) == published.ManifestDigest {
		return nil
	}
	return registry.Invalid("manifest", "is %s, the version is published with %s", manifest.Digest(sent), published.ManifestDigest)
}
