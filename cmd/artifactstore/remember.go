package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/coulomb/artifact-store/cmd/artifactstore/internal/volume"
	"github.com/coulomb/artifact-store/pkg/client"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

const (
	// rememberFrom is how many bytes a push has from which on its session is remembered:
	// what is less is sent again.
	rememberFrom = 8 << 20
	// rememberFor is when a remembered session is of no use any more: the registry has
	// forgotten it by then.
	rememberFor = 2 * registry.UploadLifetime
)

// rememberedUpload is the file by which another run of the same push finds its session.
// It holds nothing secret: the session belongs to the holder of the token.
type rememberedUpload struct {
	Server         string        `json:"server"`
	Package        string        `json:"package"`
	ManifestDigest digest.Digest `json:"manifestDigest"`
	Session        string        `json:"session"`
}

// uploadsFolder is where they are: XDG's folder for state.
func (a *app) uploadsFolder() (string, error) {
	state := a.getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(state) { // the specification has relative ones ignored
		state = ""
	}
	if state == "" && runtime.GOOS == "windows" {
		state = a.getenv("LocalAppData")
	}
	if home := a.getenv("HOME"); state == "" && filepath.IsAbs(home) {
		state = filepath.Join(home, ".local", "state")
	}
	if state == "" {
		return "", errors.New("neither XDG_STATE_HOME nor HOME is set")
	}
	return filepath.Join(state, "artifactstore", "uploads"), nil
}

// session is an upload session of a push, and where it is remembered.
type session struct {
	registry.Upload
	file *os.File // locked while the push runs; nil if it is not remembered
	// unremembered is why not.
	unremembered error
	again        bool // it was begun by an earlier run
}

// errSmall: sending it again is quick.
var errSmall = errors.New("it is too small")

// openSession finds the session of an earlier run of the same push, or opens one.
func (a *app) openSession(ctx context.Context, client registry.Uploads, o pushOptions, total int64, encoded []byte) (*session, error) {
	s := &session{unremembered: errSmall}
	name := rememberedUpload{Server: a.server, Package: o.PackageRef.String(), ManifestDigest: manifest.Digest(encoded)}
	if total >= rememberFrom {
		found, err := a.recall(ctx, client, s, name, o.OpenUpload)
		if err != nil || found {
			return s, err
		}
	}
	var err error
	if s.Upload, err = client.OpenUpload(ctx, o.OpenUpload); err != nil {
		s.forget()
		return nil, err
	}
	if s.file != nil {
		name.Session = s.ID
		if s.unremembered = name.write(s.file); s.unremembered != nil {
			s.forget()
		}
	}
	return s, nil
}

// recall looks for the file of an earlier run, and makes and locks one if there is none.
func (a *app) recall(ctx context.Context, client registry.Uploads, s *session, name rememberedUpload, o registry.OpenUpload) (found bool, err error) {
	folder, err := a.uploadsFolder()
	if err == nil {
		err = os.MkdirAll(folder, 0o700)
	}
	if err != nil {
		s.unremembered = err
		return false, nil
	}
	forgetOld(folder)
	push, server := name.key(o)
	entries, _ := os.ReadDir(folder) // without them only this server's is found
	for _, entry := range entries {
		// The same registry may have another address now, of a port-forward for example.
		if !strings.HasPrefix(entry.Name(), push+"-") || entry.Name() == push+"-"+server {
			continue
		}
		file := lockedState(filepath.Join(folder, entry.Name()), 0)
		if file == nil {
			continue
		}
		if found, err = s.recallFrom(ctx, client, file, name, o); err != nil || found {
			return found, err
		}
		file.Close() //nolint:errcheck // it was only read
	}
	file := lockedState(filepath.Join(folder, push+"-"+server), os.O_CREATE)
	if file == nil {
		s.unremembered = errors.New("the same push is running, or its file cannot be written")
		return false, nil
	}
	s.file, s.unremembered = file, nil
	return s.recallFrom(ctx, client, file, name, o)
}

// recallFrom asks the registry for the session that the file names.
func (s *session) recallFrom(ctx context.Context, client registry.Uploads, file *os.File, name rememberedUpload, o registry.OpenUpload) (bool, error) {
	upload, err := findSession(ctx, client, file, name, o)
	if err != nil {
		file.Close() //nolint:errcheck // it was only read
		return false, err
	}
	if upload == nil {
		return false, nil
	}
	now := time.Now()
	os.Chtimes(file.Name(), now, now) //nolint:errcheck // or it is forgotten earlier
	s.Upload, s.file, s.unremembered, s.again = *upload, file, nil, true
	return true, nil
}

