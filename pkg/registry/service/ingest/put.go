package ingest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/doubt"
	"github.com/coulomb/artifact-store/pkg/registry/service/core"
	"github.com/coulomb/artifact-store/pkg/registry/service/ingest/rules"
	"github.com/coulomb/artifact-store/pkg/registry/upload"
	"github.com/coulomb/artifact-store/pkg/registry/view"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// PutFile implements Uploads. Order of writes: the declared file (the intent) is
// recorded before the bytes are stored, and the bytes are durable before they are
// recorded.
func (in *Intake) PutFile(ctx context.Context, id, path string, content registry.Content) (registry.UploadedFile, error) {
	if err := registry.ValidatePath("path", path); err != nil {
		return registry.UploadedFile{}, err
	}
	if err := registry.ValidateDigests("digests", content.Digests); err != nil {
		return registry.UploadedFile{}, err
	}
	if content.Size < storage.UnknownSize || content.Size > manifest.MaxFileSize {
		return registry.UploadedFile{}, registry.Invalid("size", "must be 0 to %d bytes, is %d", int64(manifest.MaxFileSize), content.Size)
	}
	session, file, implicit, err := in.declaredFile(ctx, id, path, content.Executable)
	if err != nil {
		return registry.UploadedFile{}, err
	}
	info, err := in.putDeclared(ctx, session, file, content)
	if err != nil {
		if implicit {
			in.undeclare(ctx, id, path)
		}
		return registry.UploadedFile{}, err
	}
	return registry.UploadedFile{Path: path, Size: info.Size, Digests: info.Digests}, nil
}

func (in *Intake) putDeclared(ctx context.Context, session upload.Session, file upload.File, content registry.Content) (storage.Info, error) {
	src, err := rules.Source(session, file, content)
	if err != nil {
		return storage.Info{}, err
	}
	store, err := in.writable(session.BackendID, session.BackendName)
	if err != nil {
		return storage.Info{}, err
	}
	held, err := in.held(ctx, session.BackendID, []digest.Digest{src.Want.SHA256})
	if err != nil {
		return storage.Info{}, err
	}
	src.Held = held[src.Want.SHA256]
	info, err := in.put(ctx, store, src)
	if err != nil {
		return storage.Info{}, fmt.Errorf("storing %q in %s: %w", file.Path, session.BackendName, err)
	}
	return info, in.recordStored(ctx, session, []storedFile{{file, info}})
}

// errPutTime is why a Put was ended.
var errPutTime = fmt.Errorf("storing one file may take %s", registry.MaxPutTime)

// put is the one way in which the registry stores bytes. It ends a Put that takes
// longer than MaxPutTime, before a sweep could remove what it has staged.
func (in *Intake) put(ctx context.Context, store storage.Store, src storage.Source) (storage.Info, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, in.PutTime, errPutTime)
	defer cancel()
	return store.Put(ctx, src)
}

// held returns those of the contents that are in the backend, by the log and without
// doubt. The zero digest is none.
func (in *Intake) held(ctx context.Context, backendID string, contents []digest.Digest) (sound map[digest.Digest]bool, err error) {
	contents = slices.DeleteFunc(contents, digest.Digest.IsZero)
	if len(contents) == 0 {
		return nil, nil
	}
	err = in.core.Read(ctx, func(tx database.Tx) error {
		sound, err = soundIn(ctx, tx, backendID, contents)
		return err
	})
	return sound, err
}

// soundIn returns those of the contents that are live in the backend and not in doubt there.
func soundIn(ctx context.Context, tx database.Tx, backendID string, contents []digest.Digest) (map[digest.Digest]bool, error) {
	live, err := view.FindLive(ctx, tx, backendID, contents)
	if err != nil || len(live) == 0 { // most of what is sent is new
		return nil, err
	}
	doubts, err := doubt.Find(ctx, tx, slices.Collect(maps.Keys(live)))
	for sha, backends := range doubts {
		if slices.Contains(backends, backendID) {
			delete(live, sha)
		}
	}
	return live, err
}

// undeclare takes back a declaration that a refused request made implicitly. If
// it fails, the path stays declared without content, and can still be sent.
func (in *Intake) undeclare(ctx context.Context, id string, paths ...string) {
	ctx = context.WithoutCancel(ctx)
	if err := in.core.Write(ctx, func(tx database.Tx) error {
		if _, err := in.lockSession(ctx, tx, id); err != nil {
			return err
		}
		return upload.Undeclare(ctx, tx, id, paths)
	}); err != nil {
		in.core.Logger.WarnContext(ctx, "taking back a declaration", "upload", id, "error", err)
	}
}

// declaredFile finds the file's declaration, and makes one if there is none: of
// the path alone, so that refused bytes leave nothing behind.
func (in *Intake) declaredFile(ctx context.Context, id, path string, executable bool) (session upload.Session, file upload.File, implicit bool, err error) {
	err = in.core.Read(ctx, func(tx database.Tx) error {
		if session, err = in.openSession(ctx, tx, id); err != nil {
			return err
		}
		file, err = upload.GetFile(ctx, tx, id, path)
		if implicit = errors.Is(err, upload.ErrNotFound); implicit {
			return nil
		}
		return err
	})
	if err != nil || !implicit {
		return session, file, false, err
	}
	if _, err := in.DeclareFiles(ctx, id, []registry.FileDeclaration{{Path: path, Executable: executable}}); err != nil {
		return session, file, false, pathField(err)
	}
	return session, upload.File{Path: path, Size: upload.UnknownSize, Executable: executable}, true, nil
}

// pathField renames the field of an error about a declaration of one file that
// the caller did not write.
func pathField(err error) error {
	var invalid *registry.InvalidError
	if errors.As(err, &invalid) {
		return &registry.InvalidError{Field: "path", Message: invalid.Message}
	}
	return err
}

// writable opens the backend that a session was placed on.
func (in *Intake) writable(backendID, name string) (storage.Store, error) {
	backend, err := in.core.Placer.Open(backendID)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %s (%s): %w", registry.ErrUnavailable, name, backendID, err)
	case backend.Store == nil:
		return nil, core.Unavailable(backend)
	case backend.ReadOnly:
		return nil, fmt.Errorf("%w: %s is read-only now", registry.ErrUnavailable, backend.Name)
	}
	return backend.Store, nil
}
