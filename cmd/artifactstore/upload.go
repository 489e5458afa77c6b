package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// abandonTimeout bounds the last request of a failed push, which is sent even if
// the push was interrupted.
const abandonTimeout = 5 * time.Second

// atOnceBytes of files are published by one request, without asking first which of them
// the registry has: up to this size another request costs more than the bytes.
const atOnceBytes = 256 << 10

// publishAtOnce publishes hashed files by one request, all of them or, with the manifest,
// those that the registry does not have.
func (a *app) publishAtOnce(ctx context.Context, client registry.Bundles, o pushOptions, files []*localFile, sent registry.SentManifest, encoded []byte) (pushed, error) {
	var size int64
	for _, f := range files {
		size += f.size()
	}
	b := &bundle{files: files, progress: a.meter("sending", size), keep: true}
	defer b.progress.finish()
	defer b.close()
	sent.Digest = manifest.Digest(encoded)
	publication, err := client.PublishFiles(ctx, o.OpenUpload, sent, b.next)
	if err != nil {
		return pushed{}, b.explain(ctx, err)
	}
	return checkPublished(pushed{
		Publication: publication, ReusedFiles: publication.ReusedFiles, ReusedBytes: publication.ReusedBytes,
		SentFiles: publication.Files - publication.ReusedFiles, SentBytes: publication.Bytes - publication.ReusedBytes,
	}, encoded)
}

// publishAgain publishes hashed files of which the registry is thought to have most, by one
// request that has only the manifest, or by a second one with what is missing. It returns
// false if that does not do.
func (a *app) publishAgain(ctx context.Context, client registry.Bundles, o pushOptions, files []localFile, encoded []byte) (result pushed, done bool, err error) {
	var missing []*localFile
	for range 2 {
		sent := registry.SentManifest{Reader: bytes.NewReader(encoded), Size: int64(len(encoded))}
		result, err = a.publishAtOnce(ctx, client, o, missing, sent, encoded)
		incomplete, is := errors.AsType[*registry.IncompleteError](err)
		if !is || incomplete.Count > len(incomplete.Paths) {
			break
		}
		if missing, err = pick(files, incomplete.Paths); err != nil {
			return result, true, err
		}
		var size int64
		for _, f := range missing {
			size += f.size()
		}
		if size > atOnceBytes {
			return result, false, nil
		}
	}
	switch {
	case errors.Is(err, registry.ErrIncomplete), errors.Is(err, errors.ErrUnsupported): // the latter: an older registry
		return result, false, nil
	case errors.Is(err, registry.ErrInvalid): // it does not know this form, or says the same of a session
		return result, false, nil
	}
	return result, true, err
}

// textsOf is how many bytes annotations have.
func textsOf(annotations map[string]string) (bytes int) {
	for key, value := range annotations {
		bytes += len(key) + len(value)
	}
	return bytes
}

// checkPublished compares the manifest with ours.
func checkPublished(result pushed, encoded []byte) (pushed, error) {
	if ours := manifest.Digest(encoded); result.ManifestDigest != ours {
		return pushed{}, integrity(result.PackageRef.String(), "the registry published manifest %s, expected %s", result.ManifestDigest, ours)
	}
	return result, nil
}

// publish uploads hashed files: small ones at once, others in one session. It abandons a session that does not
// end in a publication; a sweep removes what that session stored.
func (a *app) publish(ctx context.Context, client registry.Registry, o pushOptions, files []localFile, encoded []byte) (pushed, error) {
	if textsOf(o.Annotations) <= registry.MaxTextsAtOnce {
		switch {
		case len(files) <= registry.MaxFilesAtOnce && totalSize(files) <= atOnceBytes && len(encoded) <= registry.MaxManifestAtOnce:
			all := make([]*localFile, len(files))
			for i := range files {
				all[i] = &files[i]
			}
			sent := registry.SentManifest{}
			if version, _ := manifest.VersionOf(encoded); version > 1 { // the registry cannot compute it of the files
				sent.Reader, sent.Size = bytes.NewReader(encoded), int64(len(encoded))
			}
			result, err := a.publishAtOnce(ctx, client, o, all, sent, encoded)
			if !errors.Is(err, errors.ErrUnsupported) { // of an older registry
				return result, err
			}
		case len(encoded) <= registry.MaxManifestAtOnce:
			if result, done, err := a.publishAgain(ctx, client, o, files, encoded); done {
				return result, err
			}
		}
	}
	session, err := client.OpenUpload(ctx, o.OpenUpload)
	if err != nil {
		return pushed{}, err
	}
	result, err := a.fillAndSeal(ctx, client, session, o, files, encoded)
	if err != nil {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonTimeout)
		defer cancel()
		// Only the first failure is reported: the session expires anyway.
		_ = client.AbandonUpload(ending, session.ID)
		return pushed{}, err
	}
	return result, nil
}