// lockedState opens a file that no other push uses, nil if there is none: two pushes that
// send the same file in one session would end each other's requests.
func lockedState(name string, create int) *os.File {
	for range 3 { // a push that ends may remove it at this moment
		file, err := os.OpenFile(name, os.O_RDWR|create, 0o600)
		if err != nil {
			return nil
		}
		if !volume.TryLock(file) {
			file.Close() //nolint:errcheck // nothing was written
			return nil
		}
		mine, err := file.Stat()
		if now, gone := os.Lstat(name); err == nil && gone == nil && os.SameFile(mine, now) {
			return file
		}
		file.Close() //nolint:errcheck // nothing was written
	}
	return nil
}

// key is the name of the file: it begins with what names the push, and ends with what
// names the registry's address.
func (r rememberedUpload) key(o registry.OpenUpload) (push, server string) {
	what := sha256.Sum256(fmt.Appendf(nil, "%s %q %q", r.ManifestDigest, o.RetentionClass, o.Tier))
	where := sha256.Sum256([]byte(r.Server))
	return hex.EncodeToString(what[:16]), hex.EncodeToString(where[:8]) + ".json"
}

// write replaces what is in the file. One that is cut short is as none.
func (r rememberedUpload) write(file *os.File) error {
	text, err := json.Marshal(r)
	if err == nil {
		err = file.Truncate(0)
	}
	if err == nil {
		_, err = file.WriteAt(text, 0)
	}
	return err
}

// findSession returns nil if nothing is remembered, or the registry has no such session
// any more. What is remembered is not trusted: the registry says what the session is.
func findSession(ctx context.Context, client registry.Uploads, file *os.File, want rememberedUpload, o registry.OpenUpload) (*registry.Upload, error) {
	text, err := io.ReadAll(io.LimitReader(file, 64<<10))
	var found rememberedUpload
	if err != nil || json.Unmarshal(text, &found) != nil || found.Session == "" {
		return nil, nil
	}
	if want.Session, want.Server = found.Session, found.Server; found != want {
		return nil, nil
	}
	upload, err := client.GetUpload(ctx, found.Session)
	switch {
	case errors.Is(err, registry.ErrNotFound), errors.Is(err, registry.ErrExpired), errors.Is(err, registry.ErrForbidden):
		return nil, nil
	case err != nil:
		return nil, err
	}
	u := upload.OpenUpload
	if upload.State != registry.UploadOpen || u.PackageRef != o.PackageRef || u.RetentionClass != o.RetentionClass ||
		u.Tier != o.Tier || u.MediaType != o.MediaType || !maps.Equal(u.Annotations, o.Annotations) {
		return nil, nil
	}
	return &upload, nil
}

// forgetOld removes what no registry knows any more.
func forgetOld(folder string) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return // there is nothing to forget
	}
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) > rememberFor {
			os.Remove(filepath.Join(folder, entry.Name())) //nolint:errcheck // the next push tries again
		}
	}
}

// forget removes the file of a session that is over.
func (s *session) forget() {
	if s.file == nil {
		return
	}
	if runtime.GOOS == "windows" {
		s.file.Close() //nolint:errcheck // an open file cannot be removed there
	}
	os.Remove(s.file.Name()) //nolint:errcheck // the registry says that the session is over
	s.file.Close()           //nolint:errcheck // it is gone
	s.file = nil
}

// endSession ends a session that did not end in a publication. It keeps one that the
// same command can go on with, and says so; it abandons others.
func (a *app) endSession(ctx context.Context, uploads registry.Uploads, s *session, begun bool, err error) error {
	// What somebody can mend, or what passes by itself: the bytes that arrived are right.
	passes := errors.Is(err, context.Canceled) || client.IsTemporary(err) || errors.Is(err, registry.ErrUnauthenticated) || errors.Is(err, storage.ErrFull)
	if begun = begun || s.again; passes && s.file != nil && begun {
		return &keptError{err, fmt.Sprintf("the registry keeps what has arrived for %.0f h: run the same command again to go on", registry.UploadLifetime.Hours())}
	}
	s.forget()
	if !client.IsTemporary(err) { // a registry that is away would only be waited for
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonTimeout)
		defer cancel()
		// Only the first failure is reported: the session expires anyway.
		_ = uploads.AbandonUpload(ending, s.ID)
	}
	if passes && begun && s.unremembered != nil && !errors.Is(s.unremembered, errSmall) {
		return &keptError{err, fmt.Sprintf("nothing is kept, because this push could not be remembered: %v", s.unremembered)}
	}
	return err
}
