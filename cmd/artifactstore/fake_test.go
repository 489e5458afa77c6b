package main

import (
	"bytes"
	"context"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// memory is a registry that keeps everything in memory, has one session at a
// time, and can be made to misbehave. Methods not defined below panic: push and
// pull do not need them.
type memory struct {
	registry.Registry

	mu        sync.Mutex
	open      registry.OpenUpload
	declared  map[string]registry.FileDeclaration
	blobs     map[digest.Digest][]byte
	published map[registry.PackageRef][]byte // manifests
	received  []string                       // paths, in order of arrival
	abandoned int

	// Misbehaviour; nil does nothing.
	onPut     func(path string)                 // before the bytes are read
	onDeclare func(*registry.Declared)          // changes the answer
	onPublish func(*registry.Publication)       // changes the answer
	onBlob    func([]byte) []byte               // changes what is sent back
	onRead    func([]byte) []byte               // changes the manifest that is sent back
	announce  func(digest.Digest) digest.Digest // changes the manifest's name

	onBlobReader func(body io.Reader, size int) io.Reader // changes how it is sent back
	lastOffset   int64                                    // that was asked for
}

func newMemory() *memory {
	return &memory{blobs: map[digest.Digest][]byte{}, published: map[registry.PackageRef][]byte{}}
}

// appOn returns an app whose registry is m, and its output.
func appOn(t *testing.T, m *memory) (*app, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	return &app{
		environment: environment{stdin: bytes.NewReader(nil), stdout: &out, stderr: io.Discard, getenv: func(string) string { return "" }},
		output:      formatJSON,
		connect:     func(connection) (registry.Registry, error) { return m, nil },
	}, &out
}

func (m *memory) OpenUpload(_ context.Context, req registry.OpenUpload) (registry.Upload, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open, m.declared = req, map[string]registry.FileDeclaration{}
	return registry.Upload{ID: "session", OpenUpload: req, Backend: "primary", State: registry.UploadOpen}, nil
}

func (m *memory) DeclareFiles(_ context.Context, _ string, files []registry.FileDeclaration) (registry.Declared, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var answer registry.Declared
	for _, f := range files {
		m.declared[f.Path] = f
		if _, there := m.blobs[f.Digests.SHA256]; !there {
			answer.Send = append(answer.Send, f.Path)
		}
	}
	slices.Sort(answer.Send)
	answer.Files = len(files)
	if m.onDeclare != nil {
		m.onDeclare(&answer)
	}
	return answer, nil
}

func (m *memory) PutFile(_ context.Context, _, path string, content registry.Content) (registry.UploadedFile, error) {
	if m.onPut != nil {
		m.onPut(path)
	}
	body, err := io.ReadAll(content.Reader)
	if err != nil {
		return registry.UploadedFile{}, err
	}
	sum := digest.Of(body)
	if err := (storage.Source{Size: content.Size, Want: content.Digests}).Check(sum, int64(len(body))); err != nil {
		return registry.UploadedFile{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.blobs[sum.SHA256] = body
	m.received = append(m.received, path)
	return registry.UploadedFile{Path: path, Size: content.Size, Digests: sum}, nil
}

func (m *memory) Publish(_ context.Context, _ string, sent []byte) (registry.Publication, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	computed := manifest.Manifest{Producer: m.open.Producer, Name: m.open.Name, Version: m.open.Version, Annotations: m.open.Annotations}
	for _, f := range m.declared {
		if _, there := m.blobs[f.Digests.SHA256]; !there {
			return registry.Publication{}, &registry.IncompleteError{Count: 1, Paths: []string{f.Path}}
		}
		computed.Files = append(computed.Files, manifest.File{Path: f.Path, Size: *f.Size, Digests: f.Digests, Executable: f.Executable})
	}
	encoded, err := manifest.Encode(&computed)
	if err != nil {
		return registry.Publication{}, err
	}
	if sent != nil && !bytes.Equal(encoded, sent) {
		return registry.Publication{}, registry.Invalid("manifest", "is not the one computed")
	}
	m.published[m.open.PackageRef] = encoded
	answer := registry.Publication{
		PackageRef: m.open.PackageRef, ManifestDigest: manifest.Digest(encoded), Position: 7,
		Backend: "primary", Files: len(computed.Files), Bytes: computed.Bytes(),
	}
	if m.onPublish != nil {
		m.onPublish(&answer)
	}
	return answer, nil
}

// PublishFiles is a session of its own. It does not know manifests, as an older registry.
func (m *memory) PublishFiles(ctx context.Context, req registry.OpenUpload, sent registry.SentManifest, next func() (registry.NamedContent, error)) (registry.Publication, error) {
	if sent.Reader != nil {
		return registry.Publication{}, registry.Invalid("manifestSize", "is not a field of this request")
	}
	session, _ := m.OpenUpload(ctx, req)
	var reused registry.Publication
	for {
		file, err := next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return registry.Publication{}, err
		}
		body, err := io.ReadAll(file.Reader)
		if err != nil {
			return registry.Publication{}, err
		}
		declared := registry.FileDeclaration{Path: file.Path, Size: &file.Size, Digests: digest.Of(body), Executable: file.Executable}
		answer, _ := m.DeclareFiles(ctx, session.ID, []registry.FileDeclaration{declared})
		if len(answer.Send) == 0 {
			reused.ReusedFiles, reused.ReusedBytes = reused.ReusedFiles+1, reused.ReusedBytes+file.Size
			continue
		}
		file.Reader = bytes.NewReader(body)
		if _, err := m.PutFile(ctx, session.ID, file.Path, file.Content); err != nil {
			return registry.Publication{}, err
		}
	}
	answer, err := m.Publish(ctx, session.ID, nil)
	if err == nil && answer.ManifestDigest != sent.Digest {
		err = registry.Invalid("manifestDigest", "is not the one computed")
	}
	answer.ReusedFiles, answer.ReusedBytes = reused.ReusedFiles, reused.ReusedBytes
	return answer, err
}

func (m *memory) AbandonUpload(context.Context, string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.abandoned++
	return nil
}

func (m *memory) GetPackage(_ context.Context, ref registry.PackageRef) (registry.Package, error) {
	encoded, there := m.published[ref]
	if !there {
		return registry.Package{}, registry.ErrNotFound
	}
	name := manifest.Digest(encoded)
	if m.announce != nil {
		name = m.announce(name)
	}
	return registry.Package{PackageRef: ref, ManifestDigest: name}, nil
}

func (m *memory) GetManifest(context.Context, digest.Digest) ([]byte, error) {
	for _, encoded := range m.published {
		if m.onRead != nil {
			encoded = m.onRead(bytes.Clone(encoded))
		}
		return encoded, nil
	}
	return nil, registry.ErrNotFound
}

func (m *memory) OpenBlob(_ context.Context, name digest.Digest, rng *storage.Range) (io.ReadCloser, registry.BlobInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	body, there := m.blobs[name]
	if !there {
		return nil, registry.BlobInfo{}, registry.ErrNotFound
	}
	if m.onBlob != nil {
		body = m.onBlob(bytes.Clone(body))
	}
	info := registry.BlobInfo{Size: int64(len(body))}
	if m.lastOffset = 0; rng != nil {
		m.lastOffset = rng.Offset
		body = body[rng.Offset:]
	}
	if m.onBlobReader != nil {
		return io.NopCloser(m.onBlobReader(bytes.NewReader(body), len(body))), info, nil
	}
	return io.NopCloser(bytes.NewReader(body)), info, nil
}
