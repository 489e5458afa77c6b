package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/upload"
	"github.com/coulomb/artifact-store/pkg/storage"
)

const (
	// windowBytes of small files are taken from a bundle before they are stored together.
	windowBytes = 4 << 20
	// windowFiles are looked up and recorded in one statement each.
	windowFiles = upload.MaxGetFiles
	// smallFile and less is held in a window; more is streamed by itself.
	smallFile = 256 << 10
	// maxWindows bounds the memory of all bundles of the process (32 MiB);
	// beyond it bundles wait.
	maxWindows = 8
	// windowConcurrency is how many files of one window are stored at a time.
	windowConcurrency = 8
)

// window holds small files until they are stored.
type window struct {
	data  []byte // windowBytes, made at first use
	used  int
	files []registry.NamedContent // Readers are over data
}

// windows lends out at most maxWindows.
type windows struct{ free chan *window }

func newWindows() windows {
	w := windows{make(chan *window, maxWindows)}
	for range maxWindows {
		w.free <- new(window)
	}
	return w
}

func (w windows) get(ctx context.Context) (*window, error) {
	select {
	case one := <-w.free:
		if one.data == nil {
			one.data = make([]byte, windowBytes)
		}
		return one, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (w windows) put(one *window) {
	one.reset()
	w.free <- one
}

func (w *window) reset() {
	clear(w.files)
	w.files, w.used = w.files[:0], 0
}

func (w *window) fits(size int64) bool {
	return len(w.files) < windowFiles && size <= int64(len(w.data)-w.used)
}

// add reads the file's bytes into the window.
func (w *window) add(file registry.NamedContent) error {
	buf := w.data[w.used : w.used+int(file.Size)]
	if _, err := io.ReadFull(file.Reader, buf); err != nil {
		return readError(file.Path, err)
	}
	w.used += len(buf)
	file.Reader = bytes.NewReader(buf)
	w.files = append(w.files, file)
	return nil
}

func readError(path string, err error) error {
	return fmt.Errorf("%w: reading %q: %w", storage.ErrSource, path, err)
}

// PutFiles implements Bundles.
func (s *Service) PutFiles(ctx context.Context, id string, next func() (registry.NamedContent, error)) (sum registry.Bundled, err error) {
	// Told before a window is waited for, and also for a bundle without files.
	if err := s.read(ctx, func(tx database.Tx) error {
		_, err := s.openSession(ctx, tx, id)
		return err
	}); err != nil {
		return sum, err
	}
	var w *window // lent when the first small file has come: who only keeps a connection open holds none
	release := func() {
		if w != nil {
			s.windows.put(w)
			w = nil
		}
	}
	defer release()
	store := func() error {
		if w == nil || len(w.files) == 0 {
			return nil
		}
		n, size := len(w.files), int64(w.used)
		err := s.putWindow(ctx, id, w.files)
		w.reset()
		if err == nil {
			sum.Files, sum.Bytes = sum.Files+n, sum.Bytes+size
		}
		return err
	}
	for {
		file, err := next()
		if errors.Is(err, io.EOF) {
			err = store()
			return sum, err
		}
		if err != nil {
			return sum, err
		}
		if err := checkBundled(file); err != nil {
			return sum, err
		}
		if file.Size == storage.UnknownSize || file.Size > smallFile {
			// A large file may take long to come: others need the window meanwhile.
			if err := store(); err != nil {
				return sum, err
			}
			release()
			stored, err := s.PutFile(ctx, id, file.Path, file.Content)
			if err != nil {
				return sum, err
			}
			sum.Files, sum.Bytes = sum.Files+1, sum.Bytes+stored.Size
			continue
		}
		switch {
		case w == nil:
			first := make([]byte, file.Size)
			if _, err := io.ReadFull(file.Reader, first); err != nil {
				return sum, readError(file.Path, err)
			}
			file.Reader = bytes.NewReader(first)
			if w, err = s.windows.get(ctx); err != nil {
				return sum, err
			}
		case !w.fits(file.Size):
			if err := store(); err != nil {
				return sum, err
			}
		}
		if err := w.add(file); err != nil {
			return sum, err
		}
	}
}

func checkBundled(file registry.NamedContent) error {
	if err := registry.ValidatePath("path", file.Path); err != nil {
		return err
	}
	if file.Size < storage.UnknownSize || file.Size > manifest.MaxFileSize {
		return registry.Invalid("size", "of %q must be 0 to %d bytes, is %d", file.Path, int64(manifest.MaxFileSize), file.Size)
	}
	return registry.ValidateDigests("digests", file.Digests)
}

// putWindow stores small files as PutFile would: declared before the bytes,
// recorded after them, each step for all of them at once.
func (s *Service) putWindow(ctx context.Context, id string, files []registry.NamedContent) error {
	session, declared, implicit, err := s.declaredFiles(ctx, id, files)
	if err != nil {
		return err
	}
	store, err := s.writable(session.BackendID, session.BackendName)
	if err != nil {
		return err
	}
	var (
		mu     sync.Mutex
		stored []storedFile
	)
	group, putting := errgroup.WithContext(ctx)
	var next atomic.Int64
	// Few goroutines that each take many files: a driver's calls are deep, and
	// the stack of a fresh one is copied several times as it grows to hold them.
	for range min(windowConcurrency, len(files)) {
		group.Go(func() error {
			for putting.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(files) {
					break
				}
				file := files[i]
				src, err := source(session, declared[file.Path], file.Content)
				if err != nil {
					return about(file.Path, err)
				}
				info, err := s.put(putting, store, src)
				if err != nil {
					return fmt.Errorf("storing %q in %s: %w", file.Path, session.BackendName, err)
				}
				mu.Lock()
				stored = append(stored, storedFile{declared[file.Path], info})
				mu.Unlock()
			}
			return nil
		})
	}
	failed := group.Wait()
	if failed == nil {
		failed = ctx.Err() // then not all were taken
	}
	// What was stored before a failure is recorded: it need not be sent again.
	failed = errors.Join(failed, s.recordStored(context.WithoutCancel(ctx), session, stored))
	if failed != nil && len(implicit) > 0 {
		s.undeclare(ctx, id, implicit...)
	}
	return failed
}

// about says which file of many an error on a field means.
func about(path string, err error) error {
	var invalid *registry.InvalidError
	if errors.As(err, &invalid) {
		return registry.Invalid(invalid.Field, "of %q: %s", path, invalid.Message)
	}
	return err
}

// declaredFiles finds the declarations of the files, and makes those that are
// missing as declaredFile does; implicit lists them.
func (s *Service) declaredFiles(ctx context.Context, id string, files []registry.NamedContent) (session upload.Session, declared map[string]upload.File, implicit []string, err error) {
	paths := make([]string, len(files))
	for i, f := range files {
		paths[i] = f.Path
	}
	if err = s.read(ctx, func(tx database.Tx) error {
		if session, err = s.openSession(ctx, tx, id); err != nil {
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
		if _, err := s.DeclareFiles(ctx, id, missing); err != nil {
			return session, nil, nil, pathField(err)
		}
	}
	return session, declared, implicit, nil
}

// storedFile is a declaration and what its bytes turned out to be.
type storedFile struct {
	declared upload.File
	info     storage.Info
}

// recordStored notes content that the session now has. Content of files that
// were declared without it changes what Publish would seal; content that was
// declared does not.
func (s *Service) recordStored(ctx context.Context, session upload.Session, stored []storedFile) error {
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
			blobs = append(blobs, upload.Blob{Digests: f.info.Digests, Size: f.info.Size, Source: upload.SourceSent})
		}
	}
	return s.group(ctx, func(tx database.Tx) error {
		if len(news) > 0 {
			if _, err := s.lockSession(ctx, tx, session.ID); err != nil {
				return err
			}
		}
		for _, f := range news {
			set, err := upload.SetContent(ctx, tx, session.ID, f.declared.Path, f.info.Size, f.info.Digests)
			if err != nil {
				return err
			}
			if !set {
				return &registry.ConflictError{Field: "path", Message: fmt.Sprintf("other bytes were sent for %q in this session", f.declared.Path)}
			}
		}
		if err := s.prolong(ctx, tx, session); err != nil {
			return err
		}
		return upload.InsertBlobs(ctx, tx, session.ID, blobs)
	})
}

// prolong moves the end of a session in which bytes arrive, not at every file.
func (s *Service) prolong(ctx context.Context, tx database.Tx, session upload.Session) error {
	if now := s.now(); session.Expires.Sub(now) < s.lifetime*3/4 {
		return upload.Extend(ctx, tx, session.ID, now.Add(s.lifetime))
	}
	return nil
}