func (a *app) fillAndSeal(ctx context.Context, client registry.Registry, session registry.Upload, o pushOptions, files []localFile, encoded []byte) (pushed, error) {
	declared, err := client.DeclareFiles(ctx, session.ID, declarations(files))
	if err != nil {
		return pushed{}, err
	}
	wanted, err := pick(files, declared.Send)
	if err != nil {
		return pushed{}, err
	}
	if err := a.send(ctx, client, session.ID, wanted, o.concurrency); err != nil {
		return pushed{}, err
	}
	publication, err := client.Publish(ctx, session.ID, encoded)
	if err != nil {
		return pushed{}, err
	}
	result := pushed{Publication: publication, SentFiles: len(wanted), ReusedFiles: len(files) - len(wanted)}
	for _, f := range wanted {
		result.SentBytes += f.size()
	}
	result.ReusedBytes = totalSize(files) - result.SentBytes
	return checkPublished(result, encoded)
}

func declarations(files []localFile) []registry.FileDeclaration {
	out := make([]registry.FileDeclaration, len(files))
	for i := range files {
		f := &files[i]
		size := f.size()
		out[i] = registry.FileDeclaration{Path: f.path, Size: &size, Digests: f.digests, Executable: f.executable}
	}
	return out
}

// pick finds the files that the registry asks for. It refuses paths that were
// not declared.
func pick(files []localFile, send []string) ([]*localFile, error) {
	byPath := make(map[string]*localFile, len(files))
	for i := range files {
		byPath[files[i].path] = &files[i]
	}
	wanted := make([]*localFile, 0, len(send))
	for _, path := range send {
		f, ok := byPath[path]
		if !ok {
			return nil, fmt.Errorf("the registry asks for %q, which was not declared", path)
		}
		delete(byPath, path) // a path listed twice is sent once
		wanted = append(wanted, f)
	}
	return wanted, nil
}

// send puts the files, several requests in parallel. Large files come first, so
// that none is in transit alone at the end.
func (a *app) send(ctx context.Context, client uploader, session string, files []*localFile, concurrency int) error {
	files = slices.Clone(files)
	slices.SortStableFunc(files, func(a, b *localFile) int { return cmp.Compare(b.size(), a.size()) })
	var total int64
	for _, f := range files {
		total += f.size()
	}
	progress := a.meter("sending", total)
	defer progress.finish()
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(concurrency)
	for _, parcel := range parcels(files, concurrency) {
		if working.Err() != nil {
			break
		}
		group.Go(func() error { return sendParcel(working, client, session, parcel, progress) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// put sends one file, from memory if its bytes are there, otherwise from disk.
func (f *localFile) put(ctx context.Context, client registry.Uploads, session string, progress *meter) error {
	content := registry.Content{Size: f.size(), Digests: f.digests, Executable: f.executable}
	if f.content != nil {
		content.Reader = progress.reader(bytes.NewReader(f.content))
		_, err := client.PutFile(ctx, session, f.path, content)
		f.content = nil // no longer needed: it was sent, or the push fails
		return named(f.name, err)
	}
	file, err := f.open()
	if err != nil {
		return err
	}
	defer file.Close()
	// The kernel can send an unwrapped *os.File without a copy here.
	content.Reader = progress.reader(file)
	_, err = client.PutFile(ctx, session, f.path, content)
	if err != nil && ctx.Err() == nil && !f.unchanged(file) {
		// The registry's error about digest or length is a consequence of the change.
		return &changedError{f.name}
	}
	return named(f.name, err)
}

// named says which file, package or backend an error is about. An interruption is about none of them.
func named(name string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%s: %w", name, err)
}
