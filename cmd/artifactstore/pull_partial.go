package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"strings"

	"github.com/google/uuid"

	"github.com/coulomb/artifact-store/cmd/artifactstore/internal/volume"
	"github.com/coulomb/artifact-store/pkg/client"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

const (
	// stagingPrefix begins the name of a folder for unfinished files. The one that is
	// called exactly so is kept by a pull that fails, and used by the next.
	stagingPrefix = ".artifactstore-pull"
	// stagingLock is the file in it that a running pull has locked.
	stagingLock = "lock"
	// keepFrom is how many bytes a part of a file has that is worth keeping.
	keepFrom = 1 << 20
)

// stage makes the folder for unfinished files: the one that an earlier pull left, unless
// another pull uses it. What is there of other files than those that are missing is removed.
// all is what the package has, of which a part may be kept and is not to be removed.
func (t *target) stage(missing, all []manifest.File) error {
	if t.claim(all) {
		t.staging, t.keeps = stagingPrefix, true
		wanted := map[string]int64{}
		for _, f := range missing {
			wanted[partialName(f)] = f.Size
		}
		for name, size := range t.partials() {
			if most, is := wanted[name]; !is || size > most {
				t.root.Remove(path.Join(t.staging, name)) //nolint:errcheck // it is not used
			}
		}
		return nil
	}
	return t.root.Mkdir(t.staging, 0o700)
}

// unfinished reports whether an earlier pull left something.
func (t *target) unfinished() bool {
	_, err := t.root.Lstat(stagingPrefix)
	return err == nil
}

// claim locks the folder that is kept. It reports false if that cannot be.
func (t *target) claim(all []manifest.File) bool {
	for _, f := range all {
		if f.Path == stagingPrefix || strings.HasPrefix(f.Path, stagingPrefix+"/") {
			return false // the package itself has a folder of that name
		}
	}
	for range 3 { // a pull that ends may remove it at this moment
		if err := t.root.Mkdir(stagingPrefix, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return false
		}
		if info, err := t.root.Lstat(stagingPrefix); err != nil || !info.IsDir() || !volume.OnlyOurs(info) {
			return false
		}
		name := path.Join(stagingPrefix, stagingLock)
		lock, err := t.root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			continue
		}
		if !volume.TryLock(lock) {
			lock.Close() //nolint:errcheck // nothing was written
			return false
		}
		mine, err := lock.Stat()
		if now, gone := t.root.Lstat(name); err == nil && gone == nil && os.SameFile(mine, now) {
			t.lock = lock
			return true
		}
		lock.Close() //nolint:errcheck // nothing was written
	}
	return false
}

// isStaging reports whether an entry of a folder is what a pull into it has for unfinished
// files.
func isStaging(name string) bool {
	id, other := strings.CutPrefix(name, stagingPrefix+"-")
	return name == stagingPrefix || other && uuid.Validate(id) == nil
}

// partialName is the name of the part of a file in the folder that is kept.
func partialName(f manifest.File) string { return f.Digests.SHA256.Hex() }

// partials are the sizes of the parts of files that are there.
func (t *target) partials() map[string]int64 {
	found := map[string]int64{}
	folder, err := t.root.Open(t.staging)
	if err != nil {
		return found
	}
	defer folder.Close() //nolint:errcheck // it was only read
	entries, err := folder.ReadDir(-1)
	if err != nil {
		return found
	}
	for _, entry := range entries {
		name, err := hex.DecodeString(entry.Name())
		if info, failed := entry.Info(); err == nil && failed == nil && len(name) == digest.Size && info.Mode().IsRegular() {
			found[entry.Name()] = info.Size()
		}
	}
	return found
}

