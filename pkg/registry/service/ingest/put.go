package ingest

import (
	"context"
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
	session, file, known, err := in.findFile(ctx, id, path, content.Executable)
	if err != nil {
		return registry.UploadedFile{}, err
	}
	record, declared := in.recordStored, false
	switch {
	case known:
	case content.Size != storage.UnknownSize && content.Size <= smallFile:
		record = in.recordNew
	default:
		if err := in.declareOne(ctx, id, path, content.Executable); err != nil {
			return registry.UploadedFile{}, err
		}
		declared = true
	}
	info, err := in.putDeclared(ctx, session, file, content, record)
	if err != nil {
		if declared {
			in.undeclare(ctx, id, path)
		}
		return registry.UploadedFile{}, err
	}
	return registry.UploadedFile{Path: path, Size: info.Size, Digests: info.Digests}, nil
}

// recorder records content that was stored for a session.
type recorder func(ctx context.Context, session upload.Session, stored []storedFile) error

func (in *Intake) putDeclared(ctx context.Context, session upload.Session, file upload.File, content registry.Content, record recorder) (storage.Info, error) {
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
	return info, record(ctx, session, []storedFile{{file, info}})
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
	err = in.core.ReadSmall(ctx, func(tx database.Tx) error {
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

// findFile finds the file's declaration. Without one the file is known by its path only.
func (in *Intake) findFile(ctx context.Context, id, path string, executable bool) (session upload.Session, file upload.File, known bool, err error) {
	err = in.core.ReadSmall(ctx, func(tx database.Tx) error {
		if session, err = in.openSession(ctx, tx, id); err != nil {
			return err
		}
		folded := manifest.FoldPath(path)
		equal, err := upload.FindFolded(ctx, tx, id, []string{folded})
		if file, known = equal[folded]; known && file.Path != path {
			return registry.Invalid("path", "%q and the declared %q are equal after Unicode normalization (NFC)", path, file.Path)
		}
		return err
	})
	if err == nil && !known {
		file = upload.File{Path: path, Size: upload.UnknownSize, Executable: executable}
	}
	return session, file, known, err
}

// declaredFile is findFile, and makes a declaration if there is none.
func (in *Intake) declaredFile(ctx context.Context, id, path string, executable bool) (session upload.Session, file upload.File, err error) {
	session, file, known, err := in.findFile(ctx, id, path, executable)
	if err == nil && !known {
		err = in.declareOne(ctx, id, path, executable)
	}
	return session, file, err
}

// declareOne declares a path alone, so that refused bytes leave nothing behind.
func (in *Intake) declareOne(ctx context.Context, id, path string, executable bool) error {
	_, err := in.DeclareFiles(ctx, id, []registry.FileDeclaration{{Path: path, Executable: executable}})
	return rules.OfPath(err)
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
