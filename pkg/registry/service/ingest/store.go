package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/service/ingest/rules"
	"github.com/coulomb/artifact-store/pkg/registry/upload"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// putWindow stores small files as PutFile would: declared before the bytes,
// recorded after them, each step for all of them at once.
func (in *Intake) putWindow(ctx context.Context, id string, files []registry.NamedContent) error {
	session, declared, implicit, err := in.declaredFiles(ctx, id, files)
	if err != nil {
		return err
	}
	store, err := in.writable(session.BackendID, session.BackendName)
	if err != nil {
		return err
	}
	stored, failed := in.putAll(ctx, session, store, declared, files)
	// What was stored before a failure is recorded, so that it need not be sent again.
	failed = errors.Join(failed, in.recordStored(context.WithoutCancel(ctx), session, stored))
	if failed != nil && len(implicit) > 0 {
		in.undeclare(ctx, id, implicit...)
	}
	return failed
}

// putAll stores the files. It returns those that it stored, also with an error.
func (in *Intake) putAll(ctx context.Context, session upload.Session, store storage.Store, declared map[string]upload.File, files []registry.NamedContent) ([]storedFile, error) {
	var (
		mu     sync.Mutex
		stored []storedFile
		next   atomic.Int64
	)
	names := make([]digest.Digest, 0, len(files))
	for _, file := range files {
		names = append(names, cmp.Or(file.Content.Digests.SHA256, declared[file.Path].Digests.SHA256))
	}
	held, err := in.held(ctx, session.BackendID, names)
	if err != nil {
		return nil, err
	}
	put := func(ctx context.Context, file registry.NamedContent) error {
		src, err := rules.Source(session, declared[file.Path], file.Content)
		if err != nil {
			return rules.About(file.Path, err)
		}
		src.Held = held[src.Want.SHA256]
		info, err := in.put(ctx, store, src)
		if err != nil {
			return fmt.Errorf("storing %q in %s: %w", file.Path, session.BackendName, err)
		}
		mu.Lock()
		defer mu.Unlock()
		stored = append(stored, storedFile{declared[file.Path], info})
		return nil
	}
	group, putting := errgroup.WithContext(ctx)
	// Few goroutines that each take many files: a driver's calls are deep, and
	// the stack of a fresh one is copied several times as it grows to hold them.
	for range min(windowConcurrency, len(files)) {
		group.Go(func() error {
			for putting.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(files) {
					break
				}
				if err := put(putting, files[i]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err = group.Wait()
	if err == nil {
		err = ctx.Err() // then not all were taken
	}
	return stored, err
}

// declaredFiles is declaredFile for many; implicit lists the paths that it declared.
func (in *Intake) declaredFiles(ctx context.Context, id string, files []registry.NamedContent) (session upload.Session, declared map[string]upload.File, implicit []string, err error) {
	paths := make([]string, len(files))
	for i, f := range files {
		paths[i] = f.Path
	}
	if err = in.core.ReadSmall(ctx, func(tx database.Tx) error {
		if session, err = in.openSession(ctx, tx, id); err != nil {
			return err
		}
		declared, err = upload.GetFiles(ctx, tx, id, paths)
		return err
	}); err != nil {
		return session, nil, nil, err
	}
	var missing []registry.FileDeclaration
	for _, f := range files {
		if _, there := declared[f.Path]; !there {
			missing = append(missing, registry.FileDeclaration{Path: f.Path, Executable: f.Executable})
			implicit = append(implicit, f.Path)
			declared[f.Path] = upload.File{Path: f.Path, Size: upload.UnknownSize, Executable: f.Executable}
		}
	}
	if len(missing) > 0 {
		if _, err := in.DeclareFiles(ctx, id, missing); err != nil {
			return session, nil, nil, rules.OfPath(err)
		}
	}
	return session, declared, implicit, nil
}

// storedFile is a declaration and its stored content.
type storedFile struct {
	declared upload.File
	info     storage.Info
}

// recordStored records content that the session now has. Content that was not
// declared before changes what Publish would seal; declared content does not.
func (in *Intake) recordStored(ctx context.Context, session upload.Session, stored []storedFile) error {
	if len(stored) == 0 {
		return nil
	}
	var news []storedFile
	blobs := make([]upload.Blob, 0, len(stored))
	seen := make(map[digest.Digest]bool, len(stored))
	for _, f := range stored {
		if f.declared.Digests != f.info.Digests || f.declared.Size != f.info.Size {
			news = append(news, f)
		}
		if sha := f.info.Digests.SHA256; !seen[sha] {
			seen[sha] = true
			blobs = append(blobs, upload.Blob{Digests: f.info.Digests, Size: f.info.Size, Source: sourceOf(f.info)})
		}
	}
	return in.core.Group(ctx, func(tx database.Tx) error {
		if len(news) > 0 {
			if _, err := in.lockSession(ctx, tx, session.ID); err != nil {
				return err
			}
		}
		for _, f := range news {
			set, err := upload.SetContent(ctx, tx, session.ID, f.declared.Path, f.info.Size, f.info.Digests)
			if err != nil {
				return err
			}
			if !set {
				return &registry.ConflictError{Field: "path", Message: fmt.Sprintf("this session already has other bytes for %q", f.declared.Path)}
			}
		}
		if err := in.prolong(ctx, tx, session); err != nil {
			return err
		}
		return upload.InsertBlobs(ctx, tx, session.ID, blobs)
	})
}

// recordNew declares a file that was not declared, with the content that was stored for it.
// A small file needs no declaration before its bytes: one without digests would keep
// nothing from a sweep.
func (in *Intake) recordNew(ctx context.Context, session upload.Session, stored []storedFile) error {
	file, info := stored[0].declared, stored[0].info
	file.Size, file.Digests = info.Size, info.Digests
	err := in.core.WriteSmall(ctx, func(tx database.Tx) error {
		session, err := in.lockSession(ctx, tx, session.ID)
		if err != nil {
			return err
		}
		if session.Files >= registry.MaxFilesInOneUpload {
			return rules.TooManyFiles(session.Files + 1)
		}
		if err := in.admitFiles(ctx, tx, session, []upload.File{file}); err != nil {
			return err
		}
		switch inserted, err := upload.InsertStored(ctx, tx, session.ID, file); {
		case err != nil:
			return err
		case !inserted:
			return errDeclared
		}
		if err := in.prolong(ctx, tx, session); err != nil {
			return err
		}
		return upload.InsertBlobs(ctx, tx, session.ID, []upload.Blob{{Digests: info.Digests, Size: info.Size, Source: sourceOf(info)}})
	})
	if !errors.Is(err, errDeclared) {
		return rules.OfPath(err)
	}
	// Another request declared it meanwhile.
	session, now, known, err := in.findFile(ctx, session.ID, file.Path, file.Executable)
	if err == nil && !known {
		err = &registry.ConflictError{Field: "path", Message: fmt.Sprintf("%q was declared and taken back meanwhile: send it again", file.Path)}
	}
	if err == nil {
		err = (storage.Source{Want: now.Digests, Size: now.Size}).Check(info.Digests, info.Size)
	}
	if err != nil {
		return err
	}
	return in.recordStored(ctx, session, []storedFile{{now, info}})
}

var errDeclared = errors.New("the file is declared")

func sourceOf(info storage.Info) string {
	if info.Held {
		return upload.SourceHeld
	}
	return upload.SourceSent
}

// prolong moves the end of a session that receives bytes, but not at every file.
func (in *Intake) prolong(ctx context.Context, tx database.Tx, session upload.Session) error {
	if now := in.core.Now(); session.Expires.Sub(now) < in.lifetime*3/4 {
		return upload.Extend(ctx, tx, session.ID, now.Add(in.lifetime))
	}
	return nil
}
