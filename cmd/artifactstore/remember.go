package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"time"

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
	file string // "" if it is not
	// unremembered is why not.
	unremembered error
	again        bool // it was begun by an earlier run
}

// errSmall: sending it again is quick.
var errSmall = errors.New("it is too small")

// openSession finds the session of an earlier run of the same push, or opens one.
func (a *app) openSession(ctx context.Context, client registry.Uploads, o pushOptions, total int64, encoded []byte) (*session, error) {
	s := &session{unremembered: errSmall}
	folder, name := "", rememberedUpload{Server: a.server, Package: o.PackageRef.String(), ManifestDigest: manifest.Digest(encoded)}
	if total >= rememberFrom {
		folder, s.unremembered = a.uploadsFolder()
	}
	if s.unremembered == nil {
		push, server := name.key(o.OpenUpload)
		s.file = filepath.Join(folder, push+"-"+server)
		// The same registry may have another address now, of a port-forward for example.
		others, _ := filepath.Glob(filepath.Join(folder, push+"-*.json")) // the pattern is well formed
		for _, file := range append([]string{s.file}, others...) {
			found, err := findSession(ctx, client, file, name, o.OpenUpload)
			if err != nil {
				return nil, err
			}
			if found != nil {
				s.Upload, s.file, s.again = *found, file, true
				return s, nil
			}
		}
	}
	var err error
	if s.Upload, err = client.OpenUpload(ctx, o.OpenUpload); err != nil {
		return nil, err
	}
	if s.file != "" {
		forgetOld(folder)
		name.Session = s.ID
		if s.unremembered = name.write(s.file); s.unremembered != nil {
			s.file = ""
		}
	}
	return s, nil
}

// key is the name of the file: it begins with what names the push, and ends with what
// names the registry's address.
func (r rememberedUpload) key(o registry.OpenUpload) (push, server string) {
	what := sha256.Sum256(fmt.Appendf(nil, "%s %q %q", r.ManifestDigest, o.RetentionClass, o.Tier))
	where := sha256.Sum256([]byte(r.Server))
	return hex.EncodeToString(what[:16]), hex.EncodeToString(where[:8]) + ".json"
}

// write replaces the file, so that it is whole or not there.
func (r rememberedUpload) write(file string) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	part := fmt.Sprintf("%s.%d", file, os.Getpid())
	if err := os.WriteFile(part, text, 0o600); err != nil {
		return err
	}
	return os.Rename(part, file)
}

// findSession returns nil if nothing is remembered, or the registry has no such session
// any more. What is remembered is not trusted: the registry says what the session is.
func findSession(ctx context.Context, client registry.Uploads, file string, want rememberedUpload, o registry.OpenUpload) (*registry.Upload, error) {
	text, err := os.ReadFile(file)
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
	if s.file != "" {
		os.Remove(s.file) //nolint:errcheck // the registry says that the session is over
	}
}

// endSession ends a session that did not end in a publication. It keeps one that the
// same command can go on with, and says so; it abandons others.
func (a *app) endSession(ctx context.Context, uploads registry.Uploads, s *session, begun bool, err error) error {
	// What somebody can mend, or what passes by itself: the bytes that arrived are right.
	passes := errors.Is(err, context.Canceled) || client.IsTemporary(err) || errors.Is(err, registry.ErrUnauthenticated) || errors.Is(err, storage.ErrFull)
	if begun = begun || s.again; passes && s.file != "" && begun {
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