// leave removes unfinished files, except for large ones of a pull that did not succeed
// and that the next one can go on with. It returns how many bytes those have.
func (t *target) leave(done bool) (kept int64) {
	if t.keeps && !done {
		for name, size := range t.partials() {
			if size >= keepFrom {
				kept += size
			} else {
				t.root.Remove(path.Join(t.staging, name)) //nolint:errcheck // the next pull does
			}
		}
	}
	if t.lock != nil && runtime.GOOS == "windows" {
		t.lock.Close() //nolint:errcheck // an open file cannot be removed there
	}
	if kept == 0 {
		_ = t.root.RemoveAll(t.staging) // best effort: only this run uses it, and it is harmless
	}
	if t.lock != nil {
		t.lock.Close() //nolint:errcheck // nothing was written
	}
	return kept
}

// fetchLarge goes on with what is there of a file. It is never trusted: the digests of
// the whole file decide.
func (t *target) fetchLarge(ctx context.Context, blobs registry.Blobs, f manifest.File, staged string, progress *meter) (name string, err error) {
	name = staged
	if _, taken := t.claimed.LoadOrStore(partialName(f), nil); t.keeps && !taken { // another file may have the same content
		name = path.Join(t.staging, partialName(f))
	}
	if info, err := t.root.Lstat(name); err == nil && !info.Mode().IsRegular() {
		if err := t.root.Remove(name); err != nil { // a link would be written through
			return name, err
		}
	}
	file, err := t.root.OpenFile(name, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return name, err
	}
	defer func() {
		if closed := file.Close(); err == nil {
			err = closed
		}
	}()
	have, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return name, err
	}
	err = t.receiveFrom(ctx, blobs, f, file, have, progress)
	if have > 0 && errors.Is(err, storage.ErrMismatch) {
		// What was there may be to blame. From its beginning the file is the registry's alone.
		progress.keep(-have)
		progress.add(have - f.Size)
		err = t.receiveFrom(ctx, blobs, f, file, 0, progress)
	}
	if errors.Is(err, storage.ErrMismatch) {
		err = errors.Join(err, t.root.Remove(name))
	}
	return name, err
}

// receiveFrom hashes what is in the file, and appends and hashes the rest.
func (t *target) receiveFrom(ctx context.Context, blobs registry.Blobs, f manifest.File, file *os.File, have int64, progress *meter) error {
	if have > f.Size {
		have = 0
	}
	if err := file.Truncate(have); err != nil {
		return err
	}
	if _, err := file.Seek(have, io.SeekStart); err != nil {
		return err
	}
	progress.keep(have)
	parts := []io.Reader{&untilDone{ctx, io.NewSectionReader(file, 0, have)}}
	if have < f.Size {
		body := client.ReadBlob(ctx, blobs, t.patience, f.Digests.SHA256, have, f.Size)
		defer body.Close() //nolint:errcheck // it was only read
		parts = append(parts, progress.reader(io.LimitReader(body, f.Size-have+1)))
	}
	sum, n, err := digest.Copy(&afterFirst{file, have}, io.MultiReader(parts...))
	if err != nil {
		return err
	}
	return checkReceived(f, sum, n)
}

// checkReceived compares what came with the manifest. A complete body with other bytes
// is an integrity failure.
func checkReceived(f manifest.File, sum digest.Dual, n int64) error {
	if err := (storage.Source{Size: f.Size, Want: f.Digests}).Check(sum, n); err != nil {
		return fmt.Errorf("wrong content from the registry: %w", err)
	}
	return nil
}

// afterFirst drops the first bytes, which the file has.
type afterFirst struct {
	to   io.Writer
	skip int64
}

func (w *afterFirst) Write(p []byte) (int, error) {
	skipped := int(min(w.skip, int64(len(p))))
	w.skip -= int64(skipped)
	if skipped == len(p) {
		return len(p), nil
	}
	n, err := w.to.Write(p[skipped:])
	return skipped + n, err
}

// untilDone ends the reading of a file with the context.
type untilDone struct {
	ctx  context.Context
	from io.Reader
}

func (r *untilDone) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.from.Read(p)
}
