package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

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
	case isProxyLimit(err):
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

// publish uploads hashed files: small ones at once, others in one session. A session
// that does not end in a publication is kept for the next run, or abandoned; a sweep
// removes what an abandoned one stored.
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
			if !errors.Is(err, errors.ErrUnsupported) && !isProxyLimit(err) { // the former is an older registry
				return result, err
			}
		case len(encoded) <= registry.MaxManifestAtOnce:
			if result, done, err := a.publishAgain(ctx, client, o, files, encoded); done {
				return result, err
			}
		}
	}
	session, err := a.openSession(ctx, client, o, totalSize(files), encoded)
	if err != nil {
		return pushed{}, err
	}
	d := &delivery{app: a, client: client, session: session.ID}
	result, err := d.fillAndSeal(ctx, client, session, o, files, encoded)
	if err != nil {
		return pushed{}, a.endSession(ctx, client, session, d.progress != nil, err)
	}
	session.forget()
	return result, nil
}

func (d *delivery) fillAndSeal(ctx context.Context, client registry.Registry, session *session, o pushOptions, files []localFile, encoded []byte) (pushed, error) {
	declared, err := declare(ctx, client, session.ID, declarations(files))
	if err != nil {
		return pushed{}, err
	}
	wanted, err := pick(files, declared.Send)
	if err != nil {
		return pushed{}, err
	}
	if session.again {
		d.app.note("going on with an upload that was interrupted")
	}
	if err := d.send(ctx, wanted, o.concurrency); err != nil {
		return pushed{}, err
	}
	publication, err := client.Publish(ctx, session.ID, encoded)
	if isProxyLimit(err) {
		publication, err = client.Publish(ctx, session.ID, nil) // the digest of its own manifest is compared below
	}
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

// declare declares the files, in several requests where a proxy refuses one because of
// its size.
func declare(ctx context.Context, client registry.Uploads, session string, files []registry.FileDeclaration) (registry.Declared, error) {
	all, err := client.DeclareFiles(ctx, session, files)
	if !isProxyLimit(err) || len(files) < 2 {
		return all, err
	}
	for _, part := range [][]registry.FileDeclaration{files[:len(files)/2], files[len(files)/2:]} {
		declared, err := declare(ctx, client, session, part)
		if err != nil {
			return all, err
		}
		all.Send, all.Files = append(all.Send, declared.Send...), declared.Files
	}
	return all, nil
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

// named says which file, package or backend an error is about. An interruption is about none of them.
func named(name string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%s: %w", name, err)
}
